"""Encode a page of points column by column: the same bytes as `encoding`, with fewer steps a point.

Payloads of one page mostly have the same keys, and many of their values are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qdrant_dr.proof.point_encoding import (
    encode_bits,
    encode_id,
    encode_value,
    is_finite,
    key_order,
    named_vectors,
)

_FEW = 16  # payloads: fewer are not worth a column


@dataclass(frozen=True, slots=True)
class Columns:
    """Points whose vectors are all encoded, and finite: one of each name for each."""

    ids: Sequence[Any]
    payloads: Sequence[dict[str, Any] | None]
    vectors: Mapping[str, Sequence[memoryview | bytes]]

    def __len__(self) -> int:
        return len(self.ids)


def has_bytes(point: Mapping[str, Any]) -> bool:
    """Say whether every vector of a served point is given as bytes, so dense."""
    vector = point.get("vector")
    if type(vector) is dict:
        return all(type(v) is bytes for v in vector.values())
    return type(vector) is bytes


def columns_of(points: Sequence[Mapping[str, Any]]) -> Columns | None:
    """Return points whose vectors are bytes as columns, None where they have not the same names or
    a component is not finite."""
    named = [named_vectors(p.get("vector")) for p in points]
    names = named[0].keys()
    if any(n.keys() != names for n in named):
        return None
    given = {name: [n[name] for n in named] for name in names}
    if not all(is_finite(b"".join(column)) for column in given.values()):
        return None
    vectors = {name: [encode_bits(v) for v in column] for name, column in given.items()}
    return Columns([p["id"] for p in points], [p.get("payload") for p in points], vectors)


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
