"""What may go, and why the rest stays: the catalog under the rules of the configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from qdrant_dr.config import Config
from qdrant_dr.errors import PlanRefused
from qdrant_dr.jobs.run.backup_selector import select
from qdrant_dr.jobs.run.scope import selected_names, selected_repositories
from qdrant_dr.jobs.run.units import ExpireUnit
from qdrant_dr.records import Acknowledgement, Hold
from qdrant_dr.records.base import Frozen
from qdrant_dr.repository import (
    Catalog,
    Expiry,
    Policy,
    PolicyOf,
    Repository,
    Stay,
    key_of,
    plan_expire,
    read_expired,
)


class ExpireRequest(Frozen):
    """What this run is asked for; None = all.

    `backups` are selectors of copies that a person names: only so the newest proven backup of a
    life that is over may go, what nobody is known to have made, and what is left of a backup whose
    manifest is lost. They, too, go only if nothing else keeps them.
    """

    collections: tuple[str, ...] | None = None
    backups: tuple[str, ...] | None = None
    repositories: tuple[str, ...] | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The units of a run, and everything that was decided besides them."""

    units: tuple[ExpireUnit, ...]
    stays: tuple[Stay, ...]


def policies(config: Config) -> PolicyOf:
    """Return the policy of each repository and collection: a collection's rules override the common
    ones."""

    def policy(repository: str, collection: str) -> Policy:
        place = config.repository(repository)
        rules = config.retention.under(
            place.retention if place else None, config.collections.override(collection).retention
        )
        return Policy(
            last=rules.last,
            daily=rules.daily,
            weekly=rules.weekly,
            monthly=rules.monthly,
            floor=rules.floor,
            grace=rules.grace,
            share=rules.share,
            timezone=ZoneInfo(rules.timezone),
            drift_limit=config.drift_limit_of(collection),
        )

    return policy


def decide(
    config: Config,
    request: ExpireRequest,
    catalog: Catalog,
    holds: Sequence[Hold],
    begun: Sequence[ExpireUnit] = (),
    *,
    now: datetime,
    acknowledged: Sequence[Acknowledgement] = (),
) -> Decision:
    """Decide which copies go. Pure. Raise PlanRefused if nothing may be decided."""
    proven = config.objectives.proven
    given_up, selectors = remains(catalog, request.backups, now=now)
    if request.backups and not selectors:
        return Decision(given_up, ())
    named = {select(s, catalog, proven=proven, now=now).key.backup_id for s in selectors}
    plan = plan_expire(
        catalog, policies(config), proven=proven, holds=holds, now=now, named=named,
        acknowledged=acknowledged,
    )  # fmt: skip
    if plan.refused is not None:
        raise PlanRefused(
            f"nothing is deleted: {plan.refused}",
            "repair what `qdrant-dr check` names, then run it again.",
        )
    chosen = selected_names(request.collections, catalog.collections, what="backed up collection")
    places = selected_repositories(config, request.repositories)

    def asked(at: Expiry | Stay) -> bool:
        ours = at.key.collection in chosen and at.repository in places
        return ours and (not named or at.key.backup_id in named)

    units = [
        ExpireUnit(
            key=e.key,
            repository=e.repository,
            decided_at=now,
            reason=e.reason,
            named=e.key.backup_id in named,
        )
        for e in sorted(plan.goes, key=lambda e: (e.key.backup_id, e.repository))
        if asked(e)
    ]
    return Decision(
        (*(u for u in begun if u.repository in places), *given_up, *units),
        tuple(s for s in plan.stays if asked(s)),
    )


def remains(
    catalog: Catalog, selectors: Sequence[str] | None, *, now: datetime
) -> tuple[tuple[ExpireUnit, ...], tuple[str, ...]]:
    """Return what is left of named backups that have lost their manifest, and the selectors of all
    others. Pure. Raise PlanRefused where no record says which manifest it was."""
    units: list[ExpireUnit] = []
    others: list[str] = []
    for selector in selectors or ():
        lost = next((g for g in catalog.lost if str(g.key) == selector), None)
        if lost is None:
            others.append(selector)
            continue
        if lost.manifest_sha256 is None:
            raise PlanRefused(
                f"{lost.key} cannot be let go: its records do not agree which manifest it had",
                f"look at them with `qdrant-dr show {lost.key}`; nothing was deleted.",
            )
        reason = "its manifest is lost, and somebody named it"
        units += [
            ExpireUnit(
                key=lost.key,
                repository=name,
                reason=reason,
                decided_at=now,
                named=True,
                finish=True,
            )
            for name in lost.repositories
        ]
    return tuple(units), tuple(others)


def begun_deletions(
    catalog: Catalog, repositories: Mapping[str, Repository], *, now: datetime
) -> tuple[ExpireUnit, ...]:
    """Return copies whose deletion was begun: files without a manifest, and a record of why."""
    return tuple(
        ExpireUnit(
            key=key_of(record),
            repository=left.repository,
            decided_at=now,
            finish=True,
            reason="its deletion was begun before and not finished",
        )
        for left in catalog.unfinished
        if left.expired and not left.only_sweeps_remain
        for record in read_expired(repositories[left.repository], left.folder).records[:1]
    )
