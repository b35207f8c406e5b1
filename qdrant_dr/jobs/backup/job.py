"""`backup`: capture every included collection, prove the new copies, sweep what died before."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from qdrant_dr.cluster import take_inventory
from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, NothingSelected
from qdrant_dr.jobs.backup.full_snapshot import flatten, plan_full
from qdrant_dr.jobs.run.clocks import clocks_of, node_clocks
from qdrant_dr.jobs.run.run import Run, utc_now
from qdrant_dr.jobs.run.scope import selected_names, selected_repositories
from qdrant_dr.jobs.run.units import CaptureUnit, FullUnit, Perform, SweepUnit, VerifyUnit
from qdrant_dr.records import (
    BackupKey,
    Captured,
    Depth,
    Outcome,
    ProvableDepth,
    RunEnd,
    SeenCollection,
)
from qdrant_dr.records.base import Frozen
from qdrant_dr.records.manifest import Method
from qdrant_dr.records.proof import reaches
from qdrant_dr.repository import Catalog, enough_copies, newest_proven
from qdrant_dr.repository.catalog import by_collection


class BackupRequest(Frozen):
    """What this run is asked for; None = as configured."""

    collections: tuple[str, ...] | None = None
    repositories: tuple[str, ...] | None = None
    method: Literal["auto"] | Method | None = None
    prove: ProvableDepth | None = None
    min_age_minutes: int | None = Field(None, ge=0)
    note: str = ""
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """The units, and every collection of the cluster with what was decided of it, and why."""

    captures: Sequence[CaptureUnit | FullUnit]
    seen: tuple[SeenCollection, ...]


def plan_backup(
    config: Config,
    request: BackupRequest,
    *,
    on_cluster: Collection[str],
    nodes: tuple[str, ...],
    proven_at: Mapping[str, datetime],
    now: datetime,
) -> BackupPlan:
    """Decide which collections to capture.

    `on_cluster`: names of the collections; `nodes`: URLs of all nodes that answer. `proven_at`:
    when the newest proven backup of a collection was captured. Raise NothingSelected for a name
    that matches nothing, or nothing at all: a backup of nothing is not a success.
    """
    rules = config.collections
    wanted = selected_names(request.collections, on_cluster, what="collection on the cluster")
    targets = selected_repositories(config, request.repositories)
    method, reason = _method(config, request)
    captures: list[CaptureUnit] = []
    seen: list[SeenCollection] = []
    for name in sorted({*on_cluster, *rules.expect}):
        status, rule, why = _decide(config, name, on_cluster, wanted)
        if status == "included" and _recent(proven_at.get(name), request, now):
            status, why = "not-selected", f"proven backup under {request.min_age_minutes} min old"
        if status == "included":
            captures.append(
                CaptureUnit(
                    collection=name,
                    nodes=nodes,
                    repositories=targets,
                    method=method,
                    method_reason=reason,
                    note=request.note,
                )
            )
        override = rules.override(name)
        seen.append(
            SeenCollection(
                collection=name,
                status=status,
                rule=rule,
                reason=why,
                owner=override.owner,
                criticality=override.criticality,
            )
        )
    excluded = [s.collection for s in seen if s.status == "excluded" and s.collection in wanted]
    if request.collections is not None and excluded:
        raise NothingSelected(
            f"{', '.join(excluded)} is excluded by the configuration",
            "take the rule out of `collections.exclude` first.",
        )
    return BackupPlan(plan_full(config, captures) if method == "full" else captures, tuple(seen))


Status = Literal["included", "excluded", "not-selected", "missing"]


def _decide(
    config: Config, name: str, on_cluster: Collection[str], wanted: frozenset[str]
) -> tuple[Status, str, str | None]:
    """Status, the rule it comes from, and the reason where somebody gave one."""
    if name not in on_cluster:
        return "missing", "collections.expect", "expected, and not on the cluster"
    decision = config.collections.decide(name)
    if decision.status == "included" and name not in wanted:
        return "not-selected", decision.rule, "this run was asked for others"
    return decision.status, decision.rule, decision.reason


def _method(config: Config, request: BackupRequest) -> tuple[Method, str]:
    """Collection archives, of one node or of several: the WAL is in them, so they are exact even
    while the optimizer works."""
    asked = request.method or config.capture.method
    if asked == "auto":
        return "collection", "auto: only this method keeps the WAL"
    return asked, "asked for"


def _recent(proven_at: datetime | None, request: BackupRequest, now: datetime) -> bool:
    if proven_at is None or not request.min_age_minutes:
        return False
    return now - proven_at < timedelta(minutes=request.min_age_minutes)


def _proven_at(config: Config, catalog: Catalog, now: datetime) -> dict[str, datetime]:
    """When the newest proven backup with enough copies was captured, of each collection."""
    proven = config.objectives.proven
    safe = [
        b
        for b in catalog.backups
        if b.witness == "named" and enough_copies(b, config.copies, now=now)
    ]
    found = {
        name: newest_proven(of_it, depth=proven.depth, max_age=proven.max_age, now=now)
        for name, of_it in by_collection(safe).items()
    }
    return {name: b.manifest.captured_at for name, b in found.items() if b is not None}


def plan_first_proofs(
    config: Config, captured: Sequence[Outcome], depth: Depth
) -> tuple[VerifyUnit, ...]:
    """Plan to prove one copy of each new backup to `depth`, the others to `bytes`; the deep one
    comes first."""
    deep: list[VerifyUnit] = []
    wide: list[VerifyUnit] = []
    for outcome in captured:
        if not isinstance(outcome.detail, Captured) or outcome.backup_id is None:
            continue
        key = BackupKey(
            cluster=config.cluster.name,
            collection=outcome.collection,
            backup_id=outcome.backup_id,
        )
        order = [r.name for r in config.repositories if r.name in outcome.detail.committed]
        for place, name in enumerate(order):
            unit = VerifyUnit(
                key=key, repository=name, depth="bytes" if place else depth, made_by="backup"
            )
            (wide if place else deep).append(unit)
    return (*deep, *wide)


def backup(config: Config, request: BackupRequest, run: Run, perform: Perform) -> RunEnd:
    """Capture, prove, sweep, conclude. The end record is written whatever happens."""
    outcomes: list[Outcome] = []
    seen: tuple[SeenCollection, ...] = ()
    try:
        inventory = take_inventory(config.cluster, names_only=True)
        run.source_kind = inventory.source_kind
        now = utc_now()
        # what can be written to is written to, whatever of it could not be read
        catalog = run.read_catalog(config, blind=bool(run.repositories) and not request.dry_run)
        plan = plan_backup(
            config,
            request,
            on_cluster=inventory.names,
            nodes=tuple(n.url for n in inventory.nodes),
            proven_at=_proven_at(config, catalog, now),
            now=now,
        )
        seen = plan.seen
        if request.dry_run:
            return run.preview(config, plan.captures, seen=seen)
        clocks = clocks_of(config, run, node_clocks(inventory.nodes))
        if clocks.apart is None:
            sweeps = [SweepUnit(node=n.url, now=clocks.earliest) for n in inventory.nodes]
            outcomes += perform(sweeps)
        captured = flatten(perform(plan.captures))
        outcomes += captured
        depth = request.prove or config.objectives.proven.depth
        outcomes += perform(plan_first_proofs(config, captured, depth))
        if clocks.apart is None:
            sweeps = [SweepUnit(repository=n, now=clocks.earliest) for n in run.repositories]
            outcomes += perform(sweeps)
    except DRError as e:
        return run.finish(config, outcomes=outcomes, seen=seen, error=e)
    recent = any(s.status == "not-selected" for s in seen)
    nothing = () if captured or recent else ("no collection was backed up",)
    promised = config.objectives.proven.depth
    shallow = (
        (f"proven to {depth} only, {promised} is promised",) if not reaches(depth, promised) else ()
    )
    away = tuple(map(str, inventory.unreached))
    unswept = (f"nothing was swept: {clocks.apart}",) if clocks.apart else ()
    return run.finish(
        config, outcomes=outcomes, seen=seen, objections=nothing, doubts=(*away, *shallow, *unswept)
    )
