"""Fingerprints: independent of order and grouping, and telling where they differ."""

from __future__ import annotations

import hashlib
import json
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdrant_dr.errors import RecordUnknown
from qdrant_dr.proof.fingerprint import (
    SKETCH,
    Fingerprinter,
    add,
    changed_share,
    differences,
    fingerprint_of,
    in_bits,
    merge_sketches,
    subtract,
)
from qdrant_dr.proof.point_encoding import digest_point, encode_bits, encode_id, vector_domain
from qdrant_dr.records import Fingerprint, Seal, canonical_json
from tests.support import records
from tests.support.replay import truth


def point(n: int, **payload: Any) -> dict[str, Any]:
    return {"id": n, "payload": {"n": n, **payload}, "vector": {"a": [float(n)], "b": [1.0]}}


def sketch(points: list[dict[str, Any]]) -> tuple[str, ...]:
    work = Fingerprinter()
    for at in range(0, len(points), 700):
        work.add((p["id"], p["payload"], p["vector"]) for p in points[at : at + 700])
    return work.sketch


@settings(max_examples=20)
@given(st.randoms(use_true_random=False), st.integers(0, 549))
def test_order_and_grouping_do_not_count(rng: random.Random, cut: int) -> None:
    points = list(truth("rich"))
    whole = fingerprint_of(points)
    rng.shuffle(points)
    assert fingerprint_of(points) == whole
    assert add(fingerprint_of(points[:cut]), fingerprint_of(points[cut:])) == whole
    assert subtract(whole, fingerprint_of(points[:cut])) == fingerprint_of(points[cut:])


def test_it_is_the_sum_of_the_points_digests() -> None:
    points = truth("rich")
    whole = fingerprint_of(points)
    for name, component in whole.components.items():
        digests = [d[name] for d in map(digest_point, points) if name in d]
        assert component.count == len(digests)
        assert int(component.sum, 16) == sum(digests) % 2**256
        buckets = [0] * 256
        for p in points:
            digest = digest_point(p)
            if name in digest:
                buckets[digest["id"] & 0xFF] += digest[name] & (2**64 - 1)
        assert component.buckets == "".join(f"{b % 2**64:016x}" for b in buckets)


def test_the_empty_set() -> None:
    empty = fingerprint_of([])
    assert (empty.points, list(empty.components)) == (0, ["id"])
    one = fingerprint_of([point(1)])
    assert add(empty, one) == one
    assert subtract(one, one) == empty


@given(st.integers(0, 99), st.sampled_from(["payload", "vector", "missing", "id"]))
def test_one_changed_point_is_named(which: int, what: str) -> None:
    points = [point(n) for n in range(100)]
    changed = [dict(p) for p in points]
    if what == "payload":
        changed[which]["payload"] = {"n": float(which)}
    elif what == "vector":
        changed[which]["vector"] = {"a": [float(which)], "b": [1.0000001]}
    elif what == "missing":
        changed[which]["vector"] = {"a": [float(which)]}
    else:
        changed[which]["id"] = 1000
    words = differences(fingerprint_of(points), fingerprint_of(changed))
    component = {"payload": "payload", "vector": "vector:b", "missing": "vector:b"}.get(what)
    bucket = digest_point(points[which])["id"] & 0xFF
    if component:
        assert len(words) == 1
        assert words[0].startswith(f"{component} differs in 1 of 256 buckets ({bucket})")
        assert ("99 instead of 100 points" in words[0]) == (what == "missing")
    else:
        assert {w.split()[0] for w in words} == {"id", "payload", "vector:a", "vector:b"}


def test_no_difference_has_no_words() -> None:
    assert differences(fingerprint_of(truth("basic")), fingerprint_of(truth("basic"))) == []


def test_a_gained_point_does_not_hide_a_lost_one() -> None:
    one = fingerprint_of([point(1), point(2)])
    swapped = [{**point(1), "payload": {"n": 2}}, {**point(2), "payload": {"n": 1}}]
    assert [w.split()[0] for w in differences(one, fingerprint_of(swapped))] == ["payload"]


def test_the_sketch_estimates_what_changed() -> None:
    before = [point(n) for n in range(5000)]
    after = [point(n, changed=True) if n % 5 == 0 else p for n, p in enumerate(before)]
    after = [*after[:4000], *(point(n) for n in range(9000, 11000))]  # 1 of 5 gone, more new
    assert len(sketch(before)) == SKETCH
    share = changed_share(sketch(before), sketch(after))
    assert share is not None
    assert abs(share - 0.36) < 0.1
    assert changed_share(sketch(before), sketch(before)) == 0
    assert changed_share(sketch(before), ()) == 1
    assert changed_share((), sketch(before)) is None


def test_sketches_of_shards_add_up() -> None:
    points = [point(n) for n in range(3000)]
    assert merge_sketches(sketch(points[:1000]), sketch(points[1000:])) == sketch(points)


VERSION_1 = {
    "rich": "174cbe0f6fac0565f7ac04ea3d5da554e5fc5a896f9c4c11807daec7c5609c8b",
    "basic": "0581bc3dec06dad131a490df351f642ca4b9c6c40931e490caa34cbe4e8b7072",
}


@pytest.mark.parametrize("set_name", VERSION_1)
def test_where_all_is_finite_a_fingerprint_is_of_version_1_byte_for_byte(set_name: str) -> None:
    """SHA-256 of what the version of before made of these points."""
    fingerprint = fingerprint_of(truth(set_name))
    data = json.dumps(fingerprint.model_dump(mode="json"), sort_keys=True).encode()
    assert hashlib.sha256(data).hexdigest() == VERSION_1[set_name]


ODD = st.sampled_from([math.inf, -math.inf, math.nan])
VECTORS = st.lists(st.one_of(st.floats(-9, 9, width=32), ODD), min_size=3, max_size=3)


def with_vectors(vectors: list[list[float]]) -> list[dict[str, Any]]:
    return [{"id": n, "payload": {"n": n}, "vector": {"a": v}} for n, v in enumerate(vectors)]


def as_served(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As a server's JSON has them."""
    return [
        {**p, "vector": {"a": [v if math.isfinite(v) else None for v in p["vector"]["a"]]}}
        for p in points
    ]


def in_version_1(points: list[dict[str, Any]]) -> Fingerprint:
    """As the version of before summed what an engine reads, made in another way than `in_bits`."""
    sums = {name: [0, 0, [0] * 256] for name in ("id", "payload", "vector:a")}
    for p in points:
        digests: dict[str, int] = digest_point(p)
        data = vector_domain("a") + encode_id(p["id"]) + encode_bits(p["vector"]["a"])
        digests["vector:a"] = int.from_bytes(hashlib.sha256(data).digest(), "little")
        for name, digest in digests.items():
            entry: Any = sums[name]
            entry[0] += 1
            entry[1] += digest
            entry[2][digests["id"] & 0xFF] += digest & (2**64 - 1)
    components = {
        name: {
            "count": count, "sum": f"{total % 2**256:064x}",
            "buckets": "".join(f"{b % 2**64:016x}" for b in buckets),
        }
        for name, (count, total, buckets) in sums.items()
        if count or name == "id"
    }  # fmt: skip
    return Fingerprint.model_validate({"points": len(points), "components": components})


@given(st.lists(VECTORS, max_size=8), st.integers(0, 8))
def test_a_seal_of_either_version_and_a_reading_of_either_side(
    vectors: list[list[float]], cut: int
) -> None:
    points = with_vectors(vectors)
    read, served, old = (
        fingerprint_of(points),
        fingerprint_of(as_served(points)),
        in_version_1(points),
    )
    odd = sum(not all(map(math.isfinite, v)) for v in vectors)
    assert (read.odd("a"), served.odd("a"), read.encoding) == (odd, odd, 2 if odd else 1)
    assert in_bits(read) == old
    assert differences(read, read) == differences(read, served) == differences(old, read) == []
    assert Fingerprint.model_validate_json(read.model_dump_json()) == read
    parts = fingerprint_of(points[:cut]), fingerprint_of(points[cut:])
    assert add(*parts) == read
    assert subtract(read, parts[0]) == parts[1]


@given(st.lists(VECTORS, min_size=1, max_size=5), st.data())
def test_another_finite_number_beside_what_is_not_is_still_named(
    vectors: list[list[float]], data: st.DataObject
) -> None:
    points = with_vectors(vectors)
    at = data.draw(st.integers(0, len(vectors) - 1))
    place = data.draw(st.integers(0, 2))
    changed = [list(v) for v in vectors]
    was = changed[at][place]
    changed[at][place] = 100.0 if math.isfinite(was) else 1.0
    for other in (with_vectors(changed), as_served(with_vectors(changed))):
        for seal in (fingerprint_of(points), in_version_1(points)):
            assert [w.split()[0] for w in differences(seal, fingerprint_of(other))] == ["vector:a"]


def test_a_version_to_come_is_refused_in_clear_words() -> None:
    seal = records.seal(records.manifest())
    body = json.loads(seal.to_bytes())
    body["total"]["encoding"] = 3
    del body["sha256"]
    body["sha256"] = hashlib.sha256(canonical_json(body)).hexdigest()
    with pytest.raises(RecordUnknown, match="encoding 3 of points is newer") as refused:
        Seal.from_bytes(canonical_json(body), where="seal.json")
    assert "upgrade" in refused.value.hint


def test_what_an_older_reader_sees_in_a_seal_of_version_2_is_an_unknown_field() -> None:
    """It says that a newer version wrote it, instead of comparing what it cannot compare."""
    odd = fingerprint_of(with_vectors([[math.inf, 0.0, 0.0]])).model_dump(mode="json")
    assert set(odd) - set(fingerprint_of([point(1)]).model_dump(mode="json")) == {"not_finite"}
    assert odd["encoding"] == 2
