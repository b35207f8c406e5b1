"""Encode a page of points column by column: the same bytes as `encoding`, with fewer steps a point.

Payloads of one page mostly have the same keys, and many of their values are the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qdrant_dr.proof.point_encoding import encode_id, encode_value, key_order

_FEW = 16  # payloads: fewer are not worth a column


@dataclass(frozen=True, slots=True)
class Columns:
    """Points whose vectors are all encoded, and finite: one of each name for each."""

    ids: Sequence[Any]
    payloads: Sequence[dict[str, Any] | None]
    vectors: Mapping[str, Sequence[memoryview]]

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
