"""Units as task runs: what a flow uses where the command line uses threads."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from prefect import Task
from prefect.exceptions import TerminationSignal
from prefect.futures import PrefectFuture, wait

from qdrant_dr.errors import Interrupted
from qdrant_dr.jobs.execute import failed_outcome
from qdrant_dr.jobs.run import utc_now
from qdrant_dr.jobs.stop import stopping
from qdrant_dr.jobs.units import Unit
from qdrant_dr.records import Outcome
from tasks.capture import capture, capture_full
from tasks.drill import drill
from tasks.expire import expire
from tasks.heal import heal
from tasks.restore import restore
from tasks.states import UnitFailed
from tasks.sweep import sweep
from tasks.verify import verify

log = logging.getLogger(__name__)

DEADLINE = timedelta(hours=24)
"""For all units of one step. The library has time-outs of its own on everything that waits; this
one is for what it cannot see, such as the last Dask worker being gone."""

TASKS: dict[str, Task[..., Any]] = {
    "capture": capture,
    "capture-full": capture_full,
    "verify": verify,
    "heal": heal,
    "drill": drill,
    "restore": restore,
    "expire": expire,
    "sweep": sweep,
}


@dataclass
class TaskPerform:
    """A `perform` that submits each unit to its task, on the runner of the flow that calls it.

    Every future is settled: a unit that raised, crashed or is not done within `deadline` has a
    failed outcome. None is left out, so nothing is silently green. When the flow run is cancelled,
    its units are asked to stop and Interrupted is raised; `signal` is what Prefect had raised.
    """

    config: str
    run_id: str
    deadline: timedelta
    signal: BaseException | None = None

    def __call__(self, units: Sequence[Unit]) -> list[Outcome]:
        started_at = utc_now()
        try:
            futures = [TASKS[u.unit].submit(self.config, u, self.run_id) for u in units]
            wait(futures, timeout=self.deadline.total_seconds())
        except (TerminationSignal, KeyboardInterrupt) as signal:
            stopping.set()
            self.signal = signal
            raise Interrupted("the flow run was cancelled") from signal
        return [_settle(u, f, started_at) for u, f in zip(units, futures, strict=True)]


def submit_all(config: str, run_id: str, *, deadline: timedelta = DEADLINE) -> TaskPerform:
    """The `perform` of a flow: `config` is the reference that each task resolves for itself."""
    return TaskPerform(config, run_id, deadline)


def _settle(unit: Unit, future: PrefectFuture[Any], started_at: datetime) -> Outcome:
    """The outcome behind a future that had its time."""
    try:
        result: object = future.result(timeout=1, raise_on_failure=False)
    except TimeoutError:
        result = TimeoutError("not finished within the deadline of its run")
    except Exception as error:  # noqa: BLE001  a lost worker shows as anything; it is an outcome
        result = error
    if isinstance(result, Outcome):
        return result
    if isinstance(result, UnitFailed):
        return result.outcome
    if not isinstance(result, BaseException):
        result = TypeError(f"the task returned {type(result).__name__}, not an outcome")
    return failed_outcome(unit, result, started_at=started_at, ended_at=utc_now())
