"""What killed runs left: our snapshots on a node, and unfinished backups in a repository."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from qdrant_dr.cluster import (
    Node,
    collection_names,
    delete_command,
    delete_own_snapshot,
    list_snapshots,
)
from qdrant_dr.config import Config
from qdrant_dr.errors import CollectionVanished, RepositoryUnreachable
from qdrant_dr.jobs.capture import node_of
from qdrant_dr.jobs.catalogs import catalog_of, open_all
from qdrant_dr.jobs.run import utc_now
from qdrant_dr.jobs.scratch import abandoned, dead_folders, remove_scratch
from qdrant_dr.jobs.units import SweepUnit
from qdrant_dr.records import BackupKey, Intent, Outcome, SnapshotAnswer, Swept
from qdrant_dr.repository import (
    ORPHAN_GRACE,
    Catalog,
    Repository,
    plan_sweep,
)
from qdrant_dr.repository import sweep as sweep_repository


def sweep(config: Config, unit: SweepUnit, run_id: str) -> Outcome:
    """Sweep one node or one repository. Degraded if something is left that a person must judge."""
    started_at = utc_now()
    opened, failed = open_all(config)
    catalog = catalog_of(config, opened, failed)
    if unit.node is not None:
        removed, kept = _sweep_node(config, unit.node, opened, catalog, run_id, started_at)
    elif unit.repository in opened:
        repository = opened[unit.repository]
        plan = plan_sweep(catalog, repository.name, store_now=repository.clock())
        done = sweep_repository(repository, plan)
        # what is young is nobody's concern; what cannot be judged must not be hidden
        removed, kept = done.removed, (plan.refused,) if plan.refused else ()
    else:
        raise failed.get(
            unit.repository or "", RepositoryUnreachable(f"{unit.label} is not configured")
        )
    return Outcome(
        unit="sweep",
        collection="*",
        repository=unit.repository,
        verdict="degraded" if kept else "ok",
        started_at=started_at,
        ended_at=utc_now(),
        notes=kept,
        detail=Swept(removed=removed, kept=kept),
    )


@dataclass(frozen=True, slots=True)
class Begun:
    """A capture that wrote its intent: what it would do, what was answered, who committed."""

    intent: Intent
    answer: SnapshotAnswer | None
    committed: int

    @property
    def key(self) -> BackupKey:
        return BackupKey(
            cluster=self.intent.cluster,
            collection=self.intent.collection,
            backup_id=self.intent.backup_id,
        )


def _sweep_node(
    config: Config,
    url: str,
    opened: dict[str, Repository],
    catalog: Catalog,
    run_id: str,
    now: datetime,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Delete answered snapshots of dead captures; report what an unanswered call may have made."""
    ended = _ended_runs(opened.values(), now)
    removed: list[str] = []
    kept: list[str] = []
    with node_of(config, url) as node:
        there = set(collection_names(node))
        for begun in _begun(opened.values(), catalog, url, now):
            intent = begun.intent
            if intent.run_id == run_id:
                continue
            scratch = f"capture-{intent.backup_id}"
            dead = (
                intent.run_id in ended
                or abandoned(config.capture.spool.path, scratch)
                or now - intent.started_at > ORPHAN_GRACE / 2
            )
            if not dead:
                continue
            if intent.collection in there:
                gone, left = _clean(node, begun, quorum=config.copies.quorum)
                removed += gone
                kept += left
            remove_scratch(config.capture.spool.path, scratch)
    for scratch in dead_folders(config.capture.spool.path, "capture"):
        # killed before it wrote an intent: it asked no node for anything
        remove_scratch(config.capture.spool.path, scratch)
    return tuple(removed), tuple(kept)


def _clean(node: Node, begun: Begun, *, quorum: int) -> tuple[list[str], list[str]]:
    intent, where = begun.intent, f"{begun.intent.collection} on {node.url}"
    try:
        listed = {s.name: s for s in list_snapshots(node, intent.collection)}
        if begun.answer is not None:
            name = begun.answer.snapshot.name
            if name not in listed:
                return [], []
            if 0 < begun.committed < quorum:
                return [], [f"{name} of {where}: only {begun.committed} of {quorum} copies hold it"]
            result = delete_own_snapshot(
                node, intent.collection, begun.answer.snapshot, intent.listed_before
            )
            return ([f"{name} of {where}"], []) if result == "deleted" else ([], [result])
    except CollectionVanished:
        return [], []
    before = {s.name for s in intent.listed_before}
    new = sorted(set(listed) - before)
    return [], [
        f"{name} of {where} may be of run {intent.run_id}, whose create call was not answered; "
        f"delete it if nobody else made it: {delete_command(node.url, intent.collection, name)}"
        for name in new
    ]


def _begun(
    repositories: Iterable[Repository], catalog: Catalog, url: str, now: datetime
) -> list[Begun]:
    """Captures from this node that may have left a file, each once."""
    found: dict[str, Begun] = {}
    for repository in repositories:
        for unfinished in catalog.unfinished:
            if unfinished.repository != repository.name:
                continue
            by_name = {f.path.rpartition("/")[2]: f.path for f in unfinished.files}
            if "intent.json" not in by_name:
                continue
            for intent in repository.read_records(Intent, [by_name["intent.json"]]).records:
                paths = [by_name["snapshot.json"]] if "snapshot.json" in by_name else []
                answers = repository.read_records(SnapshotAnswer, paths).records
                known = found.get(intent.backup_id)
                answer = answers[0] if answers else known.answer if known else None
                found[intent.backup_id] = Begun(intent, answer, 0)
    opened = {r.name: r for r in repositories}
    for backup in catalog.backups:
        holders = [c.repository for c in backup.copies if c.committed and c.repository in opened]
        if not holders or url not in {p.node for p in backup.manifest.parts}:
            continue
        known = found.get(backup.manifest.backup_id)
        if known is None and now - backup.manifest.captured_at > ORPHAN_GRACE:
            continue  # looked at often enough
        repository = opened[holders[0]]
        if (begun := repository.read_intent(backup.key)) is not None:
            answer = repository.read_answer(backup.key)
            found[begun.backup_id] = Begun(begun, answer, len(holders))
    return [b for b in found.values() if b.intent.node == url]


def _ended_runs(repositories: Iterable[Repository], now: datetime) -> set[str]:
    """Runs that wrote an end: what they began and did not finish is dead."""
    ended: set[str] = set()
    for repository in repositories:
        _, ends = repository.read_runs(now - 2 * ORPHAN_GRACE, now)
        ended |= {e.start.run_id for e in ends.records}
    return ended
