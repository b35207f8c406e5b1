"""Packs: many small records in one object, so that a first look at a bucket needs few requests.

A pack is a cache in the bucket and no evidence. It lies apart from the records (`packs/`), of one
folder that looks list. Its records are taken only by what the store lists of each record at that
moment: the same mark, and the size and MD5 of the bytes themselves, whatever the pack says of them.
So what was replaced or deleted is not in it any more, and a store whose marks are no MD5 (encrypted
with a key of its own, uploaded in parts) has no packs. Two records with one MD5, made on purpose by
somebody who may write to the bucket, are not told apart here: who may write records needs no pack.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

from pydantic import ValidationError

from qdrant_dr.records.base import Frozen
from qdrant_dr.stores.base import Stat

DAYS = 30
"""After so long every record is read itself again: what a store lost behind an unchanged mark is
seen then. A pack says when each was read, and is of no use afterwards."""
FULL = 4 * 2**20
"""Bytes at which a pack is closed; one that is less than half full is merged with others."""
LARGEST_PACK = 2 * FULL
LARGEST_PACKED = 2**20
"""A larger record is read by itself."""
BATCH = 16
"""So many records that no pack has make a new one; fewer are read one by one."""
SMALL_PACKS = 8
"""So many packs that are less than half full become one."""


class Entry(Frozen):
    """One record of a pack: its size, its mark when it was listed, and when it was read (seconds
    since 1970)."""

    path: str
    size_bytes: int
    mark: str
    read_at: int


class _Index(Frozen):
    """The first line of a pack."""

    kind: Literal["record-pack"] = "record-pack"
    format: Literal[1] = 1
    records: tuple[Entry, ...]


def encode(records: Sequence[tuple[Entry, bytes]]) -> bytes:
    """Build a pack: an index in one line, then the bytes of the records in the same order."""
    index = _Index(records=tuple(entry for entry, _ in records)).model_dump_json()
    return b"\n".join([index.encode(), b"".join(data for _, data in records)])


def decode(pack: bytes) -> Iterator[tuple[Entry, bytes]]:
    """Yield the records of a pack. Raise ValueError if it is none, or is cut."""
    at = pack.find(b"\n") + 1
    try:
        entries = _Index.model_validate_json(pack[:at]).records
    except ValidationError as e:
        raise ValueError(f"no index of records ({e.error_count()} errors)") from None
    if any(e.size_bytes < 0 for e in entries) or sum(e.size_bytes for e in entries) != (
        len(pack) - at
    ):
        raise ValueError(f"{len(pack) - at} bytes are not those of its {len(entries)} records")
    for entry in entries:
        yield entry, pack[at : at + entry.size_bytes]
        at += entry.size_bytes


def is_current(entry: Entry, data: bytes, there: Stat, now: float) -> bool:
    """Say whether these are the bytes of the record as the store lists it now, read lately."""
    return (
        entry.mark == there.mark
        and len(data) == there.size_bytes
        and md5_of(data) == there.md5
        and now - DAYS * 86400 <= entry.read_at <= now + 300
    )


def is_small(there: Stat) -> bool:
    """Say whether the store lists this object so that a pack may have it."""
    return bool(there.mark and there.md5) and there.size_bytes <= LARGEST_PACKED


def md5_of(data: bytes) -> str:
    """Return what stores give as the mark of an object."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def worth_reading(
    packs: Iterable[Stat], missing: Collection[Stat], now: datetime, known: Collection[str] = ()
) -> list[Stat]:
    """Choose the packs that may hold what is missing, newest first: no older one than a record, and
    not many more bytes than are wanted. `known` were read before."""
    if not missing:
        return []
    since = min(s.modified_at for s in missing)
    left = 2 * sum(s.size_bytes for s in missing) + LARGEST_PACK
    chosen: list[Stat] = []
    for pack in sorted(packs, key=lambda s: (s.modified_at, s.path), reverse=True):
        if pack.modified_at < since or is_lapsed(pack, now):
            break
        if pack.path in known or pack.size_bytes > min(LARGEST_PACK, left):
            continue
        left -= pack.size_bytes
        chosen.append(pack)
    return chosen


def is_lapsed(pack: Stat, now: datetime) -> bool:
    """Say whether whatever it holds was read too long ago."""
    return pack.modified_at < now - timedelta(days=DAYS)


def to_merge(listed: Mapping[str, Stat], packed: Mapping[str, str]) -> frozenset[str]:
    """Choose packs that hold little, once they are many; `packed` is the pack of each record that
    is listed."""
    held: dict[str, int] = {}
    for path, pack in packed.items():
        held[pack] = held.get(pack, 0) + listed[path].size_bytes
    small = frozenset(pack for pack, size in held.items() if size < FULL // 2)
    return small if len(small) >= SMALL_PACKS else frozenset()


def in_packs(records: Iterable[Stat]) -> Iterator[list[Stat]]:
    """Cut records into packs."""
    pack: list[Stat] = []
    total = 0
    for record in records:
        pack.append(record)
        total += record.size_bytes
        if total >= FULL:
            yield pack
            pack, total = [], 0
    if pack:
        yield pack
