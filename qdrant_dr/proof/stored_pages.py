"""Pages of an open shard's points, with vectors from its files: in the engine's child process.

A sample of each page is also read with the engine, and must be the same bit for bit: one point in
`ONE_IN`, and the first one of each segment."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import qdrant_edge as edge

from qdrant_dr.proof.columns import Columns
from qdrant_dr.proof.point_encoding import encode_bits, encode_value, named_vectors
from qdrant_dr.proof.stored_vectors import NotPlainError, Offsets, StoredVectors

ONE_IN = 64
Point = tuple[Any, Any, Any]


class Records:
    """Points of the engine. Python's floats of one exist only while it is used: they take eight
    times the bytes of their vector."""

    def __init__(self, records: Sequence[edge.Record]) -> None:
        self.records = records
        self.ids = [r.id for r in records]

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Point]:
        return ((r.id, r.payload, r.vector) for r in self.records)


class _Mixed(Records):
    """Points some of whose vectors come from files: in place of those of `records`, or beside
    them, unless the engine read all of a point (`whole`)."""

    def __init__(
        self,
        records: Sequence[edge.Record],
        found: Mapping[str, Sequence[memoryview | None]],
        whole: Mapping[Any, edge.Record],
    ) -> None:
        super().__init__(records)
        self._found, self._whole = found, whole

    def __iter__(self) -> Iterator[Point]:
        for at, r in enumerate(self.records):
            if (all_of_it := self._whole.get(r.id)) is not None:
                yield r.id, r.payload, all_of_it.vector
                continue
            stored = {name: column[at] for name, column in self._found.items()}
            yield r.id, r.payload, {**named_vectors(r.vector), **stored}


Page = Records | Columns


def bytes_of(record: edge.Record) -> int:
    """Return about how many bytes the engine holds of a point that it read."""
    vectors = sum(len(encode_bits(v)) for v in named_vectors(record.vector).values())
    return vectors + len(encode_value(record.payload))


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
        self.bytes_each = self._vectors.bytes_of(self.names)

    def _having(self, name: str) -> int:
        has = edge.Filter(must=[edge.HasVectorCondition(name)])
        return self._shard.count(edge.CountRequest(exact=True, filter=has))

    def points(self, page: Sequence[edge.Record]) -> Page:
        """Return id, payload and vectors of each. Raise DisagreesError."""
        ids = [r.id for r in page]
        try:
            places = self._vectors.places(ids)
            found = [self._vectors.encoded(name, places) for name in self.names]
        except (OSError, ValueError, KeyError, IndexError) as e:
            raise DisagreesError(f"a file of vectors is not what its segment says: {e}") from e
        left = {at for c in found if type(c) is list for at, v in enumerate(c) if v is None}
        sample = self._sample(places)
        for at, record in zip(sample, self._read([ids[at] for at in sample]), strict=True):
            each = {name: column[at] for name, column in zip(self.names, found, strict=True)}
            self._compare(ids[at], each, record.vector)
        self.stored += len(page) - len(left)
        columns: Any = dict(zip(self.names, found, strict=True))
        if not left and not self.others:
            return Columns(ids, [r.payload for r in page], columns)
        whole = [ids[at] for at in sorted(left)]
        columns = {name: list(column) for name, column in columns.items()}
        return _Mixed(page, columns, dict(zip(whole, self._read(whole), strict=True)))

    def _compare(self, point_id: Any, found: dict[str, memoryview | None], vector: Any) -> None:
        """Compare what the files have of a point with what the engine reads of it."""
        read = named_vectors(vector)
        strange = read.keys() - found.keys() - {*self.others}
        for name, data in found.items():
            if strange or (data is not None and encode_bits(read.get(name, [])) != data):
                raise DisagreesError(f"the vectors of point {point_id} differ")

    def _sample(self, places: Offsets) -> list[int]:
        count = len(places)
        sample = set(self._chance.sample(range(count), min(count, 1 + count // ONE_IN)))
        segments = self._vectors.segments_of(places)
        for segment in set(segments.tolist()) - self._segments:
            self._segments.add(segment)
            sample.add(int((segments == segment).argmax()))
        return sorted(sample)

    def _read(self, ids: list[Any]) -> list[edge.Record]:
        if not ids:
            return []
        records = self._shard.retrieve(ids, with_payload=False, with_vector=True)
        by_id = {r.id: r for r in records}
        return [by_id[i] for i in ids]
