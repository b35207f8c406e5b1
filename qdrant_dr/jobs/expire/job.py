"""`expire`: let copies go that no rule keeps; every deletion is written down before it begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, PlanRefused
from qdrant_dr.jobs.expire.append_only import added_only, open_to_deletion
from qdrant_dr.jobs.expire.plan import (
    Decision,
    ExpireRequest,
    begun_deletions,
    decide,
)
from qdrant_dr.jobs.run.acknowledgements import acknowledgements_of
from qdrant_dr.jobs.run.clocks import ask_nodes, clocks_of
from qdrant_dr.jobs.run.holds import holds_of
from qdrant_dr.jobs.run.run import Run, utc_now
from qdrant_dr.jobs.run.units import Perform
from qdrant_dr.records import (
    Outcome,
    RunEnd,
)
from qdrant_dr.repository import (
    Repository,
    Stay,
    find_expired,
    withdraw,
)


def expire(config: Config, request: ExpireRequest, run: Run, perform: Perform) -> RunEnd:
    """Decide, delete one by one, conclude."""
    outcomes: list[Outcome] = []
    try:
        catalog = run.read_catalog(config)
        now = utc_now() if request.dry_run else _compared(config, run)
        run.note_source(catalog.backups)
        holds = holds_of(list(run.repositories.values()), config.cluster.name)
        begun = begun_deletions(catalog, run.repositories, now=now)
        known = acknowledgements_of(config, run.repositories, now=now)
        decision = decide(config, request, catalog, holds, begun, now=now, acknowledged=known)
        run.remarks += [
            f"{s.key} stays in {s.repository}, though no rule keeps it: {s.reasons[-1]}"
            for s in decision.stays
            if s.stopped
        ]
        if request.dry_run:
            run.remarks += added_only(run.repositories, decision.units)
            return run.preview(config, decision.units, also=_staying(request, decision, now))
        _withdraw_old(run.repositories, decision.stays, config.cluster.name)
        named = bool(request.backups or request.repositories)
        units, closed = open_to_deletion(config, run, decision.units, named=named)
        done = perform(units)
        outcomes += [*done, *closed]
        run.settle(units, done)
        outcomes += _staying(request, decision, now)
    except DRError as e:
        return run.finish(config, outcomes=outcomes, error=e)
    return run.finish(config, outcomes=outcomes)


def _staying(request: ExpireRequest, decision: Decision, now: datetime) -> list[Outcome]:
    """Of every copy that somebody named and that stays: which rules keep it, and how long."""
    return [
        Outcome(
            unit="expire",
            collection=stay.key.collection,
            repository=stay.repository,
            backup_id=stay.key.backup_id,
            verdict="skipped",
            started_at=now,
            ended_at=now,
            notes=(f"stays: {'; '.join(stay.reasons)}",),
        )
        for stay in (decision.stays if request.backups else ())
    ]


def _compared(config: Config, run: Run) -> datetime:
    """What time it is, by the clock furthest behind. Raise PlanRefused if they are apart."""
    clocks = clocks_of(config, run, ask_nodes(config))
    if clocks.apart is not None:
        raise PlanRefused(
            f"nothing is deleted: {clocks.apart}",
            "synchronise the clocks (NTP), see `qdrant-dr check`, then run it again.",
        )
    return clocks.earliest


def _withdraw_old(
    repositories: Mapping[str, Repository], stays: Sequence[Stay], cluster: str
) -> None:
    """Copies that were to go once, were not deleted, and stay now."""
    for name, repository in repositories.items():
        kept = {s.key.folder for s in stays if s.repository == name}
        for folder in sorted(kept & find_expired(repository, cluster)):
            withdraw(repository, folder)
