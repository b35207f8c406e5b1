"""The canonical encoding: exact, unambiguous, the same for the engine and for REST."""

from __future__ import annotations

import doctest
import json
import math
import struct
from hashlib import sha256
from typing import Any
from uuid import UUID

import numpy as np
import pytest
import qdrant_edge as edge
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.proof import point_encoding
from qdrant_dr.proof.point_encoding import (
    encode_bits,
    encode_id,
    encode_value,
    encode_vector,
    is_finite,
    point_digests,
)
from tests.support.replay import truth

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=12,
)


def exact(value: Any) -> Any:
    """A value such that == means: the same JSON, type by type and bit by bit."""
    if isinstance(value, dict):
        return ("object", frozenset((k, exact(v)) for k, v in value.items()))
    if isinstance(value, list):
        return ("list", tuple(exact(v) for v in value))
    if isinstance(value, float):
        return ("float", struct.pack(">d", value))
    return (type(value).__name__, value)


def test_the_vectors_of_the_specification() -> None:
    failed, tried = doctest.testmod(point_encoding)
    assert (failed, tried > 4) == (0, True)


@given(JSON, JSON)
def test_equal_encodings_mean_equal_values(one: Any, two: Any) -> None:
    assert (encode_value(one) == encode_value(two)) == (exact(one) == exact(two))


@given(JSON)
def test_the_way_through_json_changes_nothing(value: Any) -> None:
    if not any(map(math.isinf, _floats(value))):
        assert encode_value(json.loads(json.dumps(value))) == encode_value(value)


def _floats(value: Any) -> list[float]:
    if isinstance(value, float):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [f for v in inner for f in _floats(v)]


@given(st.dictionaries(st.text(max_size=3), st.integers(), min_size=2))
def test_the_order_of_keys_does_not_count(value: dict[str, int]) -> None:
    assert encode_value(dict(reversed(value.items()))) == encode_value(value)


def test_more_shapes_than_are_remembered() -> None:
    for n in range(5000):
        assert encode_value({f"k{n}": 1}) == b"{s%d:k%di1;}" % (len(f"k{n}"), n)
    assert len(point_encoding._key_orders) <= point_encoding._KEY_ORDERS_KEPT


@pytest.mark.parametrize(
    "values",
    [
        (True, 1, 1.0, "1", "true"),
        (0.0, -0.0, 0, False, None, "", [], {}),
        ([None], [], [[]], {"": None}, {}),
        (2**53, 2**53 + 1, float(2**53)),
        (2**63, 2**64, -(2**63)),
        ({"a": None}, {}, {"a": {}}),
        (["ab"], ["a", "b"], {"a": "b"}),
        ("é", "e\u0301"),
    ],
)
def test_what_must_differ(values: tuple[Any, ...]) -> None:
    assert len({encode_value(v) for v in values}) == len(values)


def test_what_is_no_json() -> None:
    with pytest.raises(TypeError, match="UUID"):
        encode_value({"x": UUID(int=1)})


def test_ids() -> None:
    uuid = UUID("fd8b289c-3463-48d1-8898-a37e1815f07d")
    assert encode_id(uuid) == encode_id(str(uuid)) == encode_id(uuid.hex.upper())
    assert len({encode_id(1), encode_id(UUID(int=1)), encode_id(2**64 - 1)}) == 3


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_a_shortest_decimal_is_the_same_vector(vector: list[float]) -> None:
    shortest = [float(str(np.float32(v))) for v in vector]
    assert encode_vector(shortest) == encode_vector(vector)


def test_vectors_of_different_kinds_differ() -> None:
    same = [
        [1.0, 2.0],
        [[1.0, 2.0]],
        [[1.0], [2.0]],
        {"indices": [0, 1], "values": [1.0, 2.0]},
        [1.0, -2.0],
        [2.0, 1.0],
        [0.0, 0.0],
        [0.0, -0.0],
        [],
    ]
    assert len({encode_vector(v) for v in same}) == len(same)
    assert encode_vector([None, 1.0]) == encode_vector([math.nan, 1.0])


def test_the_order_of_a_sparse_vector_does_not_count() -> None:
    one = encode_vector({"indices": [7, 3], "values": [1.0, 2.0]})
    assert one == encode_vector({"indices": [3, 7], "values": [2.0, 1.0]})
    assert one == encode_vector(edge.SparseVector(indices=[3, 7], values=[2.0, 1.0]))
    assert one != encode_vector({"indices": [7, 3], "values": [2.0, 1.0]})


def test_every_leaf_is_bound_to_id_and_name() -> None:
    one = point_digests(1, {"a": 1}, {"x": [1.0], "y": [1.0]})
    two = point_digests(2, {"a": 1}, {"x": [1.0], "y": [1.0]})
    assert len({*one.values(), *two.values()}) == 8
    assert "payload" not in point_digests(1, None, None)
    assert point_digests(1, {}, None).keys() == {"id", "payload"}


def test_a_point_of_a_scroll() -> None:
    point = truth("rich")[0]
    digests = point_encoding.digest_point(point)
    assert digests.keys() >= {"id", "payload", "vector:text", "vector:image"}
    other = point_encoding.digest_point({**point, "payload": {**point["payload"], "b": 1}})
    assert {n for n in digests if digests[n] != other[n]} == {"payload"}


NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)
ODD = st.sampled_from([math.inf, -math.inf, math.nan, -math.nan, None])


@st.composite
def same_but_odd(draw: st.DrawFn) -> tuple[Any, Any, bool]:
    """Two vectors of one kind: what is finite is equal, what is not differs as it likes."""
    size = draw(st.integers(1, 6))
    places = draw(st.sets(st.integers(0, size - 1)))

    def row() -> tuple[list[Any], list[Any]]:
        one = [draw(NUMBERS) for _ in range(size)]
        two = list(one)
        for at in places:
            one[at], two[at] = draw(ODD), draw(ODD)
        return one, two

    kind = draw(st.sampled_from(["dense", "multi", "sparse", "engine's sparse"]))
    if kind == "multi":
        rows = [row() for _ in range(draw(st.integers(1, 3)))]
        return [a for a, _ in rows], [b for _, b in rows], not places
    one, two = row()
    if kind == "dense":
        return one, two, not places
    indices = draw(st.lists(st.integers(0, 99), min_size=size, max_size=size, unique=True))
    if kind == "sparse" or None in two:
        return {"indices": indices, "values": one}, {"indices": indices, "values": two}, not places
    sparse = edge.SparseVector(indices=indices, values=two)
    return {"indices": indices, "values": one}, sparse, not places


@given(same_but_odd())
def test_all_that_is_not_finite_is_one_token(vectors: tuple[Any, Any, bool]) -> None:
    one, two, finite = vectors
    assert encode_vector(one) == encode_vector(two)
    assert is_finite(one) == is_finite(two) == finite
    if finite:
        assert encode_vector(one) == encode_bits(one) == encode_bits(two)


@given(st.lists(NUMBERS, min_size=1, max_size=6), st.data())
def test_a_token_is_no_number_and_keeps_its_place(
    numbers: list[float], data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(numbers) - 1))
    odd = [None if n == at else v for n, v in enumerate(numbers)]
    assert encode_vector(odd) != encode_vector(numbers)
    elsewhere = [None if n == at - 1 else v for n, v in enumerate(numbers)]
    assert encode_vector(odd) != encode_vector(elsewhere)


GOLDEN = [
    ([math.inf, 1.0], "24838ad37fe6305e", "dac6cbd6e8597512"),
    ([-math.inf, 1.0], "5a4d4eaf36795280", "dac6cbd6e8597512"),
    ([math.nan, 1.0], "dac6cbd6e8597512", "dac6cbd6e8597512"),
    ([None, 1.0], "dac6cbd6e8597512", "dac6cbd6e8597512"),
    ([[1.0, -math.inf], [2.0, 3.0]], "85eb94f9debffc01", "a89567d5f2d27b2a"),
]


@pytest.mark.parametrize(("vector", "first", "second"), GOLDEN)
def test_digests_of_both_versions(vector: Any, first: str, second: str) -> None:
    """Those of version 1 were made by the version of before."""
    data = point_encoding.vector_domain("") + encode_id(7) + encode_bits(vector)
    assert sha256(data).hexdigest()[:16] == first
    assert point_digests(7, None, vector)["vector:"].hex()[:16] == second
