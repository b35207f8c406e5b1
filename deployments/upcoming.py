"""What is scheduled next, as the server has it: a run must exist, a healthy page is not enough."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort

from qdrant_dr.errors import SetupFailed

SCHEDULED_WITHIN = 90.0
"""Seconds. The scheduler looks every minute at everything, at what was changed more often."""


@dataclass(frozen=True, order=True)
class Next:
    """The next run of one schedule."""

    due: datetime
    deployment: str
    schedule: str


def await_scheduled(
    client: SyncPrefectClient,
    schedules: Mapping[str, Collection[str]],
    *,
    within: float = SCHEDULED_WITHIN,
) -> list[Next]:
    """Wait for and return the next run of every schedule that is on, soonest first.

    `schedules`: the slugs that each deployment must have. Raise SetupFailed for those that it has
    not, and for the ones that are on and have no run after `within` seconds. Deployments that are
    paused and schedules that are off are left out.
    """
    if gone := _gone(client, schedules):
        raise SetupFailed(
            f"{len(gone)} schedules of prefect.yaml are not on the server: {', '.join(gone)}. "
            "nothing will run by them",
            "`qdrant-dr up` again makes them; if that does not help, look for who deletes them "
            "(`prefect deployment schedule ls NAME`).",
        )
    deadline = time.monotonic() + within
    found: list[Next] = []
    left = list(schedules)
    while True:
        missing = []
        for name in left:
            runs, without = _of(client, name)
            if without:
                missing.append((name, without))
            else:
                found += runs
        if not missing:
            return sorted(found)
        if time.monotonic() > deadline:
            raise _never_scheduled([f"{n} ({', '.join(s)})" for n, s in missing], within)
        left = [name for name, _ in missing]
        time.sleep(1)


def schedule_now(
    client: SyncPrefectClient, deployment: UUID, since: datetime | None = None
) -> None:
    """Make the next runs of a deployment, and those that were due since then. Each change of one
    takes the coming ones away until the server's scheduler looks again: what is due in between
    would be lost. A run that is there already is not made twice."""
    given = {"start_time": since.isoformat()} if since else {}
    client.request("POST", f"/deployments/{deployment}/schedule", json=given)  # type: ignore[arg-type]


def _gone(client: SyncPrefectClient, schedules: Mapping[str, Collection[str]]) -> list[str]:
    """The ones that are not there at all: an operator switches a schedule off, which stays."""
    gone = []
    for name, slugs in schedules.items():
        there = {s.slug for s in client.read_deployment_by_name(name).schedules}
        gone += [f"{name} ({slug})" for slug in slugs if slug not in there]
    return gone


def _of(client: SyncPrefectClient, name: str) -> tuple[list[Next], list[str]]:
    """The next run of each active schedule of a deployment, and the schedules without one."""
    deployment = client.read_deployment_by_name(name)
    on = {s.id: s.slug or "-" for s in deployment.schedules if s.active}
    if deployment.paused or not on:
        return [], []
    due: dict[object, datetime] = {}
    for run in client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]),
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        ),
        sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        limit=200,
    ):
        if run.auto_scheduled and run.expected_start_time:
            # a server that does not say which schedule made a run can mean the only one
            made_by = run.created_by.id if run.created_by else next(iter(on))
            due.setdefault(made_by, run.expected_start_time)
    return (
        [Next(due[i], name, slug) for i, slug in on.items() if i in due],
        [slug for i, slug in on.items() if i not in due],
    )


def _never_scheduled(missing: Sequence[str], within: float) -> SetupFailed:
    versions = ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ("prefect", "sqlalchemy", "fastapi")
    )
    return SetupFailed(
        f"the server answers, but made no run within {within:.0f} s for {len(missing)} deployments "
        f"whose schedules are on: {'; '.join(missing)}. nothing will be backed up by schedule",
        "its scheduler does not work. a server of Prefect 3.8 needs sqlalchemy < 2.1 and "
        f"fastapi < 0.151 (here: {versions}); one started with --no-services needs "
        "`prefect server services start`; read the server's log.",
    )
