"""`restore`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from qdrant_dr.cli.progress import Progress
from qdrant_dr.cli.runs import run_verb
from qdrant_dr.cli.session import Given, Reply, Session
from qdrant_dr.errors import PlanRefused, UsageError
from qdrant_dr.jobs.restore.job import plans_of
from qdrant_dr.jobs.restore.job import restore as bring_back
from qdrant_dr.jobs.restore.options import RestoreRequest
from qdrant_dr.jobs.restore.plan import RestorePlan
from qdrant_dr.jobs.restore_points.job import plan_of, restore_points_job
from qdrant_dr.jobs.restore_points.options import PointsRequest
from qdrant_dr.jobs.restore_points.plan import PointsPlan
from qdrant_dr.jobs.run.run import Run, begin
from qdrant_dr.jobs.run.units import PointsOptions, Priority, Way
from qdrant_dr.quantities import format_size, parse_size
from qdrant_dr.records.details import AliasMode
from qdrant_dr.text import printable

_ONLY_PLAN = "this is only the plan, nothing was changed: run it again with --execute"
_WHOLE: dict[str, tuple[object, ...]] = {
    "run": (), "name": (), "way": ("upload",), "server_file": (), "into_existing": (),
    "priority": ("snapshot",), "replication_factor": (), "aliases": ("create",), "parallel": (2,),
    "salvage": (), "keep_failed": (),
}  # fmt: skip
"""Options of restores of whole collections, with their defaults."""


def restore(
    *backup: str,
    to: str | None = None,
    every: Annotated[bool, Parameter(name="--all", negative=())] = False,
    run: str | None = None,
    to_key: str | None = None,
    name: Annotated[str | None, Parameter(name="--as")] = None,
    execute: Annotated[bool, Parameter(negative=())] = False,
    way: Way = "upload",
    server_file: str | None = None,
    into_existing: Annotated[bool, Parameter(negative=())] = False,
    priority: Priority = "snapshot",
    replication_factor: int | None = None,
    aliases: AliasMode = "create",
    parallel: int = 2,
    bandwidth: str | None = None,
    allow_unproven: Annotated[bool, Parameter(negative=())] = False,
    salvage: Annotated[bool, Parameter(negative=())] = False,
    keep_failed: Annotated[bool, Parameter(negative=())] = False,
    repository: Annotated[str | None, Parameter(name=["--repository", "-r"])] = None,
    points: Annotated[bool, Parameter(negative=())] = False,
    missing: Annotated[bool, Parameter(negative=())] = False,
    ids: str | None = None,
    where: Annotated[str | None, Parameter(name="--filter")] = None,
    only: str | None = None,
    another_incarnation: Annotated[bool, Parameter(negative=())] = False,
    undo: str | None = None,
    overwrite_changed: Annotated[bool, Parameter(negative=())] = False,
    ticket: str = "",
    note: str = "",
    session: Given,
) -> Reply:
    """Restore backups for real: print the plan, or carry it out with --execute.

    Without --execute nothing is changed anywhere: the plan lists every step, or every reason why
    the restore is refused. Run the same command again to continue an interrupted restore.

    Parameters
    ----------
    backup
        NAME@latest-proven, NAME@latest, or NAME@ and the beginning of a backup id.
    to
        URL of the server to restore to; for a cluster, any node. With --points the default is the
        cluster's own first node.
    every
        Restore every collection of the newest backup run's inventory from its newest proven backup.
        With --points: every point, or also a filter that finds all of them.
    run
        With --all: take the inventory of this backup run.
    to_key
        Reference to the target's key: env:NAME, file:PATH or secret:NAME. The cluster's own key is
        sent to its configured nodes only.
    name
        Name of the collection on the target. Default: its own.
    execute
        Carry the plan out.
    way
        How the bytes travel: `upload` sends them, `url` lets the target fetch them by a signed URL,
        `server-file` reads a file that the target already has.
    server_file
        For --way server-file: where the archive is, as seen by the target.
    into_existing
        Replace every point of an existing collection.
    priority
        Whose data wins if other replicas are active.
    replication_factor
        Replicas of each shard. Default: as in the backup.
    aliases
        Set no aliases, those that are free, or also those that other collections have now.
    parallel
        How many parts travel at once.
    bandwidth
        Limit for the bytes that pass through this machine, such as 100MiB/s.
    allow_unproven
        Restore a backup that is unproven or suspect.
    salvage
        Read the archive with the engine and write its points one by one: for archives that no
        server accepts.
    keep_failed
        Keep the collection of a restore that failed half-way, for inspection. A complete collection
        whose content differs is always kept.
    repository
        Use only the copy in this repository. Default: the healthiest, then the next one if it
        fails.
    points
        Write single points into the live collection, and leave all others alone. What they were
        before is kept first, for --undo.
    missing
        With --points: those that the backup has and the live collection has not.
    ids
        With --points: those named in this file, one id a line.
    where
        With --points: those that this filter of Qdrant (JSON) finds in the backup.
    only
        With --points: write one component, `payload` or `vector:NAME`, of points that are live.
    another_incarnation
        With --points: also into a collection that was deleted and created anew since the backup;
        with --undo: since that run.
    undo
        Take back what a run with --points wrote: the points are again what they were before it.
    overwrite_changed
        With --undo: also points that somebody changed since that run.
    ticket
        Kept in the record of the run.
    note
        Kept in the record of the run.
    """
    given = locals() | {"bandwidth": _rate(bandwidth)}
    if points or undo is not None:
        return _points(session, backup, given, execute=execute)
    _must_not_select_points(given)
    if to is None:
        raise UsageError("--to is missing: a restore needs a server", "add `--to URL`.")
    request = RestoreRequest(
        backups=backup,
        every=every,
        of_run=run,
        to=to,
        to_key=to_key,
        name=name,
        repository=repository,
        dry_run=not execute,
        **RestoreRequest.among(given),
    )
    return run_verb(session, "restore", request, bring_back) if execute else _plan(session, request)


def _points(
    session: Session, backups: Sequence[str], given: dict[str, Any], *, execute: bool
) -> Reply:
    """Plan or carry out `--points` or `--undo`."""
    if len(backups) > 1:
        raise UsageError("`--points` takes points of one backup", "restore them one by one.")
    if wrong := [o for o in _WHOLE if given[o] not in (None, False, *_WHOLE[o])]:
        names = ", ".join(f"--{o.replace('_', '-')}" for o in wrong)
        raise UsageError(f"{names.replace('--name', '--as')}: only for whole collections")
    request = PointsRequest(
        backup=backups[0] if backups else None,
        dry_run=not execute,
        **{n: given[n] for n in ("undo", "to", "to_key", "repository")},
        **PointsOptions.among(given),
    )
    if execute:
        return run_verb(session, "restore", request, restore_points_job)
    run = begin(session.config, "restore", parameters=request.model_dump())
    with Progress(session):
        plan = plan_of(session.config, request, run, compare=True)
    code = 0 if plan.possible else PlanRefused.exit_code
    return Reply(
        rows=[_points_row(plan)],
        text=points_plan_in_words(plan),
        verdict="ok" if plan.possible else "failed",
        exit_code=code,
        errors=[PlanRefused(r) for r in plan.refusals],
        remarks=[*_unread(run), _ONLY_PLAN if plan.possible else "nothing was changed"],
    )


def _must_not_select_points(given: Mapping[str, Any]) -> None:
    """Raise UsageError for a selection of points without `--points`: else the collection would be
    restored as a whole."""
    chosen = {"missing": "--missing", "ids": "--ids", "where": "--filter", "only": "--only",
              "another_incarnation": "--another-incarnation",
              "overwrite_changed": "--overwrite-changed"}  # fmt: skip
    if named := [option for name, option in chosen.items() if given[name]]:
        raise UsageError(f"{', '.join(named)} select points", "add `--points`.")


def points_plan_in_words(plan: PointsPlan) -> str:
    """Write the plan of a restore of points for people."""
    if plan.refusals:
        many = f"{len(plan.refusals)} reasons" if len(plan.refusals) > 1 else "one reason"
        return printable(f"{plan.title}: refused, for {many}")
    lines = [f"  {n}. {step}" for n, step in enumerate(plan.steps, 1)]
    lines += [f"  ! {remark}" for remark in plan.remarks]
    return "\n".join(printable(line) for line in [plan.title, *lines])


def _points_row(plan: PointsPlan) -> dict[str, Any]:
    unit, found = plan.unit, plan.surveyed
    counts = found.counts if found else {}
    return {
        "unit": "restore-points",
        "collection": unit.name,
        "backup_id": unit.key.backup_id if unit.key else None,
        "undoes": unit.undoes,
        "target": unit.target,
        "name": unit.name,
        "only": unit.only,
        "possible": plan.possible,
        "size_bytes": plan.size_bytes,
        "create": counts.get("create", 0),
        "overwrite": counts.get("overwrite", 0),
        "delete": counts.get("delete", 0),
        "equal": counts.get("equal", 0),
        "changed": counts.get("changed", 0),
        "lacking": counts.get("lacking", 0),
        "first": [{"id": point_id, "what": what} for what, point_id in found.first]
        if found
        else [],
        "steps": list(plan.steps),
        "refusals": list(plan.refusals),
        "warnings": list(plan.remarks),
    }


def _plan(session: Session, request: RestoreRequest) -> Reply:
    config = session.config
    run = begin(config, "restore", parameters=request.model_dump())
    plans = plans_of(config, request, run)
    possible = all(p.possible for p in plans)
    return Reply(
        rows=[_row(p) for p in plans],
        text="\n\n".join(map(plan_in_words, plans)),
        verdict="ok" if possible else "failed",
        exit_code=0 if possible else PlanRefused.exit_code,
        errors=[PlanRefused(f"{p.key}: {r}") for p in plans for r in p.refusals],
        remarks=[*_unread(run), *_remarks(plans, possible)],
    )


def _unread(run: Run) -> list[str]:
    """List what could not be read when the plan was made."""
    away = [f"{name} could not be read: {e.message}" for name, e in run.unreachable.items()]
    return [*away, *(f"{u.repository}/{u.path}: {u.error.message}" for u in run.unreadable)]


def plan_in_words(plan: RestorePlan) -> str:
    """Write the plan for people."""
    head = f"{plan.key} to {plan.target} as {plan.name} ({format_size(plan.size_bytes)})"
    if plan.refusals:
        many = f"{len(plan.refusals)} reasons" if len(plan.refusals) > 1 else "one reason"
        return printable(f"{head}: refused, for {many}")
    lines = [f"  {n}. {step}" for n, step in enumerate(plan.steps, 1)]
    lines += [f"  ! {warning}" for warning in plan.warnings]
    lines.append(f"  about {plan.seconds:.0f} s until proven ({plan.estimate})")
    return "\n".join(printable(line) for line in [head, *lines])


def _row(plan: RestorePlan) -> dict[str, Any]:
    return {
        "unit": "restore",
        "collection": plan.key.collection,
        "backup_id": plan.key.backup_id,
        "target": plan.target,
        "name": plan.name,
        "route": plan.route,
        "possible": plan.possible,
        "size_bytes": plan.size_bytes,
        "seconds": plan.seconds,
        "estimate": plan.estimate,
        "steps": [str(s) for s in plan.steps],
        "refusals": list(plan.refusals),
        "warnings": list(plan.warnings),
    }


def _remarks(plans: Sequence[RestorePlan], possible: bool) -> list[str]:
    if possible:
        return [_ONLY_PLAN]
    refused = sum(not p.possible for p in plans)
    return [f"{refused} of {len(plans)} restores are refused; nothing was changed"]


def _rate(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_size(text.removesuffix("/s"))
    except ValueError as e:
        raise UsageError(f"--bandwidth: {e}") from None
