"""Bundles: many small records in one object, so that a first look at a bucket needs few requests.

A bundle is a cache in the bucket and no evidence. It lies apart from the records (`bundles/`), and
holds some of one folder that looks list. Its records are taken only by what the store lists of each
record at that moment: the same mark, and the size and MD5 of the bytes themselves, whatever the
bundle says of them. So what was replaced or deleted is not in it any more, and a store whose marks
are no MD5 (encrypted with a key of its own, uploaded in parts) has no bundles. Two records with one
MD5, made on purpose by somebody who may write to the bucket, are not told apart here: who may write
records needs no bundle.
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
seen then. A bundle says when each was read, and is of no use afterwards."""
FULL = 4 * 2**20
"""Bytes at which a bundle is closed; one that is less than half full is merged with others."""
LARGEST_BUNDLE = 2 * FULL
LARGEST_BUNDLED = 2**20
"""A larger record is read by itself."""
BATCH = 16
"""So many records that no bundle has make a new one; fewer are read one by one."""
SMALL_BUNDLES = 8
"""So many bundles that are less than half full become one."""


class Entry(Frozen):
    """One record of a bundle: its size, its mark when it was listed, and when it was read (seconds
    since 1970)."""

    path: str
    size_bytes: int
    mark: str
    read_at: int


class _Index(Frozen):
    """The first line of a bundle."""

    kind: Literal["record-bundle"] = "record-bundle"
    format: Literal[1] = 1
    records: tuple[Entry, ...]


def encode(records: Sequence[tuple[Entry, bytes]]) -> bytes:
    """Build a bundle: an index in one line, then the bytes of the records in the same order."""
    index = _Index(records=tuple(entry for entry, _ in records)).model_dump_json()
    return b"\n".join([index.encode(), b"".join(data for _, data in records)])


def decode(bundle: bytes) -> Iterator[tuple[Entry, bytes]]:
    """Yield the records of a bundle. Raise ValueError if it is none, or is cut."""
    at = bundle.find(b"\n") + 1
    try:
        entries = _Index.model_validate_json(bundle[:at]).records
    except ValidationError as e:
        raise ValueError(f"no index of records ({e.error_count()} errors)") from None
    if any(e.size_bytes < 0 for e in entries) or sum(e.size_bytes for e in entries) != (
        len(bundle) - at
    ):
        raise ValueError(f"{len(bundle) - at} bytes are not those of its {len(entries)} records")
    for entry in entries:
        yield entry, bundle[at : at + entry.size_bytes]
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
    """Say whether the store lists this object so that a bundle may have it."""
    return bool(there.mark and there.md5) and there.size_bytes <= LARGEST_BUNDLED


def md5_of(data: bytes) -> str:
    """Return what stores give as the mark of an object."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def worth_reading(
    bundles: Iterable[Stat], missing: Collection[Stat], now: datetime, known: Collection[str] = ()
) -> list[Stat]:
    """Choose the bundles that may hold what is missing, newest first: no older one than a record,
    and not many more bytes than are wanted. `known` were read before."""
    if not missing:
        return []
    since = min(s.modified_at for s in missing)
    left = 2 * sum(s.size_bytes for s in missing) + LARGEST_BUNDLE
    chosen: list[Stat] = []
    for bundle in sorted(bundles, key=lambda s: (s.modified_at, s.path), reverse=True):
        if bundle.modified_at < since or is_lapsed(bundle, now):
            break
        if bundle.path in known or bundle.size_bytes > min(LARGEST_BUNDLE, left):
            continue
        left -= bundle.size_bytes
        chosen.append(bundle)
    return chosen


def is_lapsed(bundle: Stat, now: datetime) -> bool:
    """Say whether whatever it holds was read too long ago."""
    return bundle.modified_at < now - timedelta(days=DAYS)


def to_merge(listed: Mapping[str, Stat], bundled: Mapping[str, str]) -> frozenset[str]:
    """Choose bundles that hold little, once they are many; `bundled` is the bundle of each record
    that is listed."""
    held: dict[str, int] = {}
    for path, bundle in bundled.items():
        held[bundle] = held.get(bundle, 0) + listed[path].size_bytes
    small = frozenset(bundle for bundle, size in held.items() if size < FULL // 2)
    return small if len(small) >= SMALL_BUNDLES else frozenset()


def in_bundles(records: Iterable[Stat]) -> Iterator[list[Stat]]:
    """Cut records into bundles."""
    bundle: list[Stat] = []
    total = 0
    for record in records:
        bundle.append(record)
        total += record.size_bytes
        if total >= FULL:
            yield bundle
            bundle, total = [], 0
    if bundle:
        yield bundle
