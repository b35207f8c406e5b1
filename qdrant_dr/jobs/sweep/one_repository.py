"""One repository while it is swept: packs that nothing needs, then what dead runs left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from qdrant_dr.config import Config
from qdrant_dr.errors import CatalogIncomplete, DRError
from qdrant_dr.jobs.run.holds import holds_of
from qdrant_dr.repository import (
    Catalog,
    PackPlan,
    Repository,
    active_holds,
    lapsed_bundles,
    plan_packs,
    plan_sweep,
    sweep_packs,
)
from qdrant_dr.repository import sweep as sweep_repository
from qdrant_dr.repository.undo_records import LapsedUndos, lapsed_undos


@dataclass(frozen=True, slots=True)
class RepositorySweep:
    """What was removed. `kept` is for a person to judge, `remarks` only to know."""

    removed: tuple[str, ...]
    kept: tuple[str, ...]
    remarks: tuple[str, ...]
    freed_bytes: int
    hidden_bytes: int


def sweep_one(
    config: Config,
    repository: Repository,
    opened: Mapping[str, Repository],
    catalog: Catalog,
    now: datetime,
) -> RepositorySweep:
    """Plan and carry out; `now` is older than the catalog, which is younger than every list."""
    if (why := repository.only_read) is not None:
        return RepositorySweep((), (f"nothing is swept: {why.message}; {why.hint}",), (), 0, 0)
    plan = plan_sweep(catalog, repository.name, store_now=now)
    unlisted: tuple[str, ...] = ()
    undos = LapsedUndos()
    if plan.refused is None:
        try:
            plan = replace(plan, bundles=lapsed_bundles(repository, store_now=now))
            undos = lapsed_undos(repository, config.cluster.name, store_now=now)
            plan = replace(plan, undos=undos.files)
        except DRError as e:  # a key may list what it knows alone; these only take room
            unlisted = (f"bundles and undo records were not looked at: {e.message}",)
    packs = _plan_packs(config, repository, opened, catalog, now)
    freed = sweep_packs(repository, packs)
    swept = sweep_repository(repository, plan)
    # what is young is nobody's concern; what cannot be judged must not be hidden
    return RepositorySweep(
        removed=(*freed.removed, *swept.removed),
        kept=(*((plan.refused,) if plan.refused else ()), *packs.unjudged),
        remarks=(*unlisted, *undos.said, *freed.remarks, *swept.refused),
        freed_bytes=freed.freed_bytes,
        hidden_bytes=freed.hidden_bytes,
    )


def _plan_packs(
    config: Config,
    repository: Repository,
    opened: Mapping[str, Repository],
    catalog: Catalog,
    now: datetime,
) -> PackPlan:
    if repository.record.layout != "chunked":
        return PackPlan()
    try:
        holds = holds_of(list(opened.values()), config.cluster.name)
    except CatalogIncomplete as e:
        return PackPlan(unjudged=(f"no pack goes: {e.message}",))
    held = {h.backup_id for h in active_holds(holds, now=now)}
    return plan_packs(repository, catalog, store_now=now, held=held)
