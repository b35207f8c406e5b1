"""Holds: keep a backup whatever the policy says, and let it go again; both are on record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from qdrant_dr.errors import CatalogIncomplete, ClockSkew, DRError, NothingSelected
from qdrant_dr.jobs.run.clocks import clock_text, store_clock
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.records import BackupKey, Hold
from qdrant_dr.repository import Repository, active_holds, add_hold, new_id

SKEW_LIMIT = timedelta(seconds=30)


def place_hold(
    repositories: Mapping[str, Repository],
    key: BackupKey,
    *,
    reason: str,
    until: datetime | None,
    by: str,
    now: datetime,
    skew_limit: timedelta = SKEW_LIMIT,
) -> tuple[Hold, dict[str, DRError]]:
    """Write a hold to every repository; the errors of those that could not take it, or whose clock
    is another: the times in it are by ours.

    One repository that knows of it is enough for `expire`, which reads all of them or does
    nothing. Raise CatalogIncomplete if none took it.
    """
    hold = Hold(
        hold_id=new_id(now),
        backup_id=key.backup_id,
        cluster=key.cluster,
        collection=key.collection,
        made_at=now,
        made_by=by,
        reason=reason,
        until=until,
    )
    return hold, _write(repositories, hold, skew_limit)


def release_holds(
    repositories: Mapping[str, Repository],
    key: BackupKey,
    holds: tuple[Hold, ...],
    *,
    reason: str,
    by: str,
    now: datetime,
    skew_limit: timedelta = SKEW_LIMIT,
) -> tuple[Hold, dict[str, DRError]]:
    """Let go what holds this backup; errors as of a hold. Raise NothingSelected if nothing does."""
    held = [h for h in active_holds(holds, now=now) if h.backup_id == key.backup_id]
    if not held:
        raise NothingSelected(f"nothing holds {key}", "`qdrant-dr hold` lists all holds.")
    release = Hold(
        hold_id=new_id(now),
        backup_id=key.backup_id,
        cluster=key.cluster,
        collection=key.collection,
        made_at=now,
        made_by=by,
        reason=reason,
        keeps=False,
        releases=tuple(h.hold_id for h in held),
    )
    return release, _write(repositories, release, skew_limit)


def _write(
    repositories: Mapping[str, Repository], hold: Hold, skew_limit: timedelta
) -> dict[str, DRError]:
    failed: dict[str, DRError] = {}
    skewed: dict[str, DRError] = {}
    for name, repository in repositories.items():
        before = utc_now()
        try:
            there = add_hold(repository, hold)
        except DRError as e:
            failed[name] = e
            continue
        if there and (clock := store_clock(there, before, utc_now())).exceeds(skew_limit):
            skewed[name] = ClockSkew(
                f"{name} took it, and its clock is {clock_text(clock)} from ours: until when it "
                "holds, or what it releases, is by ours",
                "synchronise the clocks (NTP), then look at `qdrant-dr hold`.",
            )
    if len(failed) == len(repositories):
        why = "; ".join(e.message for e in failed.values()) or "none can be opened"
        raise CatalogIncomplete(f"no repository took the hold: {why}", "see `qdrant-dr check`.")
    return failed | skewed
