"""The same on a real cluster: a replica that lost points is Active, and shards move while they are
captured. With QDRANT_BIN only."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from qdrant_dr.jobs.backup import capture_engine
from tests.support.clusters import (
    call,
    compared,
    ids_in,
    manifest_of,
    put,
    seal_of,
    the_capture,
    world_of,
)
from tests.support.driving import do, outcomes
from tests.support.servers import Node, qdrant_cluster
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.qdrant,
    pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN"),
    pytest.mark.timeout(400),
]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, ...]]:
    with qdrant_cluster(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture(autouse=True)
def movies(nodes: tuple[Node, ...]) -> Iterator[None]:
    url = nodes[0].url
    call(
        url, "PUT", "/collections/movies?timeout=30",
        vectors={"size": 128, "distance": "Cosine"}, shard_number=1, replication_factor=2,
    )  # fmt: skip
    put(url, "movies", range(500))
    yield
    call(url, "DELETE", "/collections/movies?timeout=30")


def holders(nodes: tuple[Node, ...]) -> dict[Node, str]:
    """Who has the only shard, and in which state, as each says itself."""
    found = {}
    for node in nodes:
        for shard in call(node.url, "GET", "/collections/movies/cluster")["local_shards"]:
            found[node] = shard["state"]
    return found


def roll_back(node: Node) -> list[int]:
    """This node's replica alone forgets what was written last: an older archive of the shard is
    recovered into it with `no_sync`, and nobody is told."""
    path = "/collections/movies/shards/0/snapshots"
    name = call(node.url, "POST", path)["name"]
    data = httpx.get(f"{node.url}{path}/{name}", timeout=60, trust_env=False).content
    put(node.url, "movies", range(500, 507))
    httpx.post(
        f"{node.url}{path}/upload?priority=no_sync&wait=true",
        files={"snapshot": (name, data)}, timeout=60, trust_env=False,
    ).raise_for_status()  # fmt: skip
    return list(range(500, 507))


@pytest.mark.parametrize("which", [0, 1])
def test_acknowledged_points_that_an_active_replica_lacks(
    nodes: tuple[Node, ...], tmp_path: Path, which: int
) -> None:
    behind = list(holders(nodes))[which]
    whole = next(n for n in holders(nodes) if n is not behind)
    lost = roll_back(behind)
    assert set(holders(nodes).values()) == {"Active"}
    world = world_of(tmp_path / "world", nodes)
    outcome, found = compared(world, replicas="whole")
    assert outcome.verdict == "degraded"
    ((shard, lacking),) = [(d.shard, d.lacking) for d in found.diverging]
    assert (shard, lacking) == (0, {behind.url: tuple(lost)})
    end = do(world, "backup", collections=("movies",))
    assert the_capture(end).verdict == "degraded", end.reasons
    manifest = manifest_of(world, "movies")
    assert [p.peer_id for p in manifest.parts] == [whole.peer_id]
    assert set(lost) <= ids_in(world, manifest, tmp_path / "read")[0]
    assert {r.points for r in manifest.apart} == {500, 507}
    seal = seal_of(world, "movies")
    assert (seal.points, seal.reference) == (507, "source"), seal.reference_reason
    assert {o.verdict for o in outcomes(end, "verify")} == {"ok"}


@pytest.mark.parametrize("moment", ["before the archive", "after the archive"])
def test_a_shard_that_is_moved_while_it_is_captured(
    nodes: tuple[Node, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """By the cluster's own move, to the node that does not have it."""
    create, moved = capture_engine.create_snapshot, threading.Event()
    acknowledged: list[int] = []

    def move(url: str) -> None:
        if moved.is_set():
            return
        moved.set()
        sender = next(n for n in nodes if n.url == url)
        target = next(n for n in nodes if n not in holders(nodes))
        shift = {"shard_id": 0, "from_peer_id": sender.peer_id, "to_peer_id": target.peer_id}
        call(url, "POST", "/collections/movies/cluster?timeout=30", move_shard=shift)
        eventually(lambda: set(holders(nodes)) != {sender} and sender not in holders(nodes))

    def moving(node: Any, *of: Any, **options: Any) -> Any:
        if moment == "before the archive":
            move(node.url)
        answer = create(node, *of, **options)
        if moment == "after the archive":
            move(node.url)
        return answer

    monkeypatch.setattr(capture_engine, "create_snapshot", moving)
    put(nodes[0].url, "movies", range(1000, 1200))
    acknowledged += range(1000, 1200)
    world = world_of(tmp_path / "world", nodes)
    end = do(world, "backup", collections=("movies",))
    assert the_capture(end).verdict == "degraded", end.outcomes
    manifest = manifest_of(world, "movies")
    assert set(acknowledged) <= ids_in(world, manifest, tmp_path / "read")[0]
    assert seal_of(world, "movies").points == 700
    said = "was moved from" if moment == "after the archive" else "they were taken again"
    assert any(said in d for d in manifest.doubts), manifest.doubts
