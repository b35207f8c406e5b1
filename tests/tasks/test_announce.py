"""What is announced is true, readable, and costs nothing when nobody listens."""

from __future__ import annotations

import logging

import pytest

from qdrant_dr.records import Outcome, Reported
from tasks import announce
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


def test_without_a_server_the_run_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        announce.announce(made.run_end(outcomes=proven(MOVIES)), CONFIG)
    assert "not announced" in caplog.text


def reported(folder: str, *files: str) -> Outcome:
    detail = Reported(
        headline="1 of 1", folder=folder, files=tuple(f"{folder}/{f}" for f in files), digest="0"
    )
    return made.captured(MOVIES).model_copy(update={"unit": "report", "detail": detail})


@pytest.mark.parametrize(
    ("public", "folder", "files", "page"),
    [
        ("https://dr.example/r/", "s3://b/r/prod/T", ("runs.csv", "report.html"),
         "https://dr.example/r/prod/T/report.html"),
        (None, "s3://b/r/prod/T", ("report.html",), None),
        ("https://dr.example/r", "s3://b/r/prod/T", ("runs.csv",), None),
        ("https://dr.example/r", "s3://b/r-elsewhere/prod/T", ("report.html",), None),
    ],
    ids=["public", "not public", "no page", "elsewhere"],
)  # fmt: skip
def test_a_report_is_linked_where_readers_find_it(
    public: str | None, folder: str, files: tuple[str, ...], page: str | None
) -> None:
    config = made.config(report={"url": "s3://b/r", "public_url": public})
    end = made.run_end(outcomes=(reported(folder, *files),))
    assert announce.public_page(end, config) == page


def test_a_link_leads_to_a_web_server() -> None:
    with pytest.raises(ValueError, match="public_url"):
        made.config(report={"url": "s3://b/r", "public_url": "javascript:alert(1)"})
