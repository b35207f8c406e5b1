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
    """Restore backups for real: print the plan, or with --execute do it.

    Without --execute nothing is changed anywhere: the plan is printed with every step, or with
    every reason why not. What was interrupted is continued by the same command.

    Parameters
    ----------
    backup
        NAME@latest-proven, NAME@latest, or NAME@ and the beginning of a backup id.
    to
        URL of the server to restore to; any node of a cluster.
    every
        Every collection of the newest backup run's inventory, its newest proven backup.
    run
        With --all: of this backup run's inventory.
    to_key
        Reference of the target's key: env:NAME, file:PATH or secret:NAME. The cluster's own key
        goes to its configured nodes only.
    name
        Name of the collection on the target; else its own.
    execute
        Do it.
    way
        Send the bytes, let the target fetch them by a signed URL, or from a file it has already.
    server_file
        Of --way server-file: where the archive lies, as the target sees it.
    into_existing
        Replace every point of a collection that is there.
    priority
        Whose data wins where other replicas are active.
    replication_factor
        Replicas of each shard; else as it was.
    aliases
        Set none, those that nobody has, or also those of other collections.
    parallel
        Parts that travel at once.
    bandwidth
        Limit of what passes through here, such as 100MiB/s.
    allow_unproven
        Restore a backup that is not proven, or suspect.
    salvage
        Read the archive with the engine and write its points anew: for what no server takes.
    keep_failed
        Leave what a restore made that failed half-way, to look at. What is there in whole and
        differs stays anyway.
    repository
        Only the copy in this repository; else the healthiest, and the next one if it fails.
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
        text="\n\n".join(map(plan_in_words, plans)),
        verdict="ok" if possible else "failed",
        exit_code=0 if possible else PlanRefused.exit_code,
        errors=[PlanRefused(f"{p.key}: {r}") for p in plans for r in p.refusals],
        remarks=[*_unread(run), *_remarks(plans, possible)],
    )


def _unread(run: Run) -> list[str]:
    """What the plan was made without."""
    away = [f"{name} could not be read: {e.message}" for name, e in run.unreachable.items()]
    return [*away, *(f"{u.repository}/{u.path}: {u.error.message}" for u in run.unreadable)]


def plan_in_words(plan: RestorePlan) -> str:
    """The plan for people."""
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
        return ["this is the plan, nothing was changed: run it again with --execute"]
    refused = sum(not p.possible for p in plans)
    return [f"{refused} of {len(plans)} restores are refused, nothing was changed"]


def _rate(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return parse_size(text.removesuffix("/s"))
    except ValueError as e:
        raise UsageError(f"--bandwidth: {e}") from None
