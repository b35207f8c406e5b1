"""What changed between the last two proven backups of each collection, kept as a run's record.

Reading two backups costs more than a proof, so nothing computes it by itself: the flow `diff` has
no schedule until somebody gives it one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from qdrant_dr.config import Config
from qdrant_dr.errors import DRError
from qdrant_dr.jobs.compare_points.job import compare
from qdrant_dr.jobs.run.run import Run, utc_now
from qdrant_dr.jobs.run.scope import selected_names
from qdrant_dr.jobs.run.units import DiffUnit, Perform
from qdrant_dr.records import Differed, Outcome, RunEnd
from qdrant_dr.records.base import Frozen
from qdrant_dr.repository import Backup, Catalog, proven_copies

_EVER = timedelta(days=36500)


class DiffRequest(Frozen):
    """What this run is asked for; None = every backed up collection."""

    collections: tuple[str, ...] | None = None


def plan_diff(
    config: Config, request: DiffRequest, catalog: Catalog, *, now: datetime
) -> tuple[tuple[DiffUnit, ...], tuple[str, ...]]:
    """Return a unit for each collection with two proven backups of one life, and which have none.
    Pure. Raise NothingSelected."""
    names = selected_names(request.collections, catalog.collections, what="backed up collection")
    units, without = [], []
    for name in sorted(names):
        last_two = _last_two(config, catalog.of(name), now)
        if last_two is None:
            without.append(f"{name}: there are no two proven backups of one life yet")
            continue
        before, after = last_two
        units.append(DiffUnit(key=after.key, before=before.key))
    return tuple(units), tuple(without)


def _last_two(
    config: Config, backups: Sequence[Backup], now: datetime
) -> tuple[Backup, Backup] | None:
    """Return the newest proven backup and the one before it, however old their proofs are."""
    depth = config.objectives.proven.depth
    proven = [
        b
        for b in backups
        if b.conflict is None
        and not b.of_the_future(now)
        and proven_copies(b, depth=depth, max_age=_EVER, now=now)
    ]
    if not proven:
        return None
    after = proven[-1]
    life = [b for b in proven[:-1] if b.manifest.incarnation == after.manifest.incarnation]
    return (life[-1], after) if life else None


def diff(config: Config, request: DiffRequest, run: Run, perform: Perform) -> RunEnd:
    """Compare the last two proven backups of each collection and conclude."""
    outcomes: list[Outcome] = []
    try:
        catalog = run.read_catalog(config)
        units, without = plan_diff(config, request, catalog, now=utc_now())
        run.remarks += without
        outcomes += perform(units)
    except DRError as e:
        return run.finish(config, outcomes=outcomes, error=e)
    return run.finish(config, outcomes=outcomes)


def compare_backups(config: Config, unit: DiffUnit) -> Outcome:
    """Compare two backups. What changed is no fault: beyond `objectives.drift_limit` it is
    `degraded`, so that a person looks."""
    started_at = utc_now()
    found = compare(config, str(unit.before), str(unit.key), out=None, now=started_at)
    detail = Differed(
        before=unit.before.backup_id,
        points_before=found.before,
        points_after=found.after,
        removed=found.counts["removed"],
        added=found.counts["added"],
        changed=found.counts["changed"],
        components=found.components,
        within=found.within,
        settings=found.settings,
        aliases=found.aliases,
        words=found.sentences,
    )
    limit = config.drift_limit_of(unit.collection)
    beyond = detail.share > limit
    notes = [*found.notes]
    if beyond:
        notes.insert(
            0,
            f"{detail.share:.0%} of the points of {unit.before} are lost or changed, "
            f"objectives.drift_limit is {limit:.0%}",
        )
    return Outcome(
        unit="diff",
        collection=unit.collection,
        backup_id=unit.key.backup_id,
        verdict="degraded" if beyond else "ok",
        started_at=started_at,
        ended_at=utc_now(),
        notes=tuple(notes),
        detail=detail,
    )
