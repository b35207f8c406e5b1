"""Units as task runs: what a flow uses where the command line uses threads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from prefect.exceptions import TerminationSignal

from qdrant_dr.cancel import stopping
from qdrant_dr.dispatch.execute import failed_outcome
from qdrant_dr.errors import Interrupted
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.units import Unit
from qdrant_dr.records import Outcome
from tasks.config import RunRef
from tasks.limit_leases import let_go
from tasks.results import results_of
from tasks.runner import RemoteRunner, runner_at_hand
from tasks.states import UnitFailed
from tasks.unit_tasks import TASKS

DEADLINE = timedelta(hours=24)
"""For all units of one step. The library has time-outs of its own on everything that waits; this
one is for what it cannot see."""

CANCELLED = "the flow run was cancelled"


@dataclass
class UnitSubmitter:
    """The `perform` of a flow: submits each unit to its task, on the runner of the flow that calls
    it; each task resolves the configuration of `run` for itself.

    Every future is settled: a unit that raised, crashed or is not done within `deadline` has a
    failed outcome. None is left out, so nothing is silently green. On Dask the workers are looked
    at before each step, and WorkersUnfit is raised if they cannot do it. When the flow run is
    cancelled, its units are asked to stop and Interrupted is raised; `signal` is what Prefect had
    raised. `done` are the outcomes of all steps so far.
    """

    run: RunRef
    deadline: timedelta = DEADLINE
    signal: BaseException | None = None
    done: list[Outcome] = field(default_factory=list)

    def __call__(self, units: Sequence[Unit]) -> list[Outcome]:
        started_at = utc_now()
        runner = runner_at_hand()
        spread = runner if isinstance(runner, RemoteRunner) else None
        futures: list[Any] = []
        try:
            if spread and units:
                spread.preflight()
            futures += [TASKS[u.unit].submit(self.run, u) for u in units]
            found = (spread.results_of if spread else results_of)(futures, self.deadline)
        except (TerminationSignal, KeyboardInterrupt) as signal:
            stopping.set()
            if spread:
                spread.abandon(futures)
            self.signal = signal
            raise Interrupted(CANCELLED) from signal
        finally:
            let_go()
        settled = [_settle(u, r, started_at) for u, r in zip(units, found, strict=True)]
        self.done += settled
        return settled


def _settle(unit: Unit, result: object, started_at: datetime) -> Outcome:
    """The outcome of a unit whose task came to `result`."""
    if isinstance(result, Outcome):
        return result
    if isinstance(result, UnitFailed):
        return result.outcome
    if not isinstance(result, BaseException):
        result = TypeError(f"the task returned {type(result).__name__}, not an outcome")
    return failed_outcome(unit, result, started_at=started_at, ended_at=utc_now())
