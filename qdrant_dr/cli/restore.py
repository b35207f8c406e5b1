"""`restore`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from cyclopts import Parameter

from qdrant_dr.cli.runs import run_verb
from qdrant_dr.cli.session import Given, Reply, Session
from qdrant_dr.errors import PlanRefused, UsageError
from qdrant_dr.jobs.restore.job import plans_of
from qdrant_dr.jobs.restore.job import restore as bring_back
from qdrant_dr.jobs.restore.options import RestoreRequest
from qdrant_dr.jobs.restore.plan import RestorePlan
from qdrant_dr.jobs.run.run import Run, begin
from qdrant_dr.jobs.run.units import Priority, Way
from qdrant_dr.quantities import format_size, parse_size
from qdrant_dr.records.details import AliasMode
from qdrant_dr.text import printable


def restore(
    *backup: str,
    to: str,
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
        URL of the server to restore to; for a cluster, any node.
    every
        Restore every collection of the newest backup run's inventory from its newest proven backup.
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
    ticket
        Kept in the record of the run.
    note
        Kept in the record of the run.
    """
    given = locals() | {"bandwidth": _rate(bandwidth)}
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


def _plan(session: Session, request: RestoreRequest) -> Reply:
    config = session.config
    run = begin(config, "restore", parameters=request.model_dump())
    plans = plans_of(config, request, run)
    possible = all(p.possible for p in plans)
    return Reply(
        rows=[_row(p) for p in plans],
        text="\n\n".join(map(told, plans)),
        verdict="ok" if possible else "failed",
        exit_code=0 if possible else PlanRefused.exit_code,
        errors=[PlanRefused(f"{p.key}: {r}") for p in plans for r in p.refusals],
        remarks=[*_unread(run), *_remarks(plans, possible)],
    )


def _unread(run: Run) -> list[str]:
    """List what could not be read when the plan was made."""
    away = [f"{name} could not be read: {e.message}" for name, e in run.unreachable.items()]
    return [*away, *(f"{u.repository}/{u.path}: {u.error.message}" for u in run.unreadable)]


def told(plan: RestorePlan) -> str:
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
        return ["this is only the plan, nothing was changed: run it again with --execute"]
    refused = sum(not p.possible for p in plans)
    return [f"{refused} of {len(plans)} restores are refused; nothing was changed"]


def _rate(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_size(text.removesuffix("/s"))
    except ValueError as e:
        raise UsageError(f"--bandwidth: {e}") from None
