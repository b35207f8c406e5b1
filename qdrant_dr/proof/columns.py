"""Encode a page of points column by column: the same bytes as `encoding`, with fewer steps a point.

Payloads of one page mostly have the same keys, and many of their values are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from qdrant_dr.proof.point_encoding import (
    DENSE_HEADER,
    dense_header,
    encode_id,
    encode_value,
    is_finite,
    key_order,
    named_vectors,
)

_FEW = 16  # payloads: fewer are not worth a column


class DenseRows(Sequence[memoryview]):
    """Finite dense vectors of one length, as rows of binary32; encoded when they are taken."""

    def __init__(self, rows: npt.NDArray[np.float32]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, at: int) -> memoryview: ...
    @overload
    def __getitem__(self, at: slice) -> DenseRows: ...
    def __getitem__(self, at: int | slice) -> memoryview | DenseRows:
        rows = self.rows[at]
        if isinstance(at, slice):
            return DenseRows(rows)
        return memoryview(dense_header(len(rows)) + rows.tobytes())

    def __iter__(self) -> Iterator[memoryview]:
        count, dimensions = self.rows.shape
        size = DENSE_HEADER + 4 * dimensions
        page = np.empty((count, size), np.uint8)
        page[:, :DENSE_HEADER] = np.frombuffer(dense_header(dimensions), np.uint8)
        page[:, DENSE_HEADER:] = self.rows.view(np.uint8)
        data = page.reshape(-1).data
        return iter([data[start : start + size] for start in range(0, len(data), size)])


@dataclass(frozen=True, slots=True)
class Columns:
    """Points whose vectors are all dense and finite: one of each name for each."""

    ids: Sequence[Any]
    payloads: Sequence[dict[str, Any] | None]
    vectors: Mapping[str, DenseRows]

    def __len__(self) -> int:
        return len(self.ids)


def has_bytes(point: Mapping[str, Any]) -> bool:
    """Say whether every vector of a served point is given as bytes, so dense."""
    vector = point.get("vector")
    if type(vector) is dict:
        return all(type(v) is bytes for v in vector.values())
    return type(vector) is bytes


def columns_of(points: Sequence[Mapping[str, Any]]) -> Columns | None:
    """Return points whose vectors are bytes as columns, None where they have not the same names,
    one has another length, or a component is not finite."""
    named = [named_vectors(p.get("vector")) for p in points]
    names = named[0].keys()
    if any(n.keys() != names for n in named):
        return None
    vectors = {name: _rows([n[name] for n in named]) for name in names}
    plain = {name: rows for name, rows in vectors.items() if rows is not None}
    if len(plain) < len(vectors):
        return None
    return Columns([p["id"] for p in points], [p.get("payload") for p in points], plain)


def _rows(column: Sequence[bytes]) -> DenseRows | None:
    joined = b"".join(column)
    if len(set(map(len, column))) > 1 or not is_finite(joined):
        return None
    return DenseRows(np.frombuffer(joined, "<f4").reshape(len(column), -1))


def encode_ids(ids: Sequence[Any]) -> list[bytes]:
    """Return `encode_id` of each."""
    if set(map(type, ids)) == {int}:
        return [b"i%d;" % i for i in ids]
    return [encode_id(i) for i in ids]


def encode_payloads(payloads: Sequence[dict[str, Any]]) -> list[bytes]:
    """Return `encode_value` of each."""
    keys = set(map(tuple, payloads)) if len(payloads) >= _FEW else set()
    if len(keys) != 1 or not (names := keys.pop()):
        return [encode_value(p) for p in payloads]
    order = key_order(names)
    columns = [_column([p[name] for p in payloads]) for name, _ in order]
    row = b"{" + b"".join(key.replace(b"%", b"%%") + b"%b" for _, key in order) + b"}"
    return [row % values for values in zip(*columns, strict=True)]


def _column(values: list[Any]) -> list[bytes]:
    # of one type: in a set 1, 1.0 and True are the same
    if set(map(type, values)) in ({str}, {int}) and 2 * len(distinct := set(values)) <= len(values):
        known = {value: encode_value(value) for value in distinct}
        return [known[value] for value in values]
    return [encode_value(value) for value in values]
