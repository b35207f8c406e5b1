"""A verdict is never prettier as a State."""

from __future__ import annotations

import pickle

import pytest

from qdrant_dr.errors import ConfigInvalid, NodeUnreachable
from qdrant_dr.records import Outcome
from tasks.states import SHOWN, UnitFailed, refused_state, run_state, unit_state
from tasks.unit_tasks import worth_retrying
from tests.support import records as made

FAILED = made.captured(
    made.manifest(), verdict="failed", error=made.error("storage-full", "no space left on aws")
)


def test_ok_is_completed_and_says_what_was_done() -> None:
    state = run_state(made.run_end(outcomes=(made.captured(made.manifest()),)))
    assert state.is_completed()
    assert state.name == "Completed"
    assert state.message == "1 captured"


def test_degraded_is_completed_by_another_name() -> None:
    state = run_state(
        made.run_end(
            verdict="degraded",
            reasons=("repository gcp could not be used",),
            repositories=(made.repository("aws"), made.repository("gcp", reachable=False)),
        )
    )
    assert state.is_completed()
    assert state.name == "Degraded"
    assert "repository gcp could not be used" in str(state.message)
    assert "Next: run `qdrant-dr check`" in str(state.message)


def test_failed_is_never_renamed() -> None:
    end = made.run_end(verdict="failed", reasons=("no space left on aws",), outcomes=(FAILED,))
    state = run_state(end)
    assert state.is_failed()
    assert state.name == "Failed"
    assert state.message == "no space left on aws. Next: run `qdrant-dr check`."


def test_many_reasons_are_counted_not_dropped() -> None:
    reasons = tuple(f"reason {n}" for n in range(SHOWN + 3))
    message = str(run_state(made.run_end(verdict="failed", reasons=reasons)).message)
    assert "reason 4" in message
    assert "reason 5" not in message
    assert "3 more" in message


def test_the_error_of_the_run_gives_the_next_command() -> None:
    end = made.run_end(
        verdict="failed",
        reasons=("x",),
        outcomes=(FAILED,),
        error=made.error("node-unreachable").model_copy(update={"hint": "wake the node."}),
    )
    assert str(run_state(end).message).endswith("Next: wake the node.")


def test_a_run_that_cannot_begin_failed() -> None:
    state = refused_state(ConfigInvalid("there is no x.yaml", "run init."))
    assert state.is_failed()
    assert state.message == "there is no x.yaml. Next: by hand: run init."


@pytest.mark.parametrize("verdict", ["ok", "degraded", "failed", "skipped"])
def test_a_units_state_carries_its_outcome(verdict: str) -> None:
    outcome = FAILED.model_copy(update={"verdict": verdict, "notes": ("a note",)})
    state = unit_state(outcome)
    assert state.is_failed() == (verdict == "failed")
    assert state.name == ("Completed" if verdict == "ok" else verdict.capitalize())
    data = state.data
    assert FAILED.error is not None
    assert verdict == "ok" or FAILED.error.hint in str(state.message)
    assert (data.outcome if isinstance(data, UnitFailed) else data) == outcome


def test_a_failed_unit_is_short_in_logs_and_survives_a_process() -> None:
    error = UnitFailed(FAILED, transient=True)
    assert repr(error) == "UnitFailed(capture movies)"
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy.outcome, Outcome)
    assert (copy.outcome, copy.transient) == (FAILED, True)


def test_only_what_may_pass_is_worth_a_retry() -> None:
    from prefect.states import Failed

    def asked(error: object) -> bool:
        return worth_retrying(None, None, Failed(data=error))  # type: ignore[arg-type]

    assert asked(UnitFailed(FAILED, transient=True))
    assert not asked(UnitFailed(FAILED))
    assert asked(NodeUnreachable("away"))
    assert not asked(ConfigInvalid("no"))
    assert not asked(RuntimeError("no"))
