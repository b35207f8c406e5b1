"""Read dense vectors where an open shard stores them: its engine makes a Python float of each
component, which takes most of the time of a proof at today's dimensions.

The engine says which points there are, and gives their payloads and all else. From the files of
its segments, flushed before, come only vectors that lie there as they are, in binary32: of each
segment the offset of every id, and at that offset the components. Whatever is not plain is left
to the engine: a point that more than one segment has, a vector that a point lacks, a component
that is not finite, every other kind of vector, a file that does not look as expected.

That these files were understood is never taken for granted: `check` compares a sample with what
the engine reads, and the fingerprint of a shard must equal one that the engine alone has read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt

from qdrant_dr.proof.columns import DenseRows

Offsets = npt.NDArray[np.int64]
Rows = npt.NDArray[np.float32]
_NUMBER, _UUID = 13, 21
"""Bytes of one entry: a type, the id, and its offset in four bytes."""
_INSERT_NUMBER, _INSERT_UUID, _DELETE_NUMBER, _DELETE_UUID = 1, 2, 3, 4
_SEGMENT_SHIFT = 32
_CHUNKED = {"ChunkedMmap", "InRamChunkedMmap"}
_MATRIX = {"Mmap", "InRamMmap"}


class NotPlainError(Exception):
    """The files are not of the kind that is read here: the engine has to read them."""


@dataclass(frozen=True)
class _Places:
    """The segment and the offset of each id, sorted by id; ids of several segments are absent."""

    ids: npt.NDArray[Any]
    places: Offsets

    @classmethod
    def of(cls, found: Sequence[tuple[npt.NDArray[Any], Offsets]], kind: str) -> _Places:
        ids = np.concatenate([np.zeros(0, kind), *(i for i, _ in found)])
        places = np.concatenate([np.zeros(0, np.int64), *(at for _, at in found)])
        if _ascending(ids):
            return cls(ids, places)
        order = np.argsort(ids, kind="stable")
        ids, places = ids[order], places[order]
        same = np.zeros(len(ids) + 1, bool)
        same[1:-1] = ids[1:] == ids[:-1]
        alone = ~(same[1:] | same[:-1])
        return cls(ids[alone], places[alone])

    def find(self, ids: npt.NDArray[Any]) -> Offsets:
        """Return the place of each of these ids, -1 for one that is not here."""
        if not len(self.ids):
            return np.full(len(ids), -1, np.int64)
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.where(self.ids[at] == ids, self.places[at], -1)


class StoredVectors:
    """The dense vectors of all segments of one shard, whose engine has flushed and does not write.

    Raise NotPlainError, OSError, ValueError or KeyError if there are none that can be read."""

    def __init__(self, shard: Path) -> None:
        self._segments: list[dict[str, _Matrix]] = []
        self.all_names: set[str] = set()
        numbers, uuids = [], []
        names: set[str] | None = None
        for folder in sorted((shard / "segments").iterdir()):
            config = json.loads((folder / "segment.json").read_bytes())["config"]
            dense = config.get("vector_data", {})
            self.all_names |= {*dense, *config.get("sparse_vector_data", {})}
            by_number, by_uuid = _offsets(folder)
            if not len(by_number[0]) + len(by_uuid[0]):
                continue
            base = len(self._segments) << _SEGMENT_SHIFT
            numbers.append((by_number[0], by_number[1] + base))
            uuids.append((by_uuid[0], by_uuid[1] + base))
            matrices = {name: m for name, c in dense.items() if (m := _matrix(folder, name, c))}
            names = matrices.keys() & (matrices.keys() if names is None else names)
            self._segments.append(matrices)
        if not names:
            raise NotPlainError("no dense vector of binary32 in every segment")
        self.names = tuple(sorted(names))
        self._numbers = _Places.of(numbers, "<u8")
        self._uuids = _Places.of(uuids, "S16")

    def bytes_of(self, names: Sequence[str]) -> int:
        """Return the bytes that these vectors of one point take."""
        return sum(4 * self._segments[0][name].dimensions for name in names)

    def places(self, ids: Sequence[int | str | UUID]) -> Offsets:
        """Return where each of these points is, -1 if that is not plain."""
        if set(map(type, ids)) == {int}:
            return self._numbers.find(np.array(ids, "<u8"))
        places = np.full(len(ids), -1, np.int64)
        numbers = {at: i for at, i in enumerate(ids) if isinstance(i, int)}
        uuids = {at: i for at, i in enumerate(ids) if isinstance(i, UUID)}
        if numbers:
            keys = np.array(list(numbers.values()), "<u8")
            places[list(numbers)] = self._numbers.find(keys)
        if uuids:
            keys = np.frombuffer(b"".join([i.bytes for i in uuids.values()]), "S16")
            places[list(uuids)] = self._uuids.find(keys)
        return places

    def encoded(self, name: str, places: Offsets) -> Sequence[memoryview | None]:
        """Return the canonical encoding of the vector at each place, None if not all is finite."""
        rows, there = self._rows(name, places)
        with np.errstate(over="ignore", invalid="ignore"):  # too large a sum: the engine reads
            there &= np.isfinite(rows.sum(axis=1))
        if there.all():
            return DenseRows(rows)
        found = zip(DenseRows(rows), there.tolist(), strict=True)
        return [vector if good else None for vector, good in found]

    def _rows(self, name: str, places: Offsets) -> tuple[Rows, npt.NDArray[np.bool_]]:
        """Return the components at each place, and where there are any."""
        there = places >= 0
        segments = places >> _SEGMENT_SHIFT
        numbers = np.unique(segments[there]).tolist()
        if len(numbers) == 1 and there.all():
            return self._taken(numbers[0], name, places), there
        rows = np.zeros((len(places), self._segments[0][name].dimensions), "<f4")
        for number in numbers:
            at = segments == number
            rows[at] = self._taken(number, name, places[at])
        return rows, there

    def _taken(self, segment: int, name: str, places: Offsets) -> Rows:
        return self._segments[segment][name].take(places & ((1 << _SEGMENT_SHIFT) - 1))

    @staticmethod
    def segments_of(places: Offsets) -> Offsets:
        """Return the number of the segment of each place, -1 for none."""
        return places >> _SEGMENT_SHIFT


@dataclass(frozen=True)
class _Matrix:
    """The rows of one vector in one segment, in files of `rows` each."""

    dimensions: int
    rows: int
    files: tuple[Rows, ...]

    def take(self, offsets: Offsets) -> Rows:
        """Return these rows, in this order. Raise IndexError for one that does not exist."""
        if len(self.files) == 1:
            return self.files[0][offsets]
        taken = np.empty((len(offsets), self.dimensions), "<f4")
        numbers = offsets // self.rows
        if len(numbers) and int(numbers.max()) >= len(self.files):
            raise IndexError("an offset beyond the vectors of its segment")
        for number in np.unique(numbers).tolist():
            at = numbers == number
            taken[at] = self.files[number][offsets[at] - number * self.rows]
        return taken


def _matrix(folder: Path, name: str, config: dict[str, Any]) -> _Matrix | None:
    """Open the storage of one vector; None if it is not a plain matrix of binary32."""
    kind, dimensions = config["storage_type"], config["size"]
    if config.get("multivector_config") or config.get("datatype") not in (None, "float32"):
        return None
    store = folder / (f"vector_storage-{name}" if name else "vector_storage")
    if kind in _MATRIX:
        path = store / "matrix.dat"
        count = (path.stat().st_size - 4) // (4 * dimensions)
        with path.open("rb") as file:
            if file.read(4) != b"data":
                raise NotPlainError(f"{path} has an unknown header")
        return _Matrix(dimensions, count, (_mapped(path, 4, count, dimensions),))
    if kind in _CHUNKED:
        facts = json.loads((store / "vectors/config.json").read_bytes())
        if facts["dim"] != dimensions:
            raise NotPlainError(f"{store} has other dimensions than its segment")
        rows = facts["chunk_size_vectors"]
        stored = int.from_bytes((store / "vectors/status.dat").read_bytes()[:8], "little")
        files = tuple(
            _mapped(store / f"vectors/chunk_{n}.mmap", 0, min(rows, stored - n * rows), dimensions)
            for n in range(-(-stored // rows))
        )
        return _Matrix(dimensions, rows, files)
    return None


def _mapped(path: Path, offset: int, rows: int, dimensions: int) -> Rows:
    # without numpy's own class, whose every slice costs
    mapped = np.memmap(path, "<f4", mode="r", offset=offset, shape=(rows, dimensions))
    return np.asarray(mapped)


Found = tuple[npt.NDArray[Any], Offsets]


def _offsets(folder: Path) -> tuple[Found, Found]:
    """Return the offsets in one segment of numbers and of UUIDs that are not deleted."""
    if (folder / "mutable_id_tracker.mappings").exists():
        if (folder / "id_tracker.mappings").exists():
            raise NotPlainError(f"{folder} has two lists of ids")
        return _replayed((folder / "mutable_id_tracker.mappings").read_bytes())
    if (folder / "id_tracker.mappings").exists():
        data = (folder / "id_tracker.mappings").read_bytes()
        flags = np.frombuffer((folder / "id_tracker.deleted").read_bytes(), np.uint8)
        deleted = np.unpackbits(flags, bitorder="little").astype(bool)
        count = int.from_bytes(data[:8], "little")
        return _listed(data[8:], count, deleted)
    return _none("<u8"), _none("S16")  # nothing was ever put into it


def _listed(data: bytes, count: int, deleted: npt.NDArray[np.bool_]) -> tuple[Found, Found]:
    """Read the list of a segment that is not appended to."""
    if len(deleted) < count:
        raise NotPlainError("a list of ids is longer than its marks of deletion")
    kinds = {0: (_NUMBER, "number"), 1: (_UUID, "uuid")}
    for kind, (size, _) in kinds.items():
        entries = np.frombuffer(data, np.uint8)
        if len(data) == size * count and (entries[::size] == kind).all():
            ids, offsets = _columns(entries.reshape(count, size))
            alive = ~deleted[:count]
            found = (ids[alive], offsets[alive])
            return (found, _none("S16")) if kind == 0 else (_none("<u8"), found)
    numbers, uuids = dict[bytes, int](), dict[bytes, int]()
    at = 0
    for n in range(count):
        size = _NUMBER if data[at] == 0 else _UUID
        if data[at] > 1 or at + size > len(data):
            raise NotPlainError("a list of ids has an entry of an unknown kind")
        if not deleted[n]:
            into = numbers if size == _NUMBER else uuids
            key = data[at + 1 : at + size - 4]
            if key in into:
                raise NotPlainError("a list of ids has one of them twice")
            into[key] = int.from_bytes(data[at + size - 4 : at + size], "little")
        at += size
    return _of_keys(numbers, "<u8"), _of_keys(uuids, "S16")


def _replayed(data: bytes) -> tuple[Found, Found]:
    """Read the log of a segment that is appended to: what is put and deleted, in order."""
    entries = np.frombuffer(data, np.uint8)
    for kind, size in ((_INSERT_NUMBER, _NUMBER), (_INSERT_UUID, _UUID)):
        if len(data) % size == 0 and (entries[::size] == kind).all():
            ids, offsets = _columns(entries.reshape(-1, size))
            if _distinct(ids) and _distinct(offsets):
                found = (ids, offsets)
                return (found, _none("S16")) if size == _NUMBER else (_none("<u8"), found)
    kept: dict[bytes, int] = {}
    owners: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        kind = data[at]
        if not _INSERT_NUMBER <= kind <= _DELETE_UUID:
            raise NotPlainError("a log of ids has an entry of an unknown kind")
        end = at + (9 if kind in (_INSERT_NUMBER, _DELETE_NUMBER) else 17)
        key = data[at + 1 : end]
        at = end + 4 if kind in (_INSERT_NUMBER, _INSERT_UUID) else end
        if at > len(data):
            raise NotPlainError("a log of ids ends in an entry")
        if at == end:
            if (gone := kept.pop(key, None)) is not None:
                owners.pop(gone, None)
            continue
        offset = int.from_bytes(data[end:at], "little")
        if (before := owners.get(offset)) is not None and before != key:
            kept.pop(before, None)  # as the engine does
        kept[key], owners[offset] = offset, key
    numbers = {k: v for k, v in kept.items() if len(k) == 8}
    uuids = {k: v for k, v in kept.items() if len(k) == 16}
    return _of_keys(numbers, "<u8"), _of_keys(uuids, "S16")


def _distinct(values: npt.NDArray[Any]) -> bool:
    return _ascending(values) or len(np.unique(values)) == len(values)


def _ascending(values: npt.NDArray[Any]) -> bool:
    return bool((values[1:] > values[:-1]).all())


def _columns(entries: npt.NDArray[np.uint8]) -> Found:
    size = entries.shape[1]
    ids = np.ascontiguousarray(entries[:, 1 : size - 4])
    offsets = np.ascontiguousarray(entries[:, size - 4 :]).view("<u4")
    return ids.view("<u8" if size == _NUMBER else "S16")[:, 0], offsets[:, 0].astype(np.int64)


def _of_keys(found: dict[bytes, int], kind: str) -> Found:
    keys = np.frombuffer(b"".join(found), kind)
    return keys, np.fromiter(found.values(), np.int64, len(found))


def _none(kind: str) -> Found:
    return np.zeros(0, kind), np.zeros(0, np.int64)
