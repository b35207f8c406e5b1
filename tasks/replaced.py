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
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed

from tasks.deployment_names import FORMER, full_name
from tasks.server import reachable

log = logging.getLogger(__name__)


def left_to_the_successor(flow: str, cluster: str) -> State[Any] | None:
    """Return the state of a run that the successor of its deployment does, too, at the same time;
    None for every other run, and if Prefect cannot be asked: twice is better than not at all."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None or not run.auto_scheduled or flow not in FORMER or not reachable():
        return None
    try:
        with get_client(sync_client=True) as client:
            doubled = _doubled(client, run, flow, full_name(flow, cluster))
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


def _doubled(client: SyncPrefectClient, run: FlowRun, flow: str, successor: str) -> bool:
    """Whether this is a run of the former name, and the successor has one for the same moment."""
    if run.deployment_id is None or run.expected_start_time is None:
        return False
    if client.read_deployment(run.deployment_id).name != FORMER[flow]:
        return False
    try:
        other = client.read_deployment_by_name(successor)
    except ObjectNotFound:
        return False
    due = FlowRunFilterExpectedStartTime(
        after_=run.expected_start_time, before_=run.expected_start_time
    )
    same = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[other.id]), expected_start_time=due
    )
    return any(r.auto_scheduled for r in client.read_flow_runs(flow_run_filter=same, limit=20))
