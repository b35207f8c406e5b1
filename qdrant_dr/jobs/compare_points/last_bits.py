"""Tell changed vectors from those that another machine normalised: they differ in the last bits.

A server normalises cosine vectors when it takes a point or replays its log, and CPUs differ in the
last bits (measured: up to 3e-8). The tables say only that a vector differs, so what may be such a
vector is read again from both states and compared within the tolerance of the proof."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from qdrant_dr.jobs.compare_points.change_files import Change
from qdrant_dr.jobs.compare_points.states import Piece, State
from qdrant_dr.proof.compare import alike
from qdrant_dr.proof.point_encoding import named_vectors
from qdrant_dr.proof.point_table import key_id, read_keys

Pair = tuple[int, int]
"""The tables in which a point stands before and after."""


@dataclass
class DoubtfulVectors:
    """Changed points with a vector of `components`: their ids, in a file for each pair of tables.

    `within` counts, once `settled` was used up, the points that differ in nothing else."""

    folder: Path
    components: frozenset[str]
    within: int = 0
    _files: dict[Pair, IO[bytes]] = field(default_factory=dict)

    def add(self, pair: Pair, change: Change) -> None:
        """Take a changed point, in the order of ids."""
        if self.components.isdisjoint(change.components):
            return
        if pair not in self._files:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._files[pair] = (self.folder / f"{pair[0]}-{pair[1]}").open("xb")
        self._files[pair].write(change.key)

    def look(self, before: State, after: State) -> None:
        """Read these points of both states again."""
        for (one, two), file in self._files.items():
            file.close()
            with ExitStack() as stack:
                pieces = [
                    stack.enter_context(state.piece(number))
                    for state, number in ((before, one), (after, two))
                ]
                told = stack.enter_context((self.folder / f"{one}-{two}.alike").open("x"))
                for keys in read_keys(Path(file.name)):
                    for key, names in self._alike(keys, *pieces):
                        told.write(json.dumps([key.hex(), names]) + "\n")

    def _alike(
        self, keys: list[bytes], one: Piece, two: Piece
    ) -> Iterator[tuple[bytes, list[str]]]:
        """Yield points with the components that are alike."""
        ids = [key_id(key) for key in keys]
        before, after = (
            {p["id"]: named_vectors(p["vector"]) for p in piece.retrieve(ids, payload=False)}
            for piece in (one, two)
        )
        for key, point in zip(keys, ids, strict=True):
            was, now = before.get(point, {}), after.get(point, {})
            names = [
                f"vector:{name}"
                for name in was.keys() & now.keys()
                if f"vector:{name}" in self.components and alike(was[name], now[name])
            ]
            if names:
                yield key, names

    def settled(self, changes: Iterator[Change]) -> Iterator[Change]:
        """Yield the changes, in the order of ids, without vectors that are alike."""
        with ExitStack() as stack:
            told = [
                stack.enter_context((self.folder / f"{one}-{two}.alike").open())
                for one, two in self._files
            ]
            known = heapq.merge(*(map(json.loads, lines) for lines in told))
            following = next(known, None)
            for change in changes:
                if change.kind != "changed" or not following or following[0] != change.key.hex():
                    yield change
                    continue
                names, following = following[1], next(known, None)
                left = tuple(c for c in change.components if c not in names)
                if left:
                    yield replace(change, components=left)
                else:
                    self.within += 1
