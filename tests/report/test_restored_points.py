"""The report tells of restores of single points as of any other restore."""

from __future__ import annotations

from typing import Any

import pytest

from qdrant_dr.records import Outcome, RestoredPoints
from qdrant_dr.report.evidence.restores import restores_of
from qdrant_dr.report.findings.restores import approval_problems, restore_problems
from qdrant_dr.report.frames.rows import restore_row
from tests.support import records as made
from tests.support.worlds import evidence

AT = made.NOW - made.hours(2)


def outcome(verdict: str = "ok", **fields: Any) -> Outcome:
    body = {
        "target": "http://a:6333", "target_kind": "server", "server_version": "1.18.3",
        "name": "movies", "selection": "every point that is missing",
        "undo_id": "20261130T213251Z-0a1b2c", "selected": 9, "created": 7, "equal": 2,
        "proven": True, "phases": (), "total_us": 2_000_000, "approved_by": "ana", **fields,
    }  # fmt: skip
    detail = RestoredPoints.model_validate(body)
    return Outcome(unit="restore-points", collection="movies", verdict=verdict, started_at=AT,
                   ended_at=AT, detail=detail)  # fmt: skip


def restores(given: Outcome) -> list[Any]:
    end = made.run_end(made.run_start("restore", AT), outcomes=(given,))
    return list(restores_of(evidence({"aws": [], "gcp": []}, ends=[end])))


def test_a_row_says_what_was_restored() -> None:
    (found,) = restores(outcome())
    row = restore_row(found)
    assert (row["route"], row["verdict"], row["name"]) == ("points", "passed", "movies")
    assert (row["points_expected_count"], row["points_restored_count"]) == (9, 9)
    assert row["rto_seconds"] is None  # a few points say nothing of a recovery
    assert list(restore_problems([found])) == []


@pytest.mark.parametrize(
    ("verdict", "fields", "code"),
    [
        ("degraded", {"moved": 3}, "restore-partial"),
        ("failed", {"refused": 1, "proven": False}, "restore-failed"),
    ],
)
def test_what_is_not_as_it_should_be_is_a_finding(
    verdict: str, fields: dict[str, Any], code: str
) -> None:
    (found,) = restores(outcome(verdict, **fields))
    (problem,) = restore_problems([found])
    assert problem.code == code
    assert "movies on http://a:6333" in problem.what


def whole() -> Outcome:
    return Outcome(unit="restore", collection="movies", verdict="failed", started_at=AT,
                   ended_at=AT)  # fmt: skip


UNDO = {"undoes": "20261130T213251Z-0a1b2c", "selection": "what the run wrote", "undo_id": None}


@pytest.mark.parametrize(
    ("later", "stands"),
    [
        (outcome(), False),
        (outcome(selection="2 points by their ids"), True),
        (outcome(**UNDO), False),
        (outcome("failed", **UNDO), True),
        (outcome(**{**UNDO, "undoes": "20261130T213251Z-ffffff"}), True),
    ],
)
def test_points_make_good_only_what_they_were(later: Outcome, stands: bool) -> None:
    (bad,), (after,) = restores(outcome("failed", refused=1)), restores(later)
    (alone,) = restore_problems([bad])
    assert (alone in restore_problems([bad, after])) is stands


def test_points_do_not_make_good_a_failed_restore_of_all() -> None:
    parameters = {"to": "http://a:6333", "name": "movies"}
    start = made.run_start("restore", AT).model_copy(update={"parameters": parameters})
    end = made.run_end(start, outcomes=(whole(),))
    (bad,) = restores_of(evidence({"aws": [], "gcp": []}, ends=[end]))
    (after,) = restores(outcome())
    assert [p.code for p in restore_problems([bad, after])] == ["restore-failed"]


def test_who_approves_their_own_is_named() -> None:
    given = outcome()
    start = made.run_start("restore", AT).model_copy(update={"actor": "prefect:ana"})
    (found,) = restores_of(
        evidence({"aws": [], "gcp": []}, ends=[made.run_end(start, outcomes=(given,))])
    )
    assert [p.code for p in approval_problems([found])] == ["self-approved"]
