"""Find what is different between two sets of sorted tables, block by block. Memory is flat."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from qdrant_dr.errors import EngineFailed
from qdrant_dr.proof.point_table import ID_BYTES, Digests, Keys, PointTable

ROWS = 1 << 16
"""Rows of one table that are in memory at once."""
Places = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Rows:
    """Some points of one side: packed ids, which of its tables each stands in, digests."""

    keys: Keys
    table: Places
    digests: Mapping[str, Digests]

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, which: Places | Flags) -> Rows:
        """Return some of the rows."""
        digests = {name: words[which] for name, words in self.digests.items()}
        return Rows(self.keys[which], self.table[which], digests)

    def packed(self) -> list[bytes]:
        """Return the ids, as `id_key` packed them."""
        data = self.keys.tobytes()
        return [data[at : at + ID_BYTES] for at in range(0, len(data), ID_BYTES)]


@dataclass(frozen=True)
class Block:
    """What differs in a range of ids. `changed` are pairs of rows, `parts` says for each component
    which of these pairs differ in it. `twice` counts ids that stand in two tables of one side."""

    removed: Rows
    added: Rows
    changed: tuple[Rows, Rows]
    parts: Mapping[str, Flags]
    twice: tuple[int, int]


def compare_tables(
    before: Mapping[int, PointTable], after: Mapping[int, PointTable]
) -> Iterator[Block]:
    """Yield what is removed, added and changed, ascending by id; the tables have numbers.

    The tables of one side hold different points; an id that stands in several of them counts once,
    as its last table has it. Raise EngineFailed if a table is not sorted."""
    names = sorted({n for t in (*before.values(), *after.values()) for n in t.components})
    sides = tuple(
        [_Cursor(table, number, names) for number, table in tables.items()]
        for tables in (before, after)
    )
    every = [*sides[0], *sides[1]]
    while True:
        held = [c.fill() for c in every]
        if not any(held):
            return
        ends = [c.last for c in every if c.more]
        bound = min(ends) if ends else None
        one, two = (_joined([c.take(bound) for c in side], names) for side in sides)
        yield _block(one[0], two[0], names, (one[1], two[1]))


@dataclass
class _Cursor:
    """Reads one table from its beginning to its end."""

    table: PointTable
    number: int
    names: Sequence[str]
    at: int = 0
    held: Rows | None = None
    previous: bytes | None = None

    def fill(self) -> bool:
        """Read on if nothing is held; say whether anything is."""
        if not self.held and self.at < self.table.rows:
            keys = self.table.keys(self.at, ROWS)
            behind = self.previous is not None and keys[0] <= self.previous
            if behind or not (keys[1:] > keys[:-1]).all():
                raise EngineFailed("points did not come in the order of their ids")
            self.held = Rows(
                keys,
                np.full(len(keys), self.number, np.int64),
                {name: self.table.digests(name, self.at, len(keys)) for name in self.names},
            )
            self.at += len(keys)
            self.previous = bytes(keys[-1])
        return bool(self.held)

    @property
    def more(self) -> bool:
        """Say whether rows follow those that are held."""
        return self.at < self.table.rows

    @property
    def last(self) -> bytes:
        assert self.held
        return bytes(self.held.keys[-1])

    def take(self, bound: bytes | None) -> Rows:
        """Return held rows up to an id, or all of them; the rest stays."""
        held = self.held
        if held is None:
            nothing = np.zeros(0, np.int64)
            words = np.zeros((0, 2), np.uint64)
            return Rows(np.zeros(0, f"S{ID_BYTES}"), nothing, dict.fromkeys(self.names, words))
        count = len(held) if bound is None else int(np.searchsorted(held.keys, bound, "right"))
        places = np.arange(len(held))
        self.held = held.take(places[count:])
        return held.take(places[:count])


def _joined(some: Sequence[Rows], names: Sequence[str]) -> tuple[Rows, int]:
    """Put rows of several tables into one order; how many ids stand in more than one of them."""
    if len(some) == 1:
        return some[0], 0
    if not some:
        return _Cursor(PointTable.nothing(), 0, names).take(None), 0
    keys = np.concatenate([r.keys for r in some])
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    last = np.append(keys[1:] != keys[:-1], True) if len(keys) else np.zeros(0, np.bool_)
    order = order[last]
    rows = Rows(
        keys[last],
        np.concatenate([r.table for r in some])[order],
        {name: np.concatenate([r.digests[name] for r in some])[order] for name in names},
    )
    return rows, len(keys) - len(rows)


def _block(one: Rows, two: Rows, names: Sequence[str], twice: tuple[int, int]) -> Block:
    where = np.searchsorted(two.keys, one.keys)
    there = np.zeros(len(one), np.bool_)
    inside = where < len(two)
    there[inside] = two.keys[where[inside]] == one.keys[inside]
    new = np.ones(len(two), np.bool_)
    new[where[there]] = False
    pairs = one.take(there), two.take(where[there])
    apart = {name: (pairs[0].digests[name] != pairs[1].digests[name]).any(axis=1) for name in names}
    changed = np.zeros(len(pairs[0]), np.bool_)
    for flags in apart.values():
        changed |= flags
    return Block(
        removed=one.take(~there),
        added=two.take(new),
        changed=(pairs[0].take(changed), pairs[1].take(changed)),
        parts={name: flags[changed] for name, flags in apart.items()},
        twice=twice,
    )
