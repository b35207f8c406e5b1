"""Restore backups for real, after approval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas import State
from prefect.states import Cancelled
from pydantic import Field

from flows.parameters import ALONE, ConfigRef
from qdrant_dr.config import Config
from qdrant_dr.errors import UsageError
from qdrant_dr.jobs.restore.job import approved_by_execute
from qdrant_dr.jobs.restore.job import restore as restore_job
from qdrant_dr.jobs.restore.options import RestoreRequest
from qdrant_dr.jobs.restore.plan import RestorePlan
from qdrant_dr.jobs.restore_points.job import needs_no_approval, restore_points_job
from qdrant_dr.jobs.restore_points.options import PointsRequest
from qdrant_dr.jobs.restore_points.plan import PointsPlan
from qdrant_dr.jobs.run.approval import Approval
from qdrant_dr.jobs.run.run import Run
from qdrant_dr.jobs.run.units import Perform, PointsOptions, Priority, Way
from qdrant_dr.jobs.target.open_target import is_scratch
from qdrant_dr.records import RunEnd
from qdrant_dr.records.details import AliasMode
from tasks.approve import ask
from tasks.run_job import run_job
from tasks.states import refused_state


@flow(name="restore", description="Restore backups for real, after approval.", **ALONE)
def restore(
    config: ConfigRef,
    to: Annotated[
        str, Field(pattern=r"^https?://[^@?#\s]+$", examples=["http://qdrant-0.internal:6333"])
    ],
    backup: Annotated[str, Field(min_length=3, examples=["movies@latest-proven"])] | None = None,
    every: bool = False,
    of_run: Annotated[str, Field(min_length=1)] | None = None,
    to_key: Annotated[str, Field(pattern=r"^(env|file|secret):.+$")] | None = None,
    name: Annotated[str, Field(min_length=1)] | None = None,
    repository: Annotated[str, Field(min_length=1)] | None = None,
    way: Way = "upload",
    server_file: Annotated[str, Field(min_length=1)] | None = None,
    into_existing: bool = False,
    priority: Priority = "snapshot",
    replication_factor: Annotated[int, Field(ge=1)] | None = None,
    aliases: AliasMode = "create",
    parallel: Annotated[int, Field(ge=1, le=16)] = 2,
    bandwidth_mib_per_second: Annotated[int, Field(ge=1)] | None = None,
    allow_unproven: bool = False,
    salvage: bool = False,
    keep_failed: bool = False,
    points: bool = False,
    missing: bool = False,
    ids: Annotated[str, Field(min_length=1)] | None = None,
    where: Annotated[str, Field(min_length=2, examples=['{"must": [...]}'])] | None = None,
    only: Annotated[str, Field(pattern=r"^(payload|vector:.*)$")] | None = None,
    another_incarnation: bool = False,
    undo: Annotated[str, Field(min_length=1)] | None = None,
    overwrite_changed: bool = False,
    approval_minutes: Annotated[int, Field(ge=1, le=10080)] = 60,
    requested_by: str = "",
    ticket: str = "",
    note: str = "",
    dry_run: bool = False,
) -> State[Any]:
    """Plan, pause for approval, create, recover, prove every point, set the aliases.

    With `points`, or `undo`: plan, pause, keep what the points are now, write them, prove them.

    The run pauses with the plan and a form: approve, name, ticket. It ends Cancelled if the answer
    is no, Failed if none comes in time. A target that is the configured scratch needs no approval.

    Args:
        config: Path or URL of qdrant-dr.yaml as the worker sees it, or block:NAME.
        to: URL of the server to restore to; for a cluster, any node.
        backup: NAME@latest-proven, NAME@latest, or NAME@ and the beginning of a backup id.
        every: Instead of one backup: restore every collection of the newest backup run's inventory
            from its newest proven backup.
        of_run: With every: take the inventory of this backup run. None: of the newest.
        to_key: Reference to the target's key (env:, file: or secret:). None: the cluster's own, for
            its configured nodes only.
        name: Name of the collection on the target. None: its own.
        repository: Use only the copy in this repository. None: the healthiest, then the next.
        way: Send the bytes, let the target fetch them by a signed URL, or read a file it has.
        server_file: Where that file is, as seen by the target.
        into_existing: Replace every point of an existing collection.
        priority: Whose data wins if other replicas are active.
        replication_factor: Replicas of each shard. None: as in the backup.
        aliases: Set none, those that are free, or also those that other collections have now.
        parallel: How many parts travel at once.
        bandwidth_mib_per_second: Limit for bytes that pass through the worker. None: unlimited.
        allow_unproven: Restore a backup that is unproven or suspect.
        salvage: Read the archive with the engine and write its points one by one.
        keep_failed: Keep the collection of a restore that failed half-way, for inspection.
        points: Write single points into the live collection and leave all others alone. What they
            were is kept first, for `undo`. Which: missing, ids, where, or every.
        missing: With points: those that the backup has and the live collection has not.
        ids: With points: those named in this file, one id a line, as the worker sees it.
        where: With points: those that this filter of Qdrant (JSON) finds in the backup.
        only: With points: write one component, `payload` or `vector:NAME`, of points that are live.
        another_incarnation: With points: also into a collection that was created anew since.
        undo: The id of a run with points: its points are again what they were before it.
        overwrite_changed: With undo: also points that somebody changed since that run.
        approval_minutes: How long to wait for an answer.
        requested_by: Your name; Prefect itself knows it only where people log in.
        ticket: The change or incident to which this belongs; the approver may give another.
        note: A note to store in the run's record.
        dry_run: Say what would be done, and change nothing.
    """
    given, rate = locals(), bandwidth_mib_per_second
    given["bandwidth"] = rate and rate * 2**20
    wait = timedelta(minutes=approval_minutes)
    if points or undo is not None:
        return _restore_points(config, given, wait)
    try:
        _must_be_one(backup, every=every, of_run=of_run, name=name, server_file=server_file)
        request = RestoreRequest(
            backups=(backup,) if backup else (),
            every=every,
            of_run=of_run,
            to=to,
            to_key=to_key,
            name=name,
            repository=repository,
            dry_run=dry_run,
            **RestoreRequest.among(given),
        )
    except UsageError as error:  # before a record is written, because it may hold a secret
        return refused_state(error)
    refused: list[str] = []

    def approved(plans: Sequence[RestorePlan], *, requester: str) -> Approval:
        answer = ask(plans, requester=requester, ticket=ticket, timeout=wait)
        refused.extend([] if answer.given else [answer.reason])
        return answer

    def job(cfg: Config, request: RestoreRequest, run: Run, perform: Perform) -> RunEnd:
        free = is_scratch(cfg, to)
        approve = approved_by_execute if free else partial(approved, requester=run.start.actor)
        return restore_job(cfg, request, run, perform, approve)

    state = run_job(config, "restore", job, request)
    return Cancelled(message=f"not approved: {refused[0]}") if refused else state


def _restore_points(config: ConfigRef, given: Mapping[str, Any], wait: timedelta) -> State[Any]:
    """Restore points, or take that back, in the same form as whole collections."""
    try:
        names = ("backup", "undo", "to", "to_key", "repository", "dry_run")
        request = PointsRequest(
            **{name: given[name] for name in names}, **PointsOptions.among(given)
        )
    except UsageError as error:
        return refused_state(error)
    refused: list[str] = []

    def approved(plans: Sequence[PointsPlan], *, requester: str) -> Approval:
        answer = ask(plans, requester=requester, ticket=request.ticket, timeout=wait)
        refused.extend([] if answer.given else [answer.reason])
        return answer

    def job(cfg: Config, request: PointsRequest, run: Run, perform: Perform) -> RunEnd:
        asks = partial(approved, requester=run.start.actor)
        free = needs_no_approval(cfg, request)
        return restore_points_job(cfg, request, run, perform, None if free else asks)

    state = run_job(config, "restore", job, request)
    return Cancelled(message=f"not approved: {refused[0]}") if refused else state


def _must_be_one(
    backup: str | None,
    *,
    every: bool,
    of_run: str | None,
    name: str | None,
    server_file: str | None,
) -> None:
    """Raise UsageError, in the words of the form, for parameters that do not go together."""
    hint = "see the description of the flow's parameters."
    if every == (backup is not None):
        both = "both were given" if every else "neither was given"
        raise UsageError(f"give `backup`, or say `every`: {both}", hint)
    if of_run is not None and not every:
        raise UsageError("`of_run` belongs to `every`", hint)
    if every and (name is not None or server_file is not None):
        raise UsageError("`name` and `server_file` are of one backup, not of `every`", hint)
