"""A deployment under its former name, and its successor: which of the two does what is due.

`qdrant-dr up` makes the successor and then retires the one of the former name. If it dies between
the two, both have a schedule. And one of the former name whose configuration `up` could not read
is left as it is: only its runs know which cluster they are for.
"""

from __future__ import annotations

import logging
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas import State
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed

from qdrant_dr.config import Config
from tasks.config import is_file, load, same_cluster
from tasks.deployment_names import FORMER, full_name
from tasks.server import reachable

log = logging.getLogger(__name__)

WAITS = (StateType.SCHEDULED, StateType.PENDING)
LATE = "Late"
"""The name of the state of a run that should have begun and that no worker has taken."""


def left_to_the_successor(flow: str, reference: str, config: Config) -> State[Any] | None:
    """Return the state of a run that the successor of its deployment does, too, at the same time;
    None for every other run, and if Prefect cannot be asked: twice is better than not at all."""
    cluster = config.cluster.name
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or not run.auto_scheduled or flow not in FORMER or not reachable():
        return None
    try:
        with get_client(sync_client=True) as client:
            doubled = _doubled(client, run, flow, reference, config)
    except Exception as error:  # noqa: BLE001  a lost API shows as many things
        log.warning("whether another deployment does this, too, is not known: %s", error)
        return None
    if not doubled:
        return None
    return Completed(
        name="Replaced",
        message=f"nothing was done: {full_name(flow, cluster)} does what was due now, and this "
        f"deployment is the one it replaces. Next: `prefect deployment delete {flow}/"
        f"{FORMER[flow]}`, or `qdrant-dr up` with the configuration of {cluster}",
    )


def _doubled(
    client: SyncPrefectClient, run: FlowRun, flow: str, reference: str, config: Config
) -> bool:
    """Whether this is a run of the former name, and one of the successor does the same, for the
    same moment."""
    if run.deployment_id is None or run.expected_start_time is None:
        return False
    ours = client.read_deployment(run.deployment_id)
    if ours.name != FORMER[flow]:
        return False
    try:
        other = client.read_deployment_by_name(full_name(flow, config.cluster.name))
    except ObjectNotFound:
        return False
    here = ours.work_pool_name == other.work_pool_name
    if not reads_the_same(str(other.parameters.get("config")), reference, config, here=here):
        return False
    due = FlowRunFilterExpectedStartTime(
        after_=run.expected_start_time, before_=run.expected_start_time
    )
    same = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[other.id]), expected_start_time=due
    )
    states = [r.state for r in client.read_flow_runs(flow_run_filter=same, limit=20)
              if r.auto_scheduled]  # fmt: skip
    served = bool(states) and _served(client, other)
    return any(is_done_by(state, served=served) for state in states)


def reads_the_same(theirs: str, reference: str, config: Config, *, here: bool) -> bool:
    """Say whether that configuration is of this cluster, not of a namesake. `here`: read by the
    same work pool; the same path means another file on the machines of another one. Raise
    ConfigInvalid."""
    if is_file(theirs) and not here:
        return False
    return theirs == reference or same_cluster(load(theirs), config) is True


def is_done_by(state: State[Any] | None, *, served: bool) -> bool:
    """Say whether a run in this state does, or has done, what is due. `served`: its work pool has
    a worker. One that has failed does not, nor one that is late: nobody takes it."""
    if state is None:
        return False
    if state.type in (StateType.RUNNING, StateType.COMPLETED):
        return True
    return served and state.type in WAITS and state.name != LATE


def _served(client: SyncPrefectClient, deployment: DeploymentResponse) -> bool:
    """Whether somebody takes its runs."""
    name = deployment.work_pool_name
    if deployment.paused or not name or client.read_work_pool(name).is_paused:
        return False
    found = client.request("POST", f"/work_pools/{name}/workers/filter", json={}).json()  # type: ignore[arg-type]
    return any(worker["status"] == "ONLINE" for worker in found)
