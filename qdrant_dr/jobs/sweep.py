"""What killed runs left: our snapshots on a node, and unfinished backups in a repository."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from qdrant_dr.cluster import (
    INSTANCE,
    Node,
    Shelf,
    collection_names,
    delete_command,
    delete_own_snapshot,
    list_snapshots,
    listed_as,
)
from qdrant_dr.config import Config
from qdrant_dr.errors import CollectionVanished, RepositoryUnreachable
from qdrant_dr.jobs.capture_sources import node_of
from qdrant_dr.jobs.catalogs import catalog_of, open_all
from qdrant_dr.jobs.run import utc_now
from qdrant_dr.jobs.scratch import abandoned, dead_folders, empty_scratch, remove_scratch
from qdrant_dr.jobs.units import SweepUnit
from qdrant_dr.records import Intent, ListedSnapshot, Outcome, SnapshotAnswer, Swept
from qdrant_dr.repository import (
    ORPHAN_GRACE,
    Catalog,
    Repository,
    Stat,
    plan_sweep,
    time_of,
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
        detail=Swept(node=unit.node, removed=removed, kept=kept),
    )


@dataclass(frozen=True, slots=True)
class Begun:
    """A create call whose intent was written: what was answered to it, and how many copies of its
    backup were committed."""

    intent: Intent
    answer: SnapshotAnswer | None
    committed: int

    @property
    def shelf(self) -> Shelf:
        """Where on the node its snapshot lies."""
        if self.intent.listed_full is not None:
            return INSTANCE
        return Shelf(self.intent.collection, self.intent.shard)

    @property
    def listed_before(self) -> tuple[ListedSnapshot, ...]:
        """What lay on that shelf before the call."""
        full = self.intent.listed_full
        return self.intent.listed_before if full is None else full


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
    spool = config.capture.spool.path
    every, kept = begun_calls(opened, catalog, now)
    with node_of(config, url) as node:
        there = set(collection_names(node))
        for begun in every:
            intent = begun.intent
            if intent.node != url or intent.run_id == run_id or intent.streamed:
                continue
            dead = is_dead(intent, ended, spool, now)
            if dead and (begun.shelf == INSTANCE or intent.collection in there):
                gone, left = clean(node, begun, quorum=config.copies.quorum)
                removed += gone
                kept += left
    _forget_dead(spool, url, every, now)
    return tuple(removed), tuple(kept)


def is_dead(intent: Intent, ended: Container[str], spool: str, now: datetime) -> bool:
    """Whether the capture that meant this is over: its run ended, its process on this machine is
    gone, or it began too long ago."""
    return (
        intent.run_id in ended
        or abandoned(spool, scratch_of(intent.backup_id))
        or now - intent.started_at > ORPHAN_GRACE / 2
    )


def scratch_of(backup_id: str) -> str:
    """Name of the scratch folder of a capture."""
    return f"capture-{backup_id}"


def _forget_dead(spool: str, url: str, every: Sequence[Begun], now: datetime) -> None:
    """Remove scratch folders of dead captures. One of several nodes is emptied only, for a day: the
    sweeps of the other nodes must still see that its owner is dead; then its age tells them."""
    nodes: dict[str, set[str]] = {}
    for begun in every:
        nodes.setdefault(scratch_of(begun.intent.backup_id), set()).add(begun.intent.node)
    for name in dead_folders(spool, "capture"):
        try:
            begun_at = time_of(name.removeprefix("capture-"))
        except ValueError:
            continue  # nothing that a capture of ours has made
        if nodes.get(name, set()) <= {url} or now - begun_at > ORPHAN_GRACE / 2:
            remove_scratch(spool, name)
        else:
            empty_scratch(spool, name)


def clean(node: Node, begun: Begun, *, quorum: int) -> tuple[list[str], list[str]]:
    """Delete the snapshot of a dead capture's call from its node; what was deleted, what was kept
    and why. An unanswered call deletes nothing: what it may have made is named."""
    intent, shelf, answer = begun.intent, begun.shelf, begun.answer
    where = f"{shelf} on {node.url}"
    removed: list[str] = []
    kept: list[str] = []
    if answer is None:
        kept += _unclaimed(node, begun, shelf)
    elif listed_as(list_snapshots_of(node, shelf), name := answer.snapshot.name) is not None:
        if 0 < begun.committed < quorum:
            kept.append(f"{name} of {where}: only {begun.committed} of {quorum} copies hold it")
        else:
            result = delete_own_snapshot(node, shelf, answer.snapshot, begun.listed_before)
            (removed if result == "deleted" else kept).append(
                f"{name} of {where}" if result == "deleted" else result
            )
    if shelf == INSTANCE and not (answer and answer.snapshot.checksum):
        # a full snapshot leaves those of its collections where it fails, and always in S3 mode
        kept += _unclaimed(node, begun, Shelf(intent.collection))
    return removed, kept


def _unclaimed(node: Node, begun: Begun, shelf: Shelf) -> list[str]:
    """What `unclaimed` names, in words and with the command."""
    return [
        f"{name} of {shelf} on {node.url} may be of run {begun.intent.run_id}, which did not end "
        f"well; delete it if nobody else made it: {delete_command(node.url, shelf, name)}"
        for name in unclaimed(node, begun, shelf)
    ]


def unclaimed(node: Node, begun: Begun, shelf: Shelf) -> list[str]:
    """Files that a create call may have left here; whose they are only a person can tell."""
    intent = begun.intent
    listed_before = begun.listed_before if shelf == begun.shelf else intent.listed_before
    before = {s.name for s in listed_before}
    listed = list_snapshots_of(node, shelf)
    return sorted(s.name for s in listed if s.name not in before and shelf.may_hold(s.name))


def list_snapshots_of(node: Node, shelf: Shelf) -> tuple[ListedSnapshot, ...]:
    """None of a collection that is gone: the server shows them to nobody."""
    try:
        return list_snapshots(node, shelf)
    except CollectionVanished:
        return ()


def begun_calls(
    opened: Mapping[str, Repository], catalog: Catalog, now: datetime
) -> tuple[list[Begun], list[str]]:
    """Create calls that may have left a file on a node, each once, and what could not be read."""
    found: dict[tuple[str, int], Begun] = {}
    kept: list[str] = []

    def read(repository: Repository, files: Sequence[Stat], committed: int) -> None:
        calls, unreadable = repository.read_calls(files)
        kept.extend(f"{u.repository}/{u.path}: {u.error.message}" for u in unreadable)
        for number, intent, answer in calls:
            at = intent.backup_id, number
            known = found.get(at)
            found[at] = Begun(intent, answer or (known.answer if known else None), committed)

    for unfinished in catalog.unfinished:
        if unfinished.repository in opened:
            read(opened[unfinished.repository], unfinished.files, 0)
    begun = {backup_id for backup_id, _ in found}
    for backup in catalog.backups:
        holders = [c.repository for c in backup.copies if c.committed and c.repository in opened]
        recent = now - backup.manifest.captured_at <= ORPHAN_GRACE
        if holders and (
            recent or backup.manifest.backup_id in begun
        ):  # else looked at often enough
            repository, key = opened[holders[0]], backup.key
            files = repository.find_backups(key.cluster, key.collection, key.backup_id)
            read(repository, files, len(holders))
    return _of_one_call(found.values()), kept


def _of_one_call(every: Iterable[Begun]) -> list[Begun]:
    """A full snapshot is of several backups: it counts as safe as the least safe of them."""
    calls: dict[str, list[int]] = {}
    for begun in every:
        if begun.shelf == INSTANCE and begun.committed:
            calls.setdefault(begun.intent.run_id, []).append(begun.committed)
    return [
        replace(b, committed=min(calls[b.intent.run_id]))
        if b.shelf == INSTANCE and b.intent.run_id in calls
        else b
        for b in every
    ]


def _ended_runs(repositories: Iterable[Repository], now: datetime) -> set[str]:
    """Runs that wrote an end: what they began and did not finish is dead."""
    ended: set[str] = set()
    for repository in repositories:
        _, ends = repository.read_runs(now - 2 * ORPHAN_GRACE, now)
        ended |= {e.start.run_id for e in ends.records}
    return ended
