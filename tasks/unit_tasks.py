"""The units as Prefect tasks: how each is called there, when it is tried again, which slots it has.

One function does all of them; what a unit does is the library's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas import State
from prefect.client.schemas.objects import TaskRun

from qdrant_dr.dispatch.execute import execute, failed_outcome
from qdrant_dr.dispatch.execute_again import execute_again
from qdrant_dr.errors import DRError
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.units import Unit
from tasks.concurrency_limits import cluster_limit, hold_limit_slots, repository_limit
from tasks.config import RunRef, config_of, is_held
from tasks.console import print_as_asked
from tasks.progress import shown
from tasks.states import UnitFailed, unit_state

log = logging.getLogger(__name__)

ONCE: dict[str, Any] = {
    # a cache hit would prove nothing about the bytes in a bucket, and a result kept by Prefect
    # would be a second truth beside the records
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "log_prints": False,
    # no tags: Prefect asks its API for a slot of every tag before it starts a task, so a tagged
    # unit would fail with the API; deployments carry the tags
    "retries": 0,
}


def worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Retry only what the error tree calls transient; waiting does not make a wrong key right."""
    return isinstance(state.data, UnitFailed | DRError) and state.data.transient


RETRIED: dict[str, Any] = {
    **ONCE,
    "retries": 2,
    "retry_delay_seconds": [10, 60],
    # units that failed together do not come back together
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": worth_retrying,
}


def _none(_unit: Any) -> Sequence[str]:
    return ()


def _own(unit: Any) -> Sequence[str]:
    return (unit.repository,)


def _every(unit: Any) -> Sequence[str]:
    return tuple(unit.repositories)


@dataclass(frozen=True, slots=True)
class UnitTask:
    """How the units of a kind are done: what they do, what their runs are called, whether they are
    tried again, and of which repositories, and of the cluster, they take a slot."""

    does: str
    title: Callable[[Any], str] = lambda unit: f"{unit.unit} {unit.label}"
    retried: bool = True
    repositories: Callable[[Any], Sequence[str]] = _none
    cluster: bool = False
    name: str | None = None


def _capture(does: str) -> UnitTask:
    # not tried again: the library retries requests and resumes downloads; a capture done twice
    # would be another backup
    return UnitTask(
        does,
        title=lambda unit: f"capture {unit.label} to {'+'.join(unit.repositories)}",
        retried=False,
        repositories=_every,
        cluster=True,
    )


UNIT_TASKS: dict[str, UnitTask] = {
    "capture": _capture(
        "Make one backup of one collection, written to every repository in one read."
    ),
    "capture-full": _capture(
        "Make one full snapshot of a node, and of it one backup of each collection."
    ),
    "verify": UnitTask("Read one copy and prove it to its depth.", repositories=_own),
    "compare": UnitTask(
        "Read every replica of one collection on its own node, and compare them.",
        cluster=True,
    ),
    "diff": UnitTask("Read two backups of one collection, and say what changed between them."),
    "heal": UnitTask(
        "Bring one missing or damaged copy back from one that proves its bytes on the way.",
        repositories=lambda unit: sorted({unit.repository, *unit.sources}),
    ),
    "drill": UnitTask(
        "Restore one copy somewhere disposable, prove it there, and measure.", repositories=_own
    ),
    # not tried again by itself: what it was interrupted in is continued by running it again, after
    # somebody has looked
    "restore": UnitTask(
        "Restore one backup, prove it on the target, set its aliases.",
        retried=False,
        repositories=lambda unit: unit.repositories[:1],
    ),
    "export": UnitTask(
        "Write the points of one backup to files, each proven by reading it back.",
        repositories=_own,
    ),
    "restore-points": UnitTask(
        "Keep what some points are now, write them as they are in a backup, prove them.",
        retried=False,
        cluster=True,
    ),
    "expire": UnitTask(
        "Check again whether this copy may go, write that down, delete it.", repositories=_own
    ),
    "sweep": UnitTask("Remove what killed runs left behind."),
    "report": UnitTask(
        "Read the records of every repository, judge them, write the page and the frames."
    ),
    "watch": UnitTask(
        "Read the records, ask the cluster, compare with the last watch; change nothing.",
        title=lambda unit: f"look at {unit.label}",
        retried=False,
        name="look",
    ),
}


def run_name(*, parameters: dict[str, Any]) -> str:
    """Name a task run after its unit: `verify movies@20261122T... in aws to bytes`."""
    unit: Unit = parameters["unit"]
    return UNIT_TASKS[unit.unit].title(unit)


def do_unit(run: RunRef, unit: Unit) -> State[Any]:
    """Do one unit with a slot of each repository, and of the cluster; its outcome as a state.

    An error of the tree becomes a state here: raised, it would fill the run's log with a trace
    that says less than its message. Anything else is a defect, and is raised. In another process
    than that of its run the unit may be begun for the second time.
    """
    row, label = UNIT_TASKS[unit.unit], f"{unit.unit} {unit.label}"
    started_at = utc_now()
    try:
        if not is_held(run):  # another process than that of the run
            print_as_asked()
        resolved = config_of(run)
        limits = [cluster_limit(resolved.cluster.name)] * row.cluster
        limits += map(repository_limit, row.repositories(unit))
        with hold_limit_slots(limits, within=resolved.cluster.timeouts.snapshot), shown(label):
            act = execute if is_held(run) else execute_again
            outcome = act(resolved, unit, run.run_id)
    except DRError as error:
        log.debug("%s failed", label, exc_info=True)
        failed = failed_outcome(unit, error, started_at=started_at, ended_at=utc_now())
        return unit_state(failed, transient=error.transient)
    return unit_state(outcome)


TASKS: dict[str, Task[..., Any]] = {
    unit: Task(
        do_unit,
        name=row.name or unit,
        description=row.does,
        task_run_name=run_name,  # type: ignore[arg-type]  # it takes `parameters`, as allowed
        **(RETRIED if row.retried else ONCE),
    )
    for unit, row in UNIT_TASKS.items()
}
"""By the kind of the unit."""
