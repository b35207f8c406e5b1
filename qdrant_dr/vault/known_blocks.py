"""The blocks that a repository holds already, of one collection: 12 bytes of memory for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from qdrant_dr.stores.base import Stat
from qdrant_dr.vault.box import EMPTY, Table

MOST_IN_PACK = 4096
"""Blocks in a pack of ours; of a larger one only so many are known."""
_BITS = 12
_MOST_PACKS = 2 ** (32 - _BITS)


@dataclass(eq=False, slots=True)
class Pack:
    """A pack of this collection. One that is being written may get another name, and has no `stat`
    yet."""

    name: str
    stat: Stat | None = None
    written: int | None = None
    """Bytes that were sent, if it was written by us."""


class Place(NamedTuple):
    """Where a block lies, and how many bytes it is."""

    pack: Pack
    number: int
    size: int


Level = tuple["np.ndarray", "np.ndarray"]


class KnownBlocks:
    """Finds blocks by their SHA-256: the first 8 bytes lead to a place, whose table decides.

    `table_of` gives the table of a pack, as long as it can be had; a block whose table is gone is
    unknown.
    """

    def __init__(self, table_of: Callable[[Pack], Table | None]) -> None:
        self._table_of = table_of
        self._packs: list[Pack] = []
        self._levels: list[Level] = []

    def __len__(self) -> int:
        return sum(len(prefixes) for prefixes, _ in self._levels)

    def add(self, pack: Pack, table: Table) -> None:
        """Know the blocks of one more pack."""
        self.add_all([(pack, table)])

    def add_all(self, packs: Iterable[tuple[Pack, Table]]) -> None:
        """Know the blocks of several packs."""
        # one piece of memory each: of thousands of small ones the process would keep the memory
        prefixes, places = bytearray(), bytearray()
        for pack, table in packs:
            if len(self._packs) == _MOST_PACKS:
                break
            rows = table.rows[:MOST_IN_PACK]
            there = np.flatnonzero(rows["size"] != EMPTY.size)
            prefixes += _prefixes(rows["sha256"][there]).tobytes()
            places += (there + (len(self._packs) << _BITS)).astype(np.uint32).tobytes()
            self._packs.append(pack)
        if prefixes:
            level = np.frombuffer(prefixes, np.uint64), np.frombuffer(places, np.uint32)
            self._levels.append(_sorted(*level))
            self._merge()

    def find(self, sha256: bytes) -> Place | None:
        """Return where a block lies; None if it is not known."""
        prefix = np.frombuffer(sha256, ">u8", 1)[0].astype(np.uint64)
        for prefixes, places in self._levels:
            at = int(np.searchsorted(prefixes, prefix))
            while at < len(prefixes) and prefixes[at] == prefix:
                place = int(places[at])
                pack, number = self._packs[place >> _BITS], place & (MOST_IN_PACK - 1)
                table = self._table_of(pack)
                if table is not None and number < len(table):
                    entry = table[number]
                    if entry.sha256 == sha256 and entry.size:
                        return Place(pack, number, entry.size)
                at += 1
        return None

    def _merge(self) -> None:
        """Keep few levels, each much larger than the next: new packs come one by one."""
        while len(self._levels) > 1 and len(self._levels[-2][0]) < 4 * len(self._levels[-1][0]):
            (a, b), (c, d) = self._levels[-2:]
            self._levels[-2:] = [_sorted(np.concatenate((a, c)), np.concatenate((b, d)))]


def _prefixes(digests: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(digests[:, :8]).view(">u8").ravel().astype(np.uint64)


def _sorted(prefixes: np.ndarray, places: np.ndarray) -> Level:
    order = np.argsort(prefixes, kind="stable")
    return prefixes[order], places[order]
