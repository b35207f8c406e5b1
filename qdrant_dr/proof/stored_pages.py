"""Pages of an open shard's points, with vectors from its files: in the engine's child process.

A sample of each page is also read with the engine, and must be the same bit for bit: one point in
`ONE_IN`, and the first one of each segment."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from qdrant_dr.proof.encoding import encode_bits, named_vectors
from qdrant_dr.proof.stored_vectors import NotPlainError, StoredVectors

ONE_IN = 64
Point = tuple[Any, Any, Any]


class DisagreesError(Exception):
    """The files and the engine give different vectors of one point: only the engine counts."""


class StoredPages:
    """Gives the points of records that were read without those vectors that the files hold.

    Raise NotPlainError, OSError, ValueError, KeyError, IndexError if there are none."""

    def __init__(self, shard: edge.EdgeShard, path: Path, seed: int) -> None:
        shard.flush()
        self._shard = shard
        self._vectors = StoredVectors(path)
        self._chance = random.Random(seed)
        self._segments: set[int] = set()
        self.stored = 0
        whole = shard.count(edge.CountRequest(exact=True))
        self.names = [n for n in self._vectors.names if self._having(n) == whole]
        if not self.names:
            raise NotPlainError("every dense vector is absent from some point")
        self.others = sorted(self._vectors.all_names - set(self.names))

    def _having(self, name: str) -> int:
        has = edge.Filter(must=[edge.HasVectorCondition(name)])
        return self._shard.count(edge.CountRequest(exact=True, filter=has))

    def points(self, page: Sequence[edge.Record]) -> list[Point]:
        """Return id, payload and vectors of each. Raise DisagreesError."""
        ids = [r.id for r in page]
        try:
            places = self._vectors.places(ids)
            found = [self._vectors.encoded(name, places) for name in self.names]
        except (OSError, ValueError, KeyError, IndexError) as e:
            raise DisagreesError(f"a file of vectors is not what its segment says: {e}") from e
        if self.names == [""] and not self.others:
            vectors: list[Any] = list(found[0])
        else:
            vectors = [
                None
                if None in each
                else {**named_vectors(record.vector), **dict(zip(self.names, each, strict=True))}
                for record, each in zip(page, zip(*found, strict=True), strict=True)
            ]
        sample = self._sample(places.tolist())
        left = [at for at, vector in enumerate(vectors) if vector is None]
        read = self._read([ids[at] for at in [*left, *sample]])
        for at, vector in zip(sample, read[len(left) :], strict=True):
            if vectors[at] is not None and _bits(vectors[at]) != _bits(vector):
                raise DisagreesError(f"the vectors of point {ids[at]} differ")
        for at, vector in zip(left, read, strict=False):
            vectors[at] = vector
        self.stored += len(page) - len(left)
        return [(i, r.payload, v) for i, r, v in zip(ids, page, vectors, strict=True)]

    def _sample(self, places: list[int]) -> list[int]:
        count = len(places)
        sample = set(self._chance.sample(range(count), min(count, 1 + count // ONE_IN)))
        for at, place in enumerate(places):
            if (segment := self._vectors.segment_of(place)) not in self._segments:
                self._segments.add(segment)
                sample.add(at)
        return sorted(sample)

    def _read(self, ids: list[Any]) -> list[Any]:
        if not ids:
            return []
        wanted = list(dict.fromkeys(ids))
        records = self._shard.retrieve(wanted, with_payload=False, with_vector=True)
        by_id = {r.id: r.vector for r in records}
        return [by_id[i] for i in ids]


def _bits(vector: Any) -> dict[str, bytes]:
    return {name: encode_bits(value) for name, value in named_vectors(vector).items()}
