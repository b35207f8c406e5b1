"""The exit code of a run: 5 only where nothing is wrong but that something did not answer."""

from __future__ import annotations

from qdrant_dr.cli.exit_codes import exit_code
from qdrant_dr.jobs.run.conclude import conclude
from qdrant_dr.records import ErrorFacts, Outcome, RunEnd
from tests.support import records as made
from tests.support.records import NOW

AWAY = ErrorFacts(code="repository-unreachable", message="no answer", hint="try again")
DENIED = ErrorFacts(code="repository-denied", message="no", hint="ask")


def outcome(verdict: str, error: ErrorFacts | None = None) -> Outcome:
    return Outcome.model_validate(
        {
            "unit": "sweep",
            "collection": "*",
            "repository": "b",
            "verdict": verdict,
            "started_at": NOW,
            "ended_at": NOW,
            "error": error,
        }
    )


def end(*outcomes: Outcome, objections: tuple[str, ...] = ()) -> RunEnd:
    said = conclude(outcomes, (), (), copies=made.config("a", "b").copies, objections=objections)
    return made.run_end(outcomes=outcomes, verdict=said.verdict, reasons=said.reasons)


def test_what_only_did_not_answer_is_5() -> None:
    assert exit_code(end(outcome("failed", AWAY))) == 5
    assert exit_code(end(outcome("failed", AWAY), outcome("ok"))) == 5


def test_anything_else_that_is_wrong_is_1() -> None:
    assert exit_code(end(outcome("failed", AWAY), outcome("failed", DENIED))) == 1
    damaged = "movies@x in b is damaged, and no other good copy is left"
    assert exit_code(end(outcome("failed", AWAY), objections=(damaged,))) == 1
    assert exit_code(end(outcome("ok"))) == 0
