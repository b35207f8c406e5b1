"""Fingerprints: independent of order and grouping, and telling where they differ."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from qdrant_dr.proof.encoding import digest_point
from qdrant_dr.proof.fingerprint import (
    SKETCH,
    Fingerprinter,
    add,
    changed_share,
    differences,
    fingerprint_of,
    merge_sketches,
    subtract,
)
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


def test_what_one_point_loses_another_does_not_replace() -> None:
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
