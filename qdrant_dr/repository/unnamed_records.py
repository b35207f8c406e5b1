"""Records that no entry of the ledger names: of a run that crashed, or older than the ledger.

Listings alone tell which records are new; only those are read. The look is made once a day, and
after a crash that this machine knows of.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from qdrant_dr import layout
from qdrant_dr.errors import DRError
from qdrant_dr.records.ledger import LedgerEntry, Since, Written
from qdrant_dr.repository.ledger import read_entries
from qdrant_dr.repository.ledger_head import LedgerHead
from qdrant_dr.repository.lost_backups import LONGEST_RUN
from qdrant_dr.repository.record_files import RecordFiles
from qdrant_dr.stores.base import Stat

LISTED = 1000
"""So many older records are named one by one by the first entry; more by one digest."""
_REACH = timedelta(days=2)
_ENTRIES_AT_ONCE = 64
_READERS = 16


@dataclass(frozen=True, slots=True)
class Unnamed:
    """What such a look found; `since` where the ledger begins."""

    found: tuple[Written, ...] = ()
    since: Since | None = None


def is_due(head: LedgerHead, now: datetime) -> bool:
    """Say whether no entry of today has looked yet."""
    return head.stored_at is None or head.stored_at.date() < now.date()


def find_unnamed(
    repository: RecordFiles,
    cluster: str,
    head: LedgerHead,
    named: Collection[str],
    crashed: Collection[str],
    now: datetime,
) -> Unnamed:
    """Find records that no entry names, apart from those that this run has `named`, and those of
    runs that may be under way: `crashed` are known not to be."""
    if not head.number:
        return _older(repository, named, now)
    since = (head.stored_at or now) - _REACH
    folders = [
        *layout.run_months(since, now),
        *(f"{top}/{layout.checked(cluster)}" for top in
          (layout.BACKUPS, layout.PROOFS, layout.HOLDS, layout.EXPIRED, layout.ACKNOWLEDGED,
           layout.UNDO)),
        layout.KEYS,
    ]  # fmt: skip
    there = [s for s in _records(repository, folders) if s.modified_at >= since]
    known = {*named, *_named_since(repository, head, since)}
    new = [s for s in there if s.path not in known]
    running = _running(new, there, now) - set(crashed)
    return Unnamed(_settled(repository, new, running))


def read_written(repository: RecordFiles, records: Sequence[Stat]) -> list[tuple[Written, bytes]]:
    """Read records and digest them as they are stored; one that cannot be read is left out: whoever
    checks finds it unnamed."""

    def read(there: Stat) -> tuple[Written, bytes] | None:
        try:
            data = repository.store.read(there.path)
        except DRError:
            return None
        digest = hashlib.sha256(data).hexdigest()
        return Written(path=there.path, sha256=digest, size_bytes=len(data)), data

    with ThreadPoolExecutor(_READERS) as pool:
        return [found for found in pool.map(read, records) if found is not None]


def listing_sha256(records: Iterable[Stat]) -> str:
    """Return the digest of a listing: one line `<size>  <path>` for each record, by path."""
    lines = sorted((s.path, s.size_bytes) for s in records)
    text = "".join(f"{size}  {path}\n" for path, size in lines)
    return hashlib.sha256(text.encode()).hexdigest()


def _older(repository: RecordFiles, named: Collection[str], now: datetime) -> Unnamed:
    tops = [t for t in layout.FOLDERS if t not in (layout.PACKS, layout.BUNDLES, layout.EVIDENCE)]
    records = _records(repository, tops)
    there = repository.store.stat(layout.REPOSITORY)
    older = [s for s in [*records, *([there] if there else [])] if s.path not in named]
    few = len(older) <= LISTED
    found = tuple(w for w, _ in read_written(repository, older)) if few else ()
    listing = None if few else listing_sha256(older)
    return Unnamed(found, Since(at=now, records_count=len(older), listing_sha256=listing))


def _records(repository: RecordFiles, folders: Sequence[str]) -> list[Stat]:
    return [s for f in folders for s in repository.store.find(f) if layout.in_ledger(s.path)]


def _named_since(repository: RecordFiles, head: LedgerHead, since: datetime) -> set[str]:
    """The paths that entries of the period name; entries are read back to the first before it."""
    read: list[LedgerEntry] = []
    top = head.number
    while top > 0 and not any(_is_older(e, since) for e in read[-_ENTRIES_AT_ONCE:]):
        read += read_entries(repository, range(top, max(0, top - _ENTRIES_AT_ONCE), -1))
        top -= _ENTRIES_AT_ONCE
    found: set[str] = set()
    for entry in reversed(read):  # oldest first: what was removed may be there anew
        found -= {*entry.removed}
        found |= {w.path for w in (*entry.records, *entry.found)}
    return found


def _is_older(entry: LedgerEntry, since: datetime) -> bool:
    return (entry.previous_stored_at or entry.at) < since - _REACH


def _running(new: Sequence[Stat], there: Sequence[Stat], now: datetime) -> set[str]:
    """Runs that began and have no end, as long as there may still be one."""
    paths = {s.path for s in there}
    return {
        run_id
        for s in new
        if s.path.endswith(".start.json")
        and s.path.replace(".start.json", ".end.json") not in paths
        and now - s.modified_at < LONGEST_RUN
        and (run_id := layout.stem(s.path).removesuffix(".start"))
    }


def _settled(
    repository: RecordFiles, new: Sequence[Stat], running: Collection[str]
) -> tuple[Written, ...]:
    """Of new records those that no run under way will name itself."""
    read = read_written(repository, new)
    theirs = {w.path for w, data in read if _run_of(w.path, data) in running}
    folders = {f for path in theirs if (f := _backup_folder(path)) is not None}
    return tuple(
        w for w, _ in read if w.path not in theirs and _backup_folder(w.path) not in folders
    )


def _run_of(path: str, data: bytes) -> str | None:
    if path.startswith(f"{layout.RUNS}/"):
        return layout.stem(path).partition(".")[0]
    try:
        found = json.loads(data).get("run_id")
    except (ValueError, AttributeError):
        return None
    return found if isinstance(found, str) else None


def _backup_folder(path: str) -> str | None:
    taken = layout.read_backup_path(path) if path.startswith(f"{layout.BACKUPS}/") else None
    return taken.folder if taken else None
