"""Points that come as columns have the digests that they have one by one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.proof.columns import Columns, DenseRows, encode_ids, encode_payloads
from qdrant_dr.proof.fingerprint import Fingerprinter, parts_of
from qdrant_dr.proof.point_encoding import encode_bits, encode_id, encode_value

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just(1),
    st.just(1.0), st.just(True), st.just(-0.0), st.just(0.0),
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)
KEYS = st.lists(st.sampled_from(["a", "b", "é", "%", "%b", "", "a%sb"]), unique=True, max_size=4)


@st.composite
def payloads(draw: st.DrawFn) -> list[Any]:
    """Payloads of a page: of the same keys or not, with values of few kinds or of all."""
    keys = draw(KEYS)
    kinds = {k: draw(st.sampled_from([LEAVES, VALUES, st.integers(0, 3), st.text(max_size=1)]))
             for k in keys}  # fmt: skip
    page: list[Any] = draw(st.lists(st.fixed_dictionaries(kinds), max_size=40))
    if draw(st.booleans()):
        page += draw(st.lists(st.dictionaries(st.text(max_size=2), VALUES, max_size=2), max_size=3))
    return page


@given(payloads())
def test_payloads_are_encoded_as_each_by_itself(page: list[Any]) -> None:
    assert encode_payloads(page) == [encode_value(p) for p in page]


@given(st.lists(st.integers(0, 2**64 - 1) | st.uuids(), max_size=20))
def test_ids_are_encoded_as_each_by_itself(ids: list[int | UUID]) -> None:
    assert encode_ids(ids) == [encode_id(i) for i in ids]


@given(payloads(), st.data())
def test_a_page_of_columns_adds_what_its_points_add(page: list[Any], data: st.DataObject) -> None:
    ids = data.draw(
        st.lists(st.integers(0, 2**64 - 1), min_size=len(page), max_size=len(page), unique=True)
        | st.lists(st.uuids(), min_size=len(page), max_size=len(page), unique=True)
    )
    given_to = [data.draw(st.sampled_from([p, p, None])) for p in page]
    rng = np.random.default_rng(len(page))
    names = data.draw(st.sampled_from([("",), ("text", "image")]))
    rows = {n: rng.standard_normal((len(page), 3)).astype(np.float32).tolist() for n in names}
    columns = {n: DenseRows(np.array(rows[n], "<f4").reshape(-1, 3)) for n in names}
    for name, column in columns.items():
        encoded = [encode_bits(row) for row in rows[name]]
        assert [*column] == [column[at] for at in range(len(page))] == encoded
    one, other = Fingerprinter(), Fingerprinter()
    found = one.add_columns(Columns(ids, given_to, columns))
    points = zip(ids, given_to, zip(*rows.values(), strict=True), strict=True)
    wanted = other.add([(i, p, dict(zip(names, v, strict=True))) for i, p, v in points])
    assert found.tobytes() == wanted.tobytes()
    assert one.facts() == other.facts()
    assert one.sketch == other.sketch


@pytest.mark.parametrize("odd", [True, 1.0, "1", None, [1]])
def test_values_that_a_set_takes_for_equal_are_told_apart(odd: Any) -> None:
    page = [{"n": 1} for _ in range(20)] + [{"n": odd}]
    assert encode_payloads(page)[-1] == encode_value({"n": odd}) != encode_payloads(page)[0]


DENSE = st.lists(st.floats(width=32), min_size=2, max_size=2).map(
    lambda v: np.array(v, "<f4").tobytes()
)
VECTORS = st.one_of(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=2),
    st.just({"indices": [7, 3], "values": [1.0, 2.0]}),
    *[DENSE] * 3,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "id": st.integers(0, 2**64 - 1) | st.uuids().map(str),
                "payload": st.none() | st.dictionaries(st.sampled_from("ab"), LEAVES, max_size=2),
                "vector": VECTORS | st.dictionaries(st.sampled_from(["x", "y"]), VECTORS),
            }
        ),
        max_size=40,
        unique_by=lambda p: p["id"],
    )
)
def test_served_points_add_what_they_add_one_by_one(points: list[dict[str, Any]]) -> None:
    one, other = Fingerprinter(), Fingerprinter()
    one.add_served(points)
    other.add(parts_of(points))
    assert one.facts() == other.facts()
    assert one.sketch == other.sketch
