"""Holds and deletions of one repository: written down first, finished by whoever comes next."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from qdrant_dr import layout
from qdrant_dr.errors import ObjectMissing
from qdrant_dr.quantities import how_long
from qdrant_dr.records.holds import Expired, Hold
from qdrant_dr.repository.delete_permission import clean
from qdrant_dr.repository.record_files import Read, key_of
from qdrant_dr.repository.repository import Repository
from qdrant_dr.stores.base import Stat
from qdrant_dr.vault.pack_deletion_rules import ORPHAN_GRACE

_ORDER = {layout.MANIFEST: 0, layout.INTENT: 2}
"""The manifest goes first: from then on the copy does not exist. The intent goes last."""


@dataclass(frozen=True, slots=True)
class Freed:
    """Bytes that a deletion gave back, and those that the store keeps out of sight, and why."""

    freed_bytes: int = 0
    hidden_bytes: int = 0
    notes: tuple[str, ...] = ()
    locked_until: datetime | None = None


def add_hold(repository: Repository, hold: Hold) -> Stat | None:
    """Keep a hold on a backup, or its release; as the store describes it."""
    path = layout.hold(key_of(hold), hold.hold_id)
    repository.create_record(path, hold.to_bytes())
    return repository.store.stat(path)


def read_holds(repository: Repository, cluster: str) -> Read[Hold]:
    """Read every hold and release of a cluster, oldest first. A release that was dated in the
    future when it was written releases nothing; a hold counts whenever it was made."""
    ours, strangers = repository.sort_out(layout.holds(cluster))
    there = {s.path: s for s in ours}
    # a hold counts under any name: a copy that somebody renamed must not let go what is held
    renamed = [s.path for s in strangers if s.path.endswith(".json")]
    read = repository.read_records(Hold, [*there, *renamed])
    holds = [
        h.model_copy(update={"releases": ()})
        if repository.dated_ahead(h.made_at, there.get(layout.hold(key_of(h), h.hold_id)))
        else h
        for h in read.records
    ]
    return Read(tuple(sorted(holds, key=lambda h: h.made_at)), read.unreadable)


def record_expiry(repository: Repository, expired: Expired) -> None:
    """Write down that a copy goes, before any of it does. Once a run: a retry finds it there."""
    path = layout.expired(key_of(expired), expired.run_id)
    if repository.store.stat(path) is None:
        repository.create_record(path, expired.to_bytes())


def withdraw(repository: Repository, folder: str) -> None:
    """Take back that the copy below `backups/<folder>` was to go, as long as it is still there.

    A record that stays beside a living copy would explain its loss away one day. So where it cannot
    be deleted, another one is written that takes it back.
    """
    if repository.store.stat(f"{layout.BACKUPS}/{folder}/{layout.MANIFEST}") is None:
        return
    paths = [s.path for s in repository.find(f"{layout.EXPIRED}/{folder}")]
    read = repository.read_records(Expired, paths)
    # those that take back go last: what they took back must not count again
    last = {layout.expired(key_of(r), r.run_id) for r in read.records if r.withdraws}
    for path in sorted(paths, key=lambda p: p in last):
        if clean(repository, partial(repository.delete, path)) is not None:
            _take_back(repository, read.records)
            return


def _take_back(repository: Repository, records: Sequence[Expired]) -> None:
    for record in standing(records):
        run_id = layout.new_id(record.decided_at)
        other = record.model_copy(update={"run_id": run_id, "withdraws": record.run_id})
        repository.create_record(layout.expired(key_of(record), run_id), other.to_bytes())


def standing(records: Sequence[Expired]) -> tuple[Expired, ...]:
    """Return those records of one copy that say it is to go and were not taken back."""
    over = {r.withdraws for r in records}
    return tuple(r for r in records if r.withdraws is None and r.run_id not in over)


def find_expired(
    repository: Repository,
    cluster: str,
    collection: str | None = None,
    backup_id: str | None = None,
) -> frozenset[str]:
    """Return the folders, below `backups/`, of the copies that were to be removed from here."""
    found = repository.find(layout.all_expired(cluster, collection, backup_id))
    taken = (layout.read_backup_path(s.path) for s in found)
    return frozenset(t.folder for t in taken if t is not None)


def read_expired(repository: Repository, folder: str) -> Read[Expired]:
    """Read why the copy below `backups/<folder>` was to go: one record for each run that tried."""
    paths = [s.path for s in repository.find(f"{layout.EXPIRED}/{folder}")]
    read = repository.read_records(Expired, paths)
    return Read(standing(read.records), read.unreadable)


def delete_copy(repository: Repository, folder: str, *, remember: Collection[int] = ()) -> Freed:
    """Delete the copy below `backups/<folder>`, but for the records of those of its create calls
    that are to be remembered: what they made may still lie on a node.

    Raise ObjectMissing unless `record_expiry` wrote why, and that can be read. What a denied or cut
    deletion leaves is finished by the next call. Recipes stay: runs that saw the copy alive may
    still refer to what it is made of, and a later sweep removes both.
    """
    if not read_expired(repository, folder).records:
        raise ObjectMissing(
            f"repository {repository.name}: nothing says why {folder} should go",
            "only `qdrant-dr expire` deletes backups.",
        )
    files = sorted(
        repository.find(f"{layout.BACKUPS}/{folder}"),
        key=lambda f: (_ORDER.get(f.path.rpartition("/")[2], 1), f.path),
    )
    freed = hidden = left = 0
    notes: set[str] = set()
    locked: list[datetime] = []
    for file in files:
        if (call := layout.call_of(file.path.rpartition("/")[2])) and call[1] in remember:
            continue
        if repository.record.layout == "chunked" and layout.part_file_of(file.path):
            left += 1
            continue
        comes_to = repository.store.deletion(file.path)
        repository.delete(file.path, file.size_bytes)
        if comes_to.locked_until is not None:
            locked.append(comes_to.locked_until)
        if comes_to.hidden is None:
            freed += file.size_bytes
        else:
            hidden += file.size_bytes
            notes.add(comes_to.hidden)
    if left:
        notes.add(
            f"its packs stay for {how_long(ORPHAN_GRACE)}; the sweep of a later run removes those "
            "that nothing else needs"
        )
    return Freed(freed, hidden, tuple(sorted(notes)), max(locked, default=None))
