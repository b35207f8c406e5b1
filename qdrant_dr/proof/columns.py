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
    key_order,
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
