"""What is announced is true, readable, and costs nothing when nobody listens."""

from __future__ import annotations

import json
import logging

import pytest

from qdrant_dr.records import ErrorFacts
from tasks import announce
from tasks.render import escape, markdown, unit_rows
from tests.support import records as made

CONFIG = made.config()
MOVIES, USERS = made.manifest("movies"), made.manifest("users")


def proven(*manifests: object, **changes: object) -> tuple[object, ...]:
    captures = [made.captured(m) for m in manifests]  # type: ignore[arg-type]
    proofs = [made.proved(made.proof(m), repository="aws") for m in manifests]  # type: ignore[arg-type]
    return (*captures, *proofs)


def test_proven_is_captured_and_proved_in_this_run() -> None:
    end = made.run_end(outcomes=proven(MOVIES, USERS))
    assert set(announce.proven_captures(end, CONFIG)) == {"movies", "users"}


@pytest.mark.parametrize(
    "outcomes",
    [
        (made.captured(MOVIES),),
        (made.proved(made.proof(MOVIES)),),
        (made.captured(MOVIES), made.proved(made.proof(MOVIES, depth="bytes"))),
        (made.captured(MOVIES), made.proved(made.proof(MOVIES, passed=False))),
        (made.captured(MOVIES), made.proved(made.proof(USERS))),
        (
            made.captured(MOVIES),
            made.proved(made.proof(made.manifest("movies", made.NOW - made.days(3)))),
        ),
        (made.captured(MOVIES, verdict="failed"), made.proved(made.proof(MOVIES))),
    ],
    ids=["no proof", "old backup", "shallow", "failed proof", "other", "older", "failed capture"],
)
def test_anything_less_is_not_proven(outcomes: tuple[object, ...]) -> None:
    assert announce.proven_captures(made.run_end(outcomes=outcomes), CONFIG) == {}


def test_a_cluster_is_protected_by_a_run_that_proved_all_of_it() -> None:
    seen = (made.seen("movies"), made.seen("users"), made.seen("tmp", "excluded"))
    end = made.run_end(outcomes=proven(MOVIES, USERS), seen=seen)
    assert announce.protected(end, CONFIG)
    degraded = end.model_copy(update={"verdict": "degraded"})
    assert announce.protected(degraded, CONFIG)


@pytest.mark.parametrize(
    "changes",
    [
        {"seen": ()},
        {"seen": (made.seen("tmp", "excluded"),)},
        {"seen": (made.seen("movies"), made.seen("users", "missing"))},
        {"seen": (made.seen("movies"), made.seen("users", "not-selected"))},
        {"seen": (made.seen("movies"), made.seen("users"))},
        {"seen": (made.seen("movies"),), "verdict": "failed"},
    ],
    ids=["saw nothing", "all excluded", "missing", "not selected", "not proven", "failed"],
)
def test_a_cluster_is_not_protected_by_less(changes: dict[str, object]) -> None:
    end = made.run_end(outcomes=proven(MOVIES), **changes)
    assert not announce.protected(end, CONFIG)


def test_markdown_says_verdict_reasons_and_next_command_first() -> None:
    end = made.run_end(
        verdict="failed",
        reasons=("capture movies: no space left",),
        error=ErrorFacts(code="storage-full", message="no space left", hint="free space."),
        seen=(made.seen("movies"), made.seen("tmp", "excluded", reason="rebuilt nightly")),
        outcomes=proven(MOVIES),
        repositories=(made.repository("aws"), made.repository("gcp", reachable=False)),
        source_kind="sandbox",
    )
    text = markdown(end)
    first, after = text.split("## Collections")
    assert "failed" in first.splitlines()[0]
    assert "capture movies: no space left" in first
    assert "**Next:** free space." in first
    assert "sandbox" in first
    assert "| tmp | excluded | rebuilt nightly |" in after
    assert "not usable" in after
    assert f"{end.start.run_id}.end.json" in after
    assert "1.38 MiB, 2000 points in aws, gcp" in after


def test_a_name_cannot_break_the_page() -> None:
    nasty = "a|b\n<img src=x>`*_"
    end = made.run_end(outcomes=(made.captured(made.manifest(nasty)),), seen=(made.seen(nasty),))
    text = markdown(end)
    assert "<img" not in text.replace("\\<img", "")
    assert escape(nasty) == "a\\|b \\<img src=x\\>\\`\\*\\_"
    row = next(line for line in text.splitlines() if "img" in line)
    assert row.replace("\\|", "").count("|") == 4


def test_rows_are_plain_json_one_per_unit() -> None:
    end = made.run_end(outcomes=(*proven(MOVIES), made.drilled(MOVIES)))
    rows = json.loads(json.dumps(unit_rows(end)))
    assert [r["unit"] for r in rows] == ["capture", "verify", "drill"]
    assert rows[0]["seconds"] == 120.0
    assert "2000 of 2000 points" in rows[2]["result"]


def test_without_a_server_the_run_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        announce.announce(made.run_end(outcomes=proven(MOVIES)), CONFIG)
    assert "not announced" in caplog.text
