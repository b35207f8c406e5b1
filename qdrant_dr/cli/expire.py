"""`expire` and `hold`."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from qdrant_dr.cli.catalog import Repositories
from qdrant_dr.cli.runs import run_verb
from qdrant_dr.cli.session import Column, Given, Reply
from qdrant_dr.cli.words import moment_ahead
from qdrant_dr.errors import UsageError
from qdrant_dr.jobs.expire.hold import place_hold, release_holds
from qdrant_dr.jobs.expire.job import expire as let_go
from qdrant_dr.jobs.expire.plan import ExpireRequest
from qdrant_dr.jobs.run.backup_selector import select
from qdrant_dr.jobs.run.catalogs import catalog_of, open_all
from qdrant_dr.jobs.run.holds import holds_of
from qdrant_dr.jobs.run.ledger import change_in_ledger
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.run_identity import user_name
from qdrant_dr.records import Hold
from qdrant_dr.repository import active_holds

HOLDS = (
    Column("backup", "BACKUP"),
    Column("made_by", "BY"),
    Column("made_at", "SINCE"),
    Column("until", "UNTIL"),
    Column("reason", "REASON"),
)


def expire(
    *backups: str,
    collection: Annotated[tuple[str, ...], Parameter(name="--collection", negative=())] = (),
    repository: Repositories = (),
    execute: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """Delete copies that no `retention` rule keeps. Without --execute: only list them.

    These always stay: the newest proven backup, the minimum number of backups, backups on hold,
    young backups, and those that hold what a suspect backup may have lost. Nothing is deleted while
    part of the catalog cannot be read.

    Parameters
    ----------
    backups
        Only these. Naming a backup also permits deleting the newest proven backup of a collection
        that no longer exists, a backup that no run is known to have made and, by its full name,
        what is left of a lost backup.
    collection
        Only backups of this collection; may be repeated.
    repository
        Only copies in this repository; may be repeated.
    execute
        Delete them.
    """
    request = ExpireRequest(
        collections=collection or None,
        backups=backups or None,
        repositories=repository or None,
        dry_run=not execute,
    )
    return run_verb(session, "expire", request, let_go)


def hold(
    backup: str | None = None,
    /,
    *,
    reason: str | None = None,
    until: str | None = None,
    release: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """Keep a backup whatever the retention policy says. Without a name: list the holds.

    Parameters
    ----------
    backup
        NAME@latest-proven, NAME@latest, or NAME@ and the beginning of a backup id.
    reason
        Why. Required; stored in the record.
    until
        A date such as 2027-01-31, or a time from now such as 90d. Default: until it is released.
    release
        Release the hold.
    """
    config, now = session.config, utc_now()
    opened, failed = open_all(config)
    holds = holds_of(list(opened.values()), config.cluster.name)
    errors = list(failed.values())
    if backup is None:
        if reason or until or release:
            raise UsageError("no backup is named", "write `qdrant-dr hold NAME@latest --reason R`.")
        return _reply(active_holds(holds, now=now), errors, blind=not opened)
    if reason is None or len(reason.strip()) < 3:
        raise UsageError("a hold needs a reason", "add --reason 'case 4711'.")
    proven, skew = config.objectives.proven, config.cluster.clock_skew_limit
    key = select(backup, catalog_of(config, opened, failed), proven=proven, now=now).key
    at = None if release else moment_ahead(until, now, "a hold that ends in the past keeps nothing")
    with change_in_ledger(config, opened, "hold") as unlisted:
        if release:
            made, lost = release_holds(
                opened, key, holds, reason=reason, by=user_name(), now=now, skew_limit=skew
            )
        else:
            made, lost = place_hold(
                opened, key, reason=reason, until=at, by=user_name(), now=now, skew_limit=skew
            )
    return _reply([made], [*errors, *lost.values(), *unlisted.values()])


def _reply(holds: Any, errors: list[Any], *, blind: bool = False) -> Reply:
    rows = [_row(h) for h in holds]
    return Reply(
        rows=rows,
        columns=HOLDS,
        verdict="failed" if blind else "degraded" if errors else "ok",
        exit_code=errors[0].exit_code if blind else None,
        errors=errors,
        remarks=[] if rows or errors else ["no backup is on hold"],
    )


def _row(hold: Hold) -> dict[str, Any]:
    until = f"{hold.until:%Y-%m-%d}" if hold.until else "released" if hold.keeps else "now"
    return {
        "backup": f"{hold.collection}@{hold.backup_id}",
        "made_by": hold.made_by,
        "made_at": f"{hold.made_at:%Y-%m-%d %H:%M:%S}",
        "until": until,
        "reason": hold.reason,
        "hold": hold,
    }
