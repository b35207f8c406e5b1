"""What can be sealed, what it then says, and what is compared with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr.errors import (
    ContentDiffers,
    CountDiffers,
    NothingChecked,
    NotSealable,
    OperationBehind,
)
from qdrant_dr.proof import (
    Examination,
    LiveSample,
    ReadBack,
    compare_replayed,
    compare_served,
    compare_with_seal,
    digest_point,
    plan_seal,
    prove,
)
from qdrant_dr.proof.fingerprint import Fingerprinter, fingerprint_of, in_bits
from qdrant_dr.records import Manifest, Seal
from tests.support.archives import backup
from tests.support.records import NOW
from tests.support.replay import truth


@pytest.fixture
def read(examined: Callable[[str], Examination]) -> Callable[[str], ReadBack]:
    def of(set_name: str) -> ReadBack:
        found = examined(set_name).read_back
        assert found is not None
        return found

    return of


def seal_of(
    manifest: Manifest,
    read: ReadBack,
    live: LiveSample | None = None,
    previous: Seal | None = None,
    drift_limit: float = 0.5,
) -> Seal:
    return plan_seal(manifest, read, live, previous, drift_limit=drift_limit, now=NOW)


def with_sample(read: ReadBack, points: Any) -> ReadBack:
    """As if these points had been asked for."""
    sampled = {p["id"]: digest_point(p) for p in points}
    return replace(read, shards=(replace(read.shards[0], sampled=sampled), *read.shards[1:]))


def test_a_settled_source_with_a_live_sample(read: Callable[[str], ReadBack]) -> None:
    manifest, _ = backup("rich")
    points = truth("rich")[:64]
    live = LiveSample({(0, p["id"]): digest_point(p) for p in points})
    seal = seal_of(manifest, with_sample(read("rich"), points), live)
    assert (seal.consistency, seal.reference, seal.live_sample) == ("quiesced", "source", 64)
    assert (seal.points, seal.suspect) == (550, ())
    assert seal.total == fingerprint_of(truth("rich"))
    assert seal.manifest_sha256 == manifest.sha256
    assert Seal.from_bytes(seal.to_bytes(), where="seal.json") == seal


def test_a_live_point_is_compared_in_its_own_shard(read: Callable[[str], ReadBack]) -> None:
    """With custom sharding another shard may have another point of the same id."""
    points = truth("rich")[:2]
    first = with_sample(read("rich"), points).shards[0]
    other = replace(
        first,
        count=replace(first.count, shard=9),
        sampled={points[0]["id"]: digest_point(points[1])},
    )
    live = LiveSample({(0, p["id"]): digest_point(p) for p in points})
    both = replace(read("rich"), shards=(first, other))
    assert {s for s, _ in both.sampled} == {0, 9}
    assert all(both.sampled[place] == digests for place, digests in live.points.items())


@pytest.mark.parametrize("change", ["payload", "vector", "missing", "extra payload key"])
def test_a_live_sample_that_differs(change: str, read: Callable[[str], ReadBack]) -> None:
    manifest, _ = backup("rich")
    points = [dict(p) for p in truth("rich")[:64]]
    other = with_sample(read("rich"), points)
    if change == "payload":
        points[3]["payload"] = {**points[3]["payload"], "f": 2.0}
    elif change == "vector":
        points[3]["vector"] = {k: v for k, v in points[3]["vector"].items() if k != "text"}
    elif change == "missing":
        points[3]["id"] = 10**12
    else:
        points[3]["payload"] = {**points[3]["payload"], "new": None}
    live = LiveSample({(0, p["id"]): digest_point(p) for p in points})
    with pytest.raises(ContentDiffers, match="1 of 64 points"):
        seal_of(manifest, other, live)


def test_no_live_sample_is_no_comparison_with_the_source(
    read: Callable[[str], ReadBack],
) -> None:
    manifest, _ = backup("basic")
    for live in (None, LiveSample({})):
        seal = seal_of(manifest, read("basic"), live)
        assert (seal.consistency, seal.reference) == ("quiesced", "self")
        assert "no point was compared" in seal.reference_reason


def test_an_empty_collection_equals_its_source(read: Callable[[str], ReadBack]) -> None:
    manifest, _ = backup("empty")
    assert seal_of(manifest, read("empty")).reference == "source"


def test_in_motion(read: Callable[[str], ReadBack]) -> None:
    manifest, _ = backup("motion", operations=[300])
    seal = seal_of(manifest, read("motion"))
    assert (seal.consistency, seal.reference, seal.live_sample) == ("in-motion", "self", 0)
    (shard,) = seal.shards
    assert (shard.operation, shard.points, len(shard.replayed_ids)) == (316, 3000, 500)


def test_an_archive_that_misses_acknowledged_writes(read: Callable[[str], ReadBack]) -> None:
    manifest, _ = backup("motion", operations=[317])
    with pytest.raises(OperationBehind, match="ends at operation 316, the source had applied 317"):
        seal_of(manifest, read("motion"))


def test_a_count_that_differs_though_nothing_was_written(
    read: Callable[[str], ReadBack],
) -> None:
    manifest, _ = backup("sharded", counts=[282, 319, 300])
    with pytest.raises(CountDiffers, match="shard 1 holds 318 points, the source counted 319"):
        seal_of(manifest, read("sharded"))


@pytest.mark.parametrize(
    ("name", "operation", "error"),
    [
        ("shard-0", 209, CountDiffers),
        ("stream-0", 209, CountDiffers),
        ("shard-0", 210, OperationBehind),
        ("stream-0", 210, OperationBehind),
    ],
)
def test_deleted_points_that_come_back_are_never_sealed(
    name: str, operation: int, error: type[Exception], scratch: Path
) -> None:
    """Archives without a log, taken while the optimizer worked."""
    manifest, reader = backup("busy", name, operations=[operation])
    result = prove(manifest, reader, depth="content", folder=scratch)
    assert not result.passed
    assert result.read_back is not None
    assert result.read_back.points == {"shard-0": 5000, "stream-0": 3200}[name]
    with pytest.raises(error):
        seal_of(manifest, result.read_back)


def test_the_log_of_a_busy_collection_makes_it_whole(read: Callable[[str], ReadBack]) -> None:
    manifest, _ = backup("busy")
    seal = seal_of(manifest, read("busy"))
    assert (seal.consistency, seal.points) == ("quiesced", 3000)


def test_shards_that_were_not_read(read: Callable[[str], ReadBack]) -> None:
    manifest, _ = backup("sharded")
    two = replace(read("sharded"), shards=read("sharded").shards[:2])
    with pytest.raises(NothingChecked):
        seal_of(manifest, two)


def test_nothing_shows_that_the_writes_are_inside(read: Callable[[str], ReadBack]) -> None:
    manifest, _ = backup("sharded", operations=[5, None, 5])
    with pytest.raises(NotSealable, match=r"no operation numbers of shards \[1\]"):
        seal_of(manifest, read("sharded"))


def test_an_archive_without_a_log_of_a_source_in_motion(scratch: Path) -> None:
    manifest, reader = backup("busy", "shard-0", operations=[200])
    read = prove(manifest, reader, depth="content", folder=scratch).read_back
    assert read is not None
    with pytest.raises(NotSealable, match="shard-0 has no write-ahead log"):
        seal_of(manifest, read)


def test_no_counts_no_source(read: Callable[[str], ReadBack]) -> None:
    manifest, _ = backup("basic")
    facts = tuple(
        s.model_copy(update={"count_before": None, "count_after": None}) for s in manifest.shards
    )
    live = LiveSample({(0, 0): digest_point(truth("basic")[0])})
    other = with_sample(read("basic"), truth("basic")[:1])
    seal = seal_of(manifest.model_copy(update={"shards": facts}), other, live)
    assert (seal.reference, seal.reference_reason) == ("self", "the source gave no exact counts")


def test_content_drift_is_reported(read: Callable[[str], ReadBack]) -> None:
    manifest, _ = backup("basic")
    first = seal_of(manifest, read("basic"))
    same = seal_of(manifest, read("basic"), previous=first)
    assert (same.suspect, same.previous_backup_id) == ((), first.backup_id)
    single, _ = backup("single")
    dropped = seal_of(single, read("single"), previous=first)
    assert any(s.startswith("1 points, 2000 in the backup before") for s in dropped.suspect)
    assert any("about 100% of the points" in s for s in dropped.suspect)
    motion, _ = backup("motion")
    busy, _ = backup("busy")
    moved = seal_of(motion, read("motion"), previous=seal_of(busy, read("busy")), drift_limit=0.9)
    assert len(moved.suspect) == 1, "other points, as many"
    rich, _ = backup("rich")
    lost = replace(read("rich"), shards=(_without(read("rich"), "vector:image"),))
    suspects = seal_of(rich, lost, previous=seal_of(rich, read("rich"))).suspect
    assert any("0 points with vector:image" in s for s in suspects)


def _without(read: ReadBack, name: str) -> Any:
    (shard,) = read.shards
    components = {n: c for n, c in shard.settled.components.items() if n != name}
    settled = shard.settled.model_copy(update={"components": components})
    return replace(shard, settled=settled)


def test_replayed_vectors_of_another_machine_are_counted(
    read: Callable[[str], ReadBack], sealed: Callable[[str], Seal]
) -> None:
    manifest, _ = backup("motion")
    seal, mine = sealed("motion"), read("motion")
    (shard,) = mine.shards
    assert shard.replayed is not None
    component = shard.replayed.components["vector:"]
    components = {
        **shard.replayed.components,
        "vector:": component.model_copy(update={"sum": "f" * 64, "buckets": "1" * 4096}),
    }
    other = replace(shard, replayed=shard.replayed.model_copy(update={"components": components}))
    compared = compare_with_seal(replace(mine, shards=(other,)), seal, manifest)
    assert (compared.equal, compared.within_tolerance) == (True, 500)


@pytest.mark.parametrize("what", ["replayed payload", "settled vector", "replayed id", "gone"])
def test_nothing_else_may_differ(
    what: str, read: Callable[[str], ReadBack], sealed: Callable[[str], Seal]
) -> None:
    manifest, _ = backup("motion")
    (shard,) = read("motion").shards
    assert shard.replayed is not None
    if what == "replayed payload":
        parts = dict(shard.replayed.components)
        parts["payload"] = parts["payload"].model_copy(update={"sum": "0" * 64})
        shard = replace(shard, replayed=shard.replayed.model_copy(update={"components": parts}))
    elif what == "settled vector":
        parts = dict(shard.settled.components)
        parts["vector:"] = parts["vector:"].model_copy(update={"sum": "0" * 64})
        shard = replace(shard, settled=shard.settled.model_copy(update={"components": parts}))
    elif what == "replayed id":
        shard = replace(shard, replayed_ids=(*shard.replayed_ids[:-1], 10**9))
    shards = () if what == "gone" else (shard,)
    compared = compare_with_seal(replace(read("motion"), shards=shards), sealed("motion"), manifest)
    assert not compared.equal
    assert compared.within_tolerance == 0


@pytest.mark.parametrize("set_name", ["basic", "rich", "sharded", "empty", "motion"])
def test_what_a_server_serves(
    set_name: str, read: Callable[[str], ReadBack], sealed: Callable[[str], Seal]
) -> None:
    compared = compare_served(
        truth(set_name), sealed(set_name).shards, read(set_name).replayed_points
    )
    assert (compared.faults, compared.points) == ((), len(truth(set_name)))


def test_what_a_server_serves_of_a_log_within_the_tolerance(
    read: Callable[[str], ReadBack], sealed: Callable[[str], Seal]
) -> None:
    seal, expected = sealed("motion"), read("motion").replayed_points
    late = set(seal.shards[0].replayed_ids)

    def served(by: float, ids: set[Any]) -> list[dict[str, Any]]:
        return [
            {**p, "vector": [p["vector"][0] + by, *p["vector"][1:]]} if p["id"] in ids else p
            for p in truth("motion")
        ]

    near = compare_served(served(5e-7, late), seal.shards, expected)
    assert near.equal
    assert near.within_tolerance == 500
    assert not compare_served(served(5e-6, late), seal.shards, expected).equal
    assert not compare_served(served(5e-7, late), seal.shards).equal, "nothing to compare with"
    settled = {p["id"] for p in truth("motion")} - late
    assert not compare_served(served(5e-7, settled), seal.shards, expected).equal


@pytest.mark.parametrize("what", ["one less", "one more", "payload", "twice"])
def test_a_server_that_serves_something_else(what: str, sealed: Callable[[str], Seal]) -> None:
    points = [dict(p) for p in truth("basic")]
    if what == "one less":
        del points[5]
    elif what == "one more":
        points.append({**points[5], "id": 10**9})
    elif what == "payload":
        points[5]["payload"] = {**points[5]["payload"], "year": 1955.0}
    else:
        points.append(points[5])
    compared = compare_served(points, sealed("basic").shards)
    assert "content-differs" in [f.code for f in compared.faults]


def test_points_compared_one_by_one() -> None:
    point = {"id": 1, "payload": {"a": 1}, "vector": {"x": [1.0, 2.0]}}
    for change, wrong, within in (
        ({}, [], 0),
        ({"vector": {"x": [1.0, 2.0 + 5e-7]}}, [], 1),
        ({"vector": {"x": [1.0, 2.1]}}, [1], 0),
        ({"vector": {"x": [1.0]}}, [1], 0),
        ({"vector": {"y": [1.0, 2.0]}}, [1], 0),
        ({"vector": {"x": [1.0, None]}}, [1], 0),
        ({"payload": {"a": 1.0}}, [1], 0),
        ({"id": 2}, [1, 2], 0),
    ):
        other = {**point, **change}
        assert compare_replayed([point], {other["id"]: other}) == (wrong, within), change


def of_points(read: ReadBack, points: list[dict[str, Any]]) -> ReadBack:
    """As if the only shard held these."""
    work = Fingerprinter()
    work.add((p["id"], p["payload"], p["vector"]) for p in points)
    (shard,) = read.shards
    count = replace(shard.count, points=len(points))
    fields = {"count": count, "settled": work.record(), "sketch": work.sketch, "replayed": None}
    return replace(read, shards=(replace(shard, **fields, replayed_ids=()),))


def test_a_previous_seal_of_another_version_makes_nothing_suspect(
    read: Callable[[str], ReadBack],
) -> None:
    """Half of the vectors are not finite: by the other version's digests all those were changed."""
    manifest, _ = backup("motion", operations=[300])
    odd = [-math.inf, math.inf, -math.nan]
    points = [
        {"id": n, "payload": {}, "vector": [odd[n % 3] if n % 2 else 1.0, n]} for n in range(500)
    ]
    reading = of_points(read("motion"), points)
    new = seal_of(manifest, reading)
    old = new.model_copy(
        update={
            "total": in_bits(new.total),
            "shards": (new.shards[0].model_copy(update={"settled": in_bits(new.total)}),),
            "sketch": reading.sketch_in(1),
        }
    )
    assert compare_with_seal(reading, old, manifest).faults == ()
    assert compare_with_seal(reading, new, manifest).faults == ()
    for previous in (new, old):
        assert seal_of(manifest, reading, previous=previous, drift_limit=0.01).suspect == ()
    other = of_points(reading, [{**p, "vector": [None, 0.0]} for p in points])
    for previous in (new, old):
        (reason,) = seal_of(manifest, other, previous=previous, drift_limit=0.01).suspect
        assert "gone or different" in reason
    assert reading.sketch_in(1) != reading.sketch_in(2)


def test_a_live_source_that_says_null_is_what_the_engine_read(
    read: Callable[[str], ReadBack],
) -> None:
    manifest, _ = backup("rich")
    points = [dict(p) for p in truth("rich")[:8]]
    served = [{**p, "vector": {"odd": [None, 1.0]}} for p in points]
    engine = [{**p, "vector": {"odd": [-math.inf, 1.0]}} for p in points]
    live = LiveSample({(0, p["id"]): digest_point(p) for p in served})
    assert seal_of(manifest, with_sample(read("rich"), engine), live).reference == "source"
    other = LiveSample({(0, p["id"]): digest_point(p) for p in points})
    with pytest.raises(ContentDiffers, match="8 of 8 points"):
        seal_of(manifest, with_sample(read("rich"), engine), other)


def test_replayed_vectors_that_are_not_finite_are_equal_to_null() -> None:
    read = [{"id": 1, "payload": {}, "vector": {"a": [math.inf, 1.0], "b": [[-math.nan], [2.0]]}}]
    null = {1: {"id": 1, "payload": {}, "vector": {"a": [None, 1.0 + 2e-7], "b": [[None], [2.0]]}}}
    assert compare_replayed(read, null) == ([], 1)
    number = {1: {**null[1], "vector": {"a": [3.0, 1.0], "b": [[None], [2.0]]}}}
    assert compare_replayed(read, number) == ([1], 0)
    swapped = {1: {**null[1], "vector": {"a": [1.0, None], "b": [[None], [2.0]]}}}
    assert compare_replayed(read, swapped) == ([1], 0)
