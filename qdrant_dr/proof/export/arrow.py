"""Points as Arrow tables: the columns of a Parquet file, and points out of such columns again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from qdrant_dr.proof.columns import Columns, DenseRows
from qdrant_dr.proof.export.columns import PointColumns, VectorColumn, plain_value
from qdrant_dr.proof.point_encoding import DENSE_HEADER, named_vectors
from qdrant_dr.proof.stored_pages import Page, Point, Records

_NUMPY = {"float32": "<f4", "float16": "<f2", "uint8": "u1"}
_ARROW = {"float32": pa.float32(), "float16": pa.float16(), "uint8": pa.uint8()}
_FIELDS = {
    **dict.fromkeys(("keyword", "text", "uuid"), pa.string()),
    "integer": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "datetime": pa.timestamp("us", tz="UTC"),
    "geo": pa.struct([("lon", pa.float64()), ("lat", pa.float64())]),
}
_AS_THEY_ARE: Mapping[str, set[type]] = {
    "keyword": {str, type(None)},
    "text": {str, type(None)},
    "uuid": {str, type(None)},
    "integer": {int, type(None)},
    "float": {float, type(None)},
    "bool": {bool, type(None)},
}
"""Types of values that a column of this type takes without a look at each."""
Matrix = npt.NDArray[Any]


class UnknownVectorError(Exception):
    """A point has a vector for which there is no column: without it the file would not be whole."""


def schema_of(columns: PointColumns, about: Mapping[str, str]) -> pa.Schema:
    """Build the schema; `about` is written beside it."""
    fields = [pa.field("id", pa.string(), nullable=False), pa.field("payload", pa.string())]
    fields += [pa.field(f.column, _FIELDS[f.type]) for f in columns.fields]
    fields += [pa.field(v.column, _type_of(v)) for v in columns.vectors]
    return pa.schema(fields, dict(about))


def _type_of(vector: VectorColumn) -> pa.DataType:
    if vector.kind == "sparse":
        indices = pa.list_(pa.field("element", pa.uint32(), nullable=False))
        values = pa.list_(pa.field("element", pa.float32(), nullable=False))
        return pa.struct([("indices", indices), ("values", values)])
    row = _row_type(vector)
    return pa.list_(pa.field("element", row, nullable=False)) if vector.kind == "multi" else row


def _row_type(vector: VectorColumn) -> pa.DataType:
    each = pa.field("element", _ARROW[vector.datatype], nullable=False)
    return pa.list_(each, vector.size)


class Tables:
    """Makes a table of each page. `unlike` counts values of a payload that their column cannot
    hold as they are; the JSON of the payload has every one."""

    def __init__(self, columns: PointColumns, about: Mapping[str, str]) -> None:
        self.columns = columns
        self.schema = schema_of(columns, about)
        self.unlike = dict.fromkeys((f.field for f in columns.fields), 0)

    def of(self, page: Page) -> pa.Table:
        """Build the table of a page. Raise UnknownVectorError."""
        if isinstance(page, Columns):
            payloads, vectors = page.payloads, self._stored(page)
        else:
            payloads, vectors = self._read(page)
        texts = pa.array([None if p is None else dumps(p) for p in payloads], pa.binary())
        arrays = [_ids(page.ids), texts.view(pa.string())]
        arrays += [self._field(f.field, f.type, payloads) for f in self.columns.fields]
        return pa.Table.from_arrays([*arrays, *vectors], schema=self.schema)

    def _field(self, field: str, kind: str, payloads: Sequence[Mapping[str, Any] | None]) -> Any:
        given = [None if p is None else p.get(field) for p in payloads]
        if set(map(type, given)) <= _AS_THEY_ARE.get(kind, set()):
            with suppress(OverflowError):
                return pa.array(given, _FIELDS[kind])
        plain = [None if v is None else plain_value(kind, v) for v in given]
        self.unlike[field] += plain.count(None) - given.count(None)
        return pa.array(plain, _FIELDS[kind])

    def _stored(self, page: Columns) -> list[Any]:
        self._known(page.vectors)
        arrays = []
        for v in self.columns.vectors:
            if v.name not in page.vectors:
                arrays.append(pa.nulls(len(page), _type_of(v)))
                continue
            arrays.append(_fixed(page.vectors[v.name].rows, v))
        return arrays

    def _read(self, page: Records) -> tuple[list[Any], list[Any]]:
        payloads: list[Any] = []
        found: dict[str, list[Any]] = {v.name: [None] * len(page) for v in self.columns.vectors}
        for at, (_, payload, vector) in enumerate(page):
            payloads.append(payload)
            named = named_vectors(vector)
            self._known(named)
            for name, value in named.items():
                found[name][at] = _components(value)
        return payloads, [_array(found[v.name], v) for v in self.columns.vectors]

    def _known(self, names: Mapping[str, Any]) -> None:
        if strange := sorted(names.keys() - {v.name for v in self.columns.vectors}):
            raise UnknownVectorError(
                f"points have vectors that the settings of the collection do not name: {strange}"
            )


def _ids(ids: Sequence[Any]) -> Any:
    if set(map(type, ids)) == {int}:
        return pa.array(ids, pa.uint64()).cast(pa.string())
    return pa.array([str(i) for i in ids], pa.string())


def dumps(value: Any) -> bytes:
    """Write JSON, exact for integers of any size; floats so that they come back the same."""
    try:
        return orjson.dumps(value)
    except TypeError:  # an integer of more than 64 bits, or nested deeper than orjson goes
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()


def _components(value: Any) -> Any:
    """The numbers of a vector as arrays: before they are used up, Python's floats of one point."""
    if type(value) is memoryview:
        return np.frombuffer(value, "<f4", offset=DENSE_HEADER)
    if type(value) is list:
        return np.array(value, "<f4")
    return np.array(value.indices, "<u4"), np.array(value.values, "<f4")


def _array(found: list[Any], v: VectorColumn) -> Any:
    """Build the column of one vector, null where a point has none."""
    absent = np.array([f is None for f in found])
    if v.kind == "dense":
        rows = np.zeros((len(found), v.size), "<f4")
        for at, value in enumerate(found):
            if value is not None:
                rows[at] = value
        return _fixed(rows, v, absent)
    if v.kind == "multi":
        there = [f.reshape(-1, v.size) for f in found if f is not None]
        rows = np.concatenate([np.zeros((0, v.size), "<f4"), *there])
        offsets = _offsets([0 if f is None else len(f) for f in found], absent)
        return pa.ListArray.from_arrays(offsets, _fixed(rows, v), type=_type_of(v))
    pairs = [((), ()) if f is None else f for f in found]
    offsets = _offsets([len(indices) for indices, _ in pairs])
    lists = [
        pa.ListArray.from_arrays(
            offsets,
            pa.array(np.concatenate([np.zeros(0, kind), *(p[n] for p in pairs if len(p[n]))])),
            type=_type_of(v).field(n).type,
        )
        for n, kind in enumerate(("<u4", "<f4"))
    ]
    return pa.StructArray.from_arrays(lists, fields=list(_type_of(v)), mask=pa.array(absent))


def _fixed(rows: Matrix, v: VectorColumn, absent: Matrix | None = None) -> Any:
    with np.errstate(over="ignore", invalid="ignore"):
        values = pa.array(rows.astype(_NUMPY[v.datatype], copy=False).reshape(-1))
    mask = pa.array(absent) if absent is not None and absent.any() else None
    return pa.FixedSizeListArray.from_arrays(values, type=_row_type(v), mask=mask)


def _offsets(lengths: Sequence[int], absent: Matrix | None = None) -> Any:
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype("<i4")
    mask = None if absent is None else np.append(absent, False)
    return pa.array(ends, pa.int32(), mask=mask)


def points_of(table: pa.RecordBatch, columns: PointColumns) -> Columns | list[Point]:
    """Return the points of a batch, from its columns alone: as columns where every vector of every
    point is dense and finite."""
    ids = _ids_of(table["id"])
    payloads = [None if p is None else orjson.loads(p) for p in _objects(table["payload"])]
    arrays = {v.name: (v, table[v.column]) for v in columns.vectors}
    plain = {
        name: rows
        for name, (v, array) in arrays.items()
        if v.kind == "dense" and array.null_count == 0 and (rows := _finite(array, v)) is not None
    }
    if len(plain) == len(arrays):
        return Columns(ids, payloads, plain)
    read = {n: list(plain[n]) if n in plain else _values(a, v) for n, (v, a) in arrays.items()}
    vectors: Iterator[dict[str, Any]] = (
        {n: column[at] for n, column in read.items() if column[at] is not None}
        for at in range(len(ids))
    )
    return list(zip(ids, payloads, vectors, strict=True))


def _ids_of(array: Any) -> list[int | UUID]:
    with suppress(pa.ArrowInvalid):  # not a number
        numbers = array.cast(pa.uint64())
        if numbers.cast(pa.string()).equals(array):
            return numbers.to_numpy().tolist()  # type: ignore[no-any-return]
    return [UUID(i) if "-" in i else int(i) for i in _objects(array)]


def _objects(array: Any) -> Any:
    """The values as Python's, without a scalar of pyarrow for each."""
    return array.to_numpy(zero_copy_only=False)


def _finite(array: Any, v: VectorColumn) -> DenseRows | None:
    """These dense vectors; None if not every component is finite."""
    rows = _matrix(array, v)
    return DenseRows(rows) if np.isfinite(rows).all() else None


def _matrix(array: Any, v: VectorColumn) -> Matrix:
    start = array.offset * v.size
    values = array.values.slice(start, len(array) * v.size).to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(values.reshape(-1, v.size).astype("<f4", copy=False))


def _values(array: Any, v: VectorColumn) -> list[Any]:
    """Each vector as an engine or a server gives it, None where there is none."""
    there = array.is_valid().to_pylist()
    if v.kind == "sparse":
        return array.to_pylist()  # type: ignore[no-any-return]  # pyarrow has no types
    if v.kind == "dense":
        rows = _matrix(array, v)
        return [row.tobytes() if held else None for row, held in zip(rows, there, strict=True)]
    return [
        _matrix(array[at].values, v).tolist() if held else None for at, held in enumerate(there)
    ]
