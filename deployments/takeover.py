"""Whose a deployment is; and from its former name to the one that tells its cluster.

Prefect cannot rename a deployment. So the new one is made as a copy of the old one, paused; it is
brought up to date as any other, switched on, and only then the old one is retired. Wherever this is
cut off, what was scheduled stays scheduled, and the next `up` goes on from there. Where both have a
schedule, the run of the old one leaves it to the other (tasks/renamed_deployment.py).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from deployments.inputs import Asked
from deployments.prefect_yaml import Entry
from deployments.upcoming import schedule_now
from qdrant_dr.errors import DRError
from tasks.config import is_file, load, same_cluster
from tasks.deployment_names import FORMER, cluster_tag, deployment_name

RETIRED = "qdrant-dr-retired"
"""The tag of one under its former name that waits for its last runs to end."""
COPY = "qdrant-dr-copy"
"""The tag of a successor that is paused by us, until it is switched on: no operator paused it."""
UNFINISHED = (
    StateType.SCHEDULED, StateType.PENDING, StateType.RUNNING, StateType.PAUSED,
    StateType.CANCELLING,
)  # fmt: skip
PAGE = 200
"""The most that Prefect's API lists at once."""
COPIED = {
    "flow_id", "parameters", "parameter_openapi_schema", "enforce_parameter_schema", "tags",
    "concurrency_options", "work_pool_name", "work_queue_name", "job_variables", "pull_steps",
    "path", "entrypoint", "description", "version",
}  # fmt: skip


def read(client: SyncPrefectClient, name: str) -> DeploymentResponse | None:
    """Read a deployment by FLOW/NAME; None if there is none."""
    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def of_cluster(there: DeploymentResponse, asked: Asked) -> bool | None:
    """Say whether a deployment is of the cluster of this configuration; None if nothing here can
    tell. A name is not enough: clusters of one name are told apart by their repositories."""
    named = [tag for tag in there.tags if tag.startswith(cluster_tag(""))]
    if named and cluster_tag(asked.config.cluster.name) not in named:
        return False
    if named and RETIRED in there.tags:  # by an `up` of this name; only its last runs are left
        return True
    reference = str(there.parameters.get("config") or "")
    # the same path means another file on the machines of another pool
    if is_file(reference) and there.work_pool_name != asked.pool:
        return None
    if reference == asked.reference:
        return True
    try:
        return same_cluster(load(reference), asked.config)
    except DRError:
        return None


@dataclass
class Takeover:
    """One deployment under its former name, and the entry that it becomes."""

    client: SyncPrefectClient
    old: DeploymentResponse
    old_name: str
    entry: Entry

    @property
    def retired(self) -> bool:
        """Say whether only its last runs are left."""
        return RETIRED in self.old.tags

    def copy(self) -> bool:
        """Make the new one as the old one is, but paused. Say whether that was done: one that is
        switched on already, or was paused by somebody else, stays."""
        there = read(self.client, self.entry.name)
        if there and not (there.paused and COPY in there.tags):
            return False
        body = self.old.model_dump(mode="json", include=COPIED)
        limit = self.old.global_concurrency_limit
        body |= {
            "name": self.entry.meant["name"],
            "paused": True,
            "tags": [*self.old.tags, COPY],
            "concurrency_limit": limit.limit if limit else None,
            "schedules": [
                s.model_dump(mode="json", include={"slug", "active", "parameters", "schedule"})
                for s in self.old.schedules
            ],
        }
        self.client.request("POST", "/deployments/", json=body)
        return True

    def finish(self, new: DeploymentResponse) -> str:
        """Switch our copy on unless the old one was off, and retire that; say so. The old one stays
        as it is for as long as the new one would do less: nothing must end by the way."""
        if self.retired:
            return self.sweep()
        if less := lost(self.old, new, self.entry.schedules):
            return (f"  {self.old_name} stays and goes on as before, for {', '.join(less)}: switch "
                    f"that on, or pause {self.old_name} if nothing should run; then `qdrant-dr up` "
                    "again")  # fmt: skip
        paused, since = new.paused, datetime.now(UTC)
        if COPY in new.tags:
            paused &= self.old.paused
            change = {"paused": paused, "tags": [t for t in new.tags if t != COPY]}
            self.client.request("PATCH", f"/deployments/{new.id}", json=change)  # type: ignore[arg-type]
        if not paused:
            # before the other loses what is due next
            schedule_now(self.client, new.id, since)
        # one request: it loses its schedule, and what was due stays and is done
        tags = [RETIRED, *(t for t in self.entry.meant["tags"] if t.startswith(cluster_tag("")))]
        body = {"paused": True, "tags": tags, "description": f"Replaced by {self.entry.name}."}
        self.client.request("PATCH", f"/deployments/{self.old.id}", json=body)  # type: ignore[arg-type]
        return self.sweep()

    def sweep(self) -> str:
        """Delete the old one unless something needs it still; say so."""
        if runs := _unfinished(self.client, self.old.id):
            return (f"  {self.old_name} is paused until {runs} runs of it have ended; after that "
                    "the next `qdrant-dr up` deletes it")  # fmt: skip
        if users := _automations_with(self.client, self.old.id):
            return (f"  {self.old_name} is paused and stays, for automation {', '.join(users)} "
                    f"refers to it: let that name {self.entry.name}")  # fmt: skip
        self.client.delete_deployment(self.old.id)
        return f"  {self.old_name}, its former name, is deleted"


def switch_on_orphan(
    client: SyncPrefectClient, entry: Entry, new: DeploymentResponse
) -> str | None:
    """Switch a copy of ours on whose original somebody has deleted: nothing else would ever."""
    flow = str(entry.flow.name)
    if COPY not in new.tags or read(client, f"{flow}/{FORMER.get(flow)}"):
        return None
    since = datetime.now(UTC)
    change = {"paused": False, "tags": [t for t in new.tags if t != COPY]}
    client.request("PATCH", f"/deployments/{new.id}", json=change)  # type: ignore[arg-type]
    schedule_now(client, new.id, since)
    return "  its former name was deleted before it was taken over: it is switched on"


def lost(old: DeploymentResponse, new: DeploymentResponse, wanted: Collection[str]) -> list[str]:
    """Say which schedules, of `wanted` or of an operator, are on in the old one alone. What
    somebody has paused stays so; our own copy is switched on."""
    if old.paused:
        return []
    if new.paused and COPY not in new.tags:
        return [f"{new.name} is paused"]
    there = Counter(s.slug for s in old.schedules if s.active and (not s.slug or s.slug in wanted))
    left = there - Counter(s.slug for s in new.schedules if s.active)
    return [f"schedule {slug or 'of an operator'} is not on in {new.name}" for slug in left]


def takeovers(client: SyncPrefectClient, asked: Asked, wanted: Sequence[Entry]) -> list[Takeover]:
    """Find what this cluster has under former names, for the entries that have the new ones."""
    found = []
    for entry in wanted:
        flow = str(entry.flow.name)
        former = FORMER.get(flow)
        if not former or entry.meant["name"] != deployment_name(flow, asked.config.cluster.name):
            continue
        there = read(client, f"{flow}/{former}")
        if there and is_ours(there, entry) and of_cluster(there, asked):
            found.append(Takeover(client, there, f"{flow}/{former}", entry))
    return found


def is_ours(there: DeploymentResponse, entry: Entry) -> bool:
    """Say whether `up`, or prefect.yaml of before, made a deployment: by its flow and its tag."""
    ours = {RETIRED, *(t for t in entry.meant["tags"] if not t.startswith(cluster_tag("")))}
    return there.entrypoint == entry.meant["entrypoint"] and bool(ours & set(there.tags))


def _unfinished(client: SyncPrefectClient, deployment: UUID) -> int:
    asked = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(UNFINISHED))),
    )
    return len(client.read_flow_runs(flow_run_filter=asked, limit=200))


def _automations_with(client: SyncPrefectClient, deployment: UUID) -> list[str]:
    """Names of the automations that a deployment is named in: those of operators."""
    found: list[dict[str, Any]] = []
    while True:
        asked = {"limit": PAGE, "offset": len(found)}
        page = client.request("POST", "/automations/filter", json=asked).json()
        found += page
        if len(page) < PAGE:
            return sorted(a["name"] for a in found if str(deployment) in json.dumps(a))
