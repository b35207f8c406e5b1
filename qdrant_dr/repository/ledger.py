"""The ledger in a repository: find its end, append an entry, read entries.

Numbers are dense and names are created only once, so that two writers never both get a number: who
loses reads the other's entry and builds its own anew on that one.
"""

from __future__ import annotations

import hashlib
import random
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from qdrant_dr import layout
from qdrant_dr.errors import (
    Conflict,
    DRError,
    EvidenceError,
    LedgerBehind,
    LedgerBroken,
    ObjectMissing,
    RecordError,
)
from qdrant_dr.records.ledger import LedgerEntry
from qdrant_dr.repository.ledger_head import LedgerHead
from qdrant_dr.repository.ledger_memory import KnownHead
from qdrant_dr.repository.record_files import RecordFiles
from qdrant_dr.signing import sshsig
from qdrant_dr.signing.allowed_signers import LEDGER
from qdrant_dr.signing.ssh_keys import Signer
from qdrant_dr.stores.base import Stat

_TRIES = 60
"""How often an entry is built anew: eight racing writers need four tries at most."""
_JITTER = 0.05  # seconds
_LOST = 3  # answers
_READERS = 16
_FOLDER = re.compile(r"\d{7}")


def read_head(repository: RecordFiles, known: KnownHead | None = None) -> LedgerHead:
    """Find the newest entry, by uncached listings: two, or one if it is `known` where to look.

    An end before what is known, or other bytes there, are doubts: the ledger goes on from what is
    known, so that what was cut stays a gap. Raise what the store raises.
    """
    entries, signed = _list_end(repository, known)
    top = max(entries, default=0)
    if known is not None and top < known.number:
        doubt = _behind(known, top, repository)
        size = known.size_bytes
        return LedgerHead(known.number, known.sha256, size_bytes=size, doubts=(doubt,))
    if not top:
        return LedgerHead()
    doubts: list[EvidenceError] = []
    if known is not None and (old := entries.get(known.number)) and not known.is_at(old):
        digest = hashlib.sha256(repository.store.read(old.path)).hexdigest()
        if digest != known.sha256:
            doubts.append(_replaced(repository, known.number))
    there = entries[top]
    if known is not None and known.number == top and not doubts:
        head = _head_of(top, known.sha256, there)
    else:
        head, wrong = _read_entry_as_head(repository, top, there)
        doubts += wrong
    unsigned = next((i for i, n in enumerate(sorted(entries, reverse=True)) if n in signed),
                    len(entries))  # fmt: skip
    first = max(1, min(entries) // layout.ENTRIES_PER_FOLDER * layout.ENTRIES_PER_FOLDER)
    missing = tuple(n for n in range(first, top) if n not in entries)
    return replace(head, unsigned=unsigned, missing=missing, doubts=tuple(doubts))


def append_entry(
    repository: RecordFiles,
    head: LedgerHead,
    entry_after: Callable[[LedgerHead], LedgerEntry],
    signer: Signer | None,
) -> tuple[LedgerEntry, LedgerHead]:
    """Write the entry that `entry_after` builds on a head, signed by the key that it names.

    Where another writer was faster, theirs is read and followed. Return it with the new head, whose
    doubts are those of what it follows. Raise LedgerBroken if the end cannot be reached.
    """
    for _ in range(_TRIES):
        entry = entry_after(head)
        data = entry.to_bytes()
        path = layout.ledger_entry(entry.number)
        try:
            _create(repository, path, data)
        except Conflict:
            time.sleep(random.uniform(0, _JITTER))
            head = _follow(repository, head)
            continue
        unsigned = head.unsigned + 1
        if signer is not None:
            _create(repository, path + layout.SIGNATURE, sshsig.sign(data, signer, LEDGER))
            unsigned = 0
        return entry, LedgerHead(
            entry.number,
            entry.sha256,
            size_bytes=len(data),
            md5=hashlib.md5(data, usedforsecurity=False).hexdigest(),
            unsigned=unsigned,
            doubts=head.doubts,
        )
    raise LedgerBroken(
        f"repository {repository.name}: {_TRIES} times another writer took the number of the next "
        "entry of the ledger",
        "find out who else writes there; the next run names what this one wrote.",
    )


def read_entry(repository: RecordFiles, number: int) -> LedgerEntry:
    """Read one entry. Raise ObjectMissing, or RecordError for one that cannot be believed."""
    path = layout.ledger_entry(number)
    return _parsed(repository, number, repository.store.read(path))


def read_entries(repository: RecordFiles, numbers: Iterable[int]) -> list[LedgerEntry]:
    """Read those of these entries that are there and can be believed."""

    def read(number: int) -> LedgerEntry | None:
        try:
            return read_entry(repository, number)
        except (ObjectMissing, RecordError):
            return None

    with ThreadPoolExecutor(_READERS) as pool:
        return [e for e in pool.map(read, numbers) if e is not None]


def _list_end(repository: RecordFiles, known: KnownHead | None) -> tuple[dict[int, Stat], set[int]]:
    """The entries in the last folder by number, and which of them are signed."""
    if known is None:
        folders = [f for f in repository.store.folders(layout.EVIDENCE) if _FOLDER.fullmatch(f)]
        at = int(max(folders, default="0"))
        return _list_folder(repository, at) if folders else ({}, set())
    at = known.number // layout.ENTRIES_PER_FOLDER
    entries, signed = _list_folder(repository, at)
    while max(entries, default=0) % layout.ENTRIES_PER_FOLDER == layout.ENTRIES_PER_FOLDER - 1:
        at += 1
        more, also = _list_folder(repository, at)
        if not more:
            break
        entries, signed = entries | more, signed | also
    return entries, signed


def _list_folder(repository: RecordFiles, at: int) -> tuple[dict[int, Stat], set[int]]:
    found = repository.store.find(layout.ledger_folder(at * layout.ENTRIES_PER_FOLDER))
    entries = {n: s for s in found if (n := layout.entry_number(s.path)) is not None}
    signatures = {s.path for s in found if s.path.endswith(layout.SIGNATURE)}
    return entries, {n for n, s in entries.items() if s.path + layout.SIGNATURE in signatures}


def _head_of(number: int, sha256: str, there: Stat) -> LedgerHead:
    return LedgerHead(
        number, sha256, there.modified_at, there.size_bytes, there.md5, there.mark
    )  # fmt: skip


def _read_entry_as_head(
    repository: RecordFiles, number: int, there: Stat
) -> tuple[LedgerHead, list[EvidenceError]]:
    """An entry as it lies there, whatever it is: its bytes are what the next one follows."""
    data = repository.store.read(there.path)
    head = _head_of(number, hashlib.sha256(data).hexdigest(), there)
    try:
        entry = _parsed(repository, number, data)
    except RecordError as e:
        return head, [LedgerBroken(e.message)]
    if entry.repository_id == repository.id:
        return head, []
    if entry.repository_id in repository.record.adopted_from:
        return replace(head, adopted_from=entry.repository_id), []
    return head, [LedgerBroken(
        f"repository {repository.name}: entry {number} of its ledger is that of repository "
        f"{entry.repository_id}"
    )]  # fmt: skip


def _parsed(repository: RecordFiles, number: int, data: bytes) -> LedgerEntry:
    where = f"{repository.name}/{layout.ledger_entry(number)}"
    entry = LedgerEntry.from_bytes(data, where=where)
    if entry.number != number:
        raise RecordError(f"{where} is entry {entry.number}: misplaced")
    return entry


def _follow(repository: RecordFiles, head: LedgerHead) -> LedgerHead:
    """The entries that other writers made meanwhile, checked one by one."""
    entries, signed = _list_end(repository, KnownHead(head.number, head.sha256))
    for number in range(head.number + 1, max(entries, default=0) + 1):
        if number not in entries:
            continue  # the next one does not follow, then
        before, doubts = head, list(head.doubts)
        head, wrong = _read_entry_as_head(repository, number, entries[number])
        if not wrong and read_entry(repository, number).previous != before.sha256:
            wrong = [_follows_other(repository, number, before.number)]
        unsigned = 0 if number in signed else before.unsigned + 1
        head = replace(head, unsigned=unsigned, doubts=(*doubts, *wrong))
    return head


def _create(repository: RecordFiles, path: str, data: bytes) -> None:
    """Create, and find out after a lost answer whether it was created."""
    for attempt in range(_LOST):
        try:
            repository.store.create(path, data)
        except Conflict:
            raise
        except DRError as e:
            if not e.transient or attempt == _LOST - 1:
                raise
            time.sleep(random.uniform(0, _JITTER) * (attempt + 1))
        else:
            return


def _behind(known: KnownHead, top: int, repository: RecordFiles) -> LedgerBehind:
    where = f"ends with entry {top}" if top else "has no entries"
    return LedgerBehind(
        f"repository {repository.name}: its ledger {where}, and this machine has seen entry "
        f"{known.number}"
    )


def _follows_other(repository: RecordFiles, number: int, before: int) -> LedgerBroken:
    return LedgerBroken(
        f"repository {repository.name}: entry {number} of its ledger does not follow entry "
        f"{before} as it was there a moment ago"
    )


def _replaced(repository: RecordFiles, number: int) -> LedgerBroken:
    return LedgerBroken(
        f"repository {repository.name}: entry {number} of its ledger is not the one that this "
        "machine has seen: it was replaced"
    )
