"""What all task shells share: when to try again, and how one unit is done politely."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from prefect import Task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas import State
from prefect.client.schemas.objects import TaskRun
from prefect.futures import PrefectFuture

from qdrant_dr.errors import DRError
from qdrant_dr.jobs.dispatch.execute import execute, failed_outcome
from qdrant_dr.jobs.dispatch.execute_again import execute_again
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.units import Unit
from qdrant_dr.records import Outcome
from tasks.concurrency_limits import cluster_limit, polite, repository_limit
from tasks.config import RunRef, config_of, is_held
from tasks.progress import shown
from tasks.states import UnitFailed, unit_state

log = logging.getLogger(__name__)

SHELL: dict[str, Any] = {
    # a cache hit would prove nothing about the bytes in a bucket, and a result kept by Prefect
    # would be a second truth beside the records
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "log_prints": False,
    # no tags: Prefect asks its API for a slot of every tag before it starts a task, so a tagged
    # unit would fail with the API; deployments carry the tags
}


def worth_retrying(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Only what the error tree calls transient; a wrong key does not get right by waiting."""
    return isinstance(state.data, UnitFailed | DRError) and state.data.transient


RETRIED: dict[str, Any] = {
    **SHELL,
    "retries": 2,
    "retry_delay_seconds": [10, 60],
    "retry_condition_fn": worth_retrying,
}


def do(
    run: RunRef, unit: Unit, *, repositories: Sequence[str], cluster: bool = False
) -> State[Any]:
    """Do one unit with a slot of each repository, and of the cluster; its outcome as a state.

    An error of the tree becomes a state here: raised, it would fill the run's log with a trace
    that says less than its message. Anything else is a defect, and is raised. In another process
    than that of its run the unit may be begun for the second time.
    """
    label = f"{unit.unit} {unit.label}"
    started_at = utc_now()
    try:
        resolved = config_of(run)
        limits = [cluster_limit(resolved.cluster.name)] * cluster
        limits += map(repository_limit, repositories)
        with polite(limits, within=resolved.cluster.timeouts.snapshot), shown(label):
            act = execute if is_held(run) else execute_again
            outcome = act(resolved, unit, run.run_id)
    except DRError as error:
        log.debug("%s failed", label, exc_info=True)
        failed = failed_outcome(unit, error, started_at=started_at, ended_at=utc_now())
        return unit_state(failed, transient=error.transient)
    return unit_state(outcome)


def awaited(future: PrefectFuture[Any]) -> Outcome:
    """The outcome of the only unit of a run; raise what is none."""
    result: Any = future.result(raise_on_failure=False)
    if isinstance(result, UnitFailed):
        return result.outcome
    if isinstance(result, BaseException):
        raise result
    assert isinstance(result, Outcome)
    return result
