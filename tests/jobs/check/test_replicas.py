"""Replicas that are called Active and do not hold what the others do: which one is captured, what
is said of the source, and that no copy is blamed."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from qdrant_dr.cluster import replicas
from qdrant_dr.errors import NodeUnreachable, SnapshotFailed
from qdrant_dr.jobs.backup import capture_engine
from qdrant_dr.jobs.backup import prepare as capture_sources
from tests.support.clusters import (
    call,
    compared,
    ids_in,
    manifest_of,
    seal_of,
    the_capture,
    world_of,
)
from tests.support.driving import do, outcomes
from tests.support.servers import CLUSTER_PEERS, Node, on_one, sandbox_cluster, script
from tests.support.thorough import thorough

HOLDERS = {0: "bc", 1: "ac", 2: "ab"}
"""Of the shards of `movies`, by the letters of the nodes."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Node]]:
    """One cluster for all: what a test takes from a replica it brings back."""
    with sandbox_cluster(tmp_path_factory.mktemp("nodes")) as found:
        yield dict(zip(CLUSTER_PEERS, found, strict=True))


def ids_of(node: Node, shard: int) -> list[int]:
    page = call(
        node.url, "POST", f"/collections/movies/shards/{shard}/points/scroll", limit=10_000,
        with_payload=False,
    )  # fmt: skip
    return [p["id"] for p in page["points"]]


@contextmanager
def lost(node: Node, shard: int, count: int) -> Iterator[list[int]]:
    """So many points of one shard are not on this node, and on the others they are."""
    gone = ids_of(node, shard)[5 : 5 + count]
    path = f"/collections/movies/shards/{shard}/points"
    points = call(node.url, "POST", path, ids=gone, with_vector=True)
    on_one(node, "POST", "/collections/movies/points/delete?wait=true", points=gone)
    try:
        yield gone
    finally:
        on_one(node, "PUT", "/collections/movies/points?wait=true", points=points)


def urls(nodes: dict[str, Node]) -> Sequence[Node]:
    return tuple(nodes.values())


@pytest.mark.parametrize("lacking", ["b", pytest.param("c", marks=thorough)])
def test_the_fullest_replica_is_captured_and_the_source_is_told_of(
    nodes: dict[str, Node], tmp_path: Path, lacking: str
) -> None:
    """Whichever of the two it would have taken, had it believed the states."""
    whole = next(n for n in HOLDERS[0] if n != lacking)
    world = world_of(tmp_path / "world", urls(nodes))
    with lost(nodes[lacking], 0, 7) as gone:
        end = do(world, "backup", collections=("movies",))
    assert end.verdict == "degraded", end.reasons
    manifest = manifest_of(world, "movies")
    part = next(p for p in manifest.parts if p.shards == (0,))
    assert part.peer_id == CLUSTER_PEERS[whole]
    assert set(gone) <= ids_in(world, manifest, tmp_path / "read")[0]
    (said,) = [d for d in manifest.doubts if "replicas of shard" in d]
    assert said.startswith("the replicas of shard 0 differ although nothing is written (372 on ")
    assert said.endswith("the fullest was taken")
    assert said in the_capture(end).notes
    assert {(r.shard, r.peer_id, r.points) for r in manifest.apart} == {
        (0, CLUSTER_PEERS[whole], 372), (0, CLUSTER_PEERS[lacking], 365),
    }  # fmt: skip
    # no fault of the copy: it is sealed against the very replicas it was made of
    seal = seal_of(world, "movies")
    assert (seal.consistency, seal.reference) == ("quiesced", "source"), seal.reference_reason
    assert {o.verdict for o in outcomes(end, "verify")} == {"ok"}


def test_equal_replicas_are_not_waited_for(
    nodes: dict[str, Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[str] = []
    monkeypatch.setattr(capture_sources, "_wait", lambda unit: waits.append(unit.collection))
    world = world_of(tmp_path / "world", urls(nodes))
    end = do(world, "backup", prove="bytes")
    assert {o.verdict for o in outcomes(end, "capture")} == {"ok"}, end.outcomes
    assert waits == []
    assert all(m.apart == () for m in world.manifests("one"))


def test_it_is_taken_from_the_other_where_the_fullest_cannot_give_it(
    nodes: dict[str, Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = capture_engine.create_snapshot

    def not_on_c(node, *of, **options):  # type: ignore[no-untyped-def]
        if node.url == nodes["c"].url:
            raise SnapshotFailed("no space left")
        return create(node, *of, **options)

    monkeypatch.setattr(capture_engine, "create_snapshot", not_on_c)
    world = world_of(tmp_path / "world", urls(nodes))
    with lost(nodes["b"], 0, 2):
        end = do(world, "backup", collections=("movies",), prove="bytes")
    assert the_capture(end).verdict == "degraded", end.reasons
    manifest = manifest_of(world, "movies")
    assert any("NOT taken from the fullest" in d for d in manifest.doubts), manifest.doubts
    assert next(p for p in manifest.parts if p.shards == (0,)).peer_id == CLUSTER_PEERS["b"]


def test_a_replica_that_cannot_be_counted_is_a_doubt_and_loses_no_node(
    nodes: dict[str, Node], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`read_rate_limit` of strict mode answers 429: the node is there, and told nothing."""
    count = replicas.exact_count

    def busy(node, collection, shard, **options):  # type: ignore[no-untyped-def]
        if node.url == nodes["a"].url and shard == 1:
            raise NodeUnreachable(f"{node.url} could not count now (429: rate limit)")
        return count(node, collection, shard, **options)

    monkeypatch.setattr(replicas, "exact_count", busy)
    monkeypatch.setattr(capture_sources, "PATIENCE", timedelta(seconds=1))
    world = world_of(tmp_path / "world", urls(nodes))
    end = do(world, "backup", collections=("movies",), prove="bytes")
    assert the_capture(end).verdict == "degraded", end.reasons
    (doubt,) = manifest_of(world, "movies").doubts
    assert doubt.startswith(f"shard 1 on {nodes['a'].url} could not be counted")


def test_a_dead_replica_is_not_compared(nodes: dict[str, Node], tmp_path: Path) -> None:
    world = world_of(tmp_path / "world", urls(nodes))
    script(urls(nodes), "movies", states={"0": {str(CLUSTER_PEERS["b"]): "Dead"}})
    with lost(nodes["b"], 0, 7):
        end = do(world, "backup", collections=("movies",), prove="bytes")
    script(urls(nodes), "movies")
    assert the_capture(end).verdict == "ok", end.reasons


@pytest.mark.parametrize("reading", ["whole", "sample"])
def test_equal_replicas_are_found_equal(
    nodes: dict[str, Node], tmp_path: Path, reading: str
) -> None:
    world = world_of(tmp_path / "world", urls(nodes))
    outcome, found = compared(world, replicas=reading)
    assert (outcome.verdict, outcome.notes, found.equal) == ("ok", (), True)
    assert found.shards == 3
    assert (found.seed is None) == (reading == "whole")
    if reading == "whole":
        assert found.points == 2 * 1200


def test_ids_that_one_replica_lacks_are_named(nodes: dict[str, Node], tmp_path: Path) -> None:
    world = world_of(tmp_path / "world", urls(nodes))
    with lost(nodes["c"], 0, 3) as gone, lost(nodes["a"], 1, 2) as more:
        outcome, found = compared(world, replicas="whole")
    assert outcome.verdict == "degraded"
    named = {(d.shard, d.points): d.lacking for d in found.diverging}
    assert named == {
        (0, 3): {nodes["c"].url: tuple(gone)}, (1, 2): {nodes["a"].url: tuple(more)},
    }  # fmt: skip
    assert {(r.shard, r.peer_id, r.points) for r in found.apart if r.shard == 0} == {
        (0, CLUSTER_PEERS["b"], 372), (0, CLUSTER_PEERS["c"], 369),
    }  # fmt: skip
    assert any(f"{nodes['c'].url} lacks {gone[0]}, {gone[1]}" in n for n in outcome.notes)


def test_equal_counts_hide_nothing(nodes: dict[str, Node], tmp_path: Path) -> None:
    """One replica holds an older payload: no count shows it."""
    first = ids_of(nodes["a"], 2)[0]
    path = "/collections/movies/shards/2/points"
    points = call(nodes["a"].url, "POST", path, ids=[first], with_vector=True)
    world = world_of(tmp_path / "world", urls(nodes))
    stale = [{**points[0], "payload": {"stale": True}}]
    try:
        on_one(nodes["a"], "PUT", "/collections/movies/points?wait=true", points=stale)
        outcome, found = compared(world, replicas="whole")
        _, sampled = compared(world, replicas="sample", seed=1)
    finally:
        on_one(nodes["a"], "PUT", "/collections/movies/points?wait=true", points=points)
    assert (outcome.verdict, found.apart) == ("degraded", ())
    assert [(d.shard, d.points, d.lacking, d.differing) for d in found.diverging] == [
        (2, 1, {}, (first,))
    ]
    assert not sampled.equal  # the first window is in every sample


def test_a_sample_is_the_same_for_the_same_seed(nodes: dict[str, Node], tmp_path: Path) -> None:
    world = world_of(tmp_path / "world", urls(nodes))
    read = [compared(world, replicas="sample", seed=n)[1].points for n in (5, 5)]
    assert read[0] == read[1] > 0


def test_one_replica_has_nothing_to_differ_from(nodes: dict[str, Node], tmp_path: Path) -> None:
    world = world_of(tmp_path / "world", urls(nodes))
    outcome, found = compared(world, replicas="whole", collections=("tenants",))
    assert (outcome.verdict, found.shards) == ("ok", 0)
    assert outcome.notes == ("no shard has more than one replica",)


def test_what_could_not_be_read_is_not_equal(nodes: dict[str, Node], tmp_path: Path) -> None:
    """Two nodes are configured, the third answers at no address that is known."""
    world = world_of(tmp_path / "world", urls(nodes)[:2])
    outcome, found = compared(world, replicas="whole")
    assert found.shards == 1  # shard 2 lies on a and b
    assert outcome.verdict == "degraded"
    missed = f"the replica of shard 0 on peer {CLUSTER_PEERS['c']} was not compared"
    assert any(n.startswith(missed) for n in outcome.notes), outcome.notes


def test_writes_on_their_way_are_no_difference(nodes: dict[str, Node], tmp_path: Path) -> None:
    world, stop = world_of(tmp_path / "world", urls(nodes)), threading.Event()
    written: list[int] = []

    def write() -> None:
        while not stop.is_set():
            ids = range(10**6 + len(written), 10**6 + len(written) + 20)
            points = [{"id": n, "vector": [1.0 + n % 7] * 16} for n in ids]
            call(nodes["b"].url, "PUT", "/collections/movies/points?wait=true", points=points)
            written.extend(ids)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        _, found = compared(world, replicas="whole")
    finally:
        stop.set()
        writer.join()
    assert written
    assert found.diverging == ()
    call(nodes["a"].url, "POST", "/collections/movies/points/delete?wait=true", points=written)
