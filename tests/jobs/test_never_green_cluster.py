"""What must never be green when a cluster is captured: each of these once was, or could be.

On sandbox nodes always; on real ones with QDRANT_BIN.
"""

from __future__ import annotations

import importlib
import os
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from qdrant_dr import configfile
from qdrant_dr.cluster import Node, SnapshotScope, take_inventory
from qdrant_dr.cluster.source_nodes import open_sources
from qdrant_dr.errors import PlanRefused
from qdrant_dr.jobs.backup.prepare import prepare
from qdrant_dr.jobs.run.units import CaptureUnit
from tests.support.clusters import call, manifest_of, put, the_capture, world_of
from tests.support.driving import do
from tests.support.servers import qdrant_cluster, qdrant_server, sandbox_cluster
from tests.support.thorough import thorough
from tests.support.world import Layout, layouts, make_world

SHARDS = {"vectors": {"size": 128, "distance": "Dot"}, "replication_factor": 1}


@pytest.fixture(params=layouts("encrypted"))
def layout(request: pytest.FixtureRequest) -> Layout:
    return request.param


@pytest.mark.qdrant
@pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN")
def test_a_shard_that_was_lost_with_its_peer(tmp_path: Path, layout: Layout) -> None:
    """A peer removed by force takes the last replica of a shard with it: no node lists that shard
    any more, and a collection with custom sharding still answers everything, green."""
    with qdrant_cluster(tmp_path / "cluster") as nodes:
        url = nodes[0].url
        call(url, "PUT", "/collections/tenants?timeout=30", sharding_method="custom", **SHARDS)
        call(url, "PUT", "/collections/tenants/shards?timeout=30", shard_key="eu", shards_number=3)
        put(url, "tenants", range(300), shard_key="eu")
        lost = nodes[2].peer_id
        nodes[2].kill()
        answer = httpx.delete(f"{url}/cluster/peer/{lost}?force=true", timeout=60, trust_env=False)
        answer.raise_for_status()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            seen = [call(n.url, "GET", "/collections/tenants/cluster") for n in nodes[:2]]
            if all(len(s["local_shards"]) + len(s["remote_shards"]) == 2 for s in seen):
                break
            time.sleep(0.1)
        world = world_of(tmp_path / "world", nodes[:2], layout=layout)
        end = do(world, "backup")
        assert end.verdict == "failed", end.outcomes
        error = the_capture(end).error
        assert error is not None
        assert "it has 3 shards, but only" in error.message
        assert world.manifests("one") == []


def test_a_shard_that_nobody_has_any_more_when_it_is_looked_for_again(tmp_path: Path) -> None:
    """What a peer could not give is looked for elsewhere: less than that is not enough."""
    with sandbox_cluster(tmp_path / "nodes", holding=["movies"]) as nodes:
        config = configfile.load(world_of(tmp_path / "world", nodes).reference)
        unit = CaptureUnit(
            collection="movies", nodes=tuple(n.url for n in nodes), repositories=("one",),
            method="collection", method_reason="asked for", note="",
        )  # fmt: skip
        with open_sources(config, unit.nodes) as sources:
            assert [t.shards for t in prepare(sources, unit, load={}, shards={1}).takes] == [(1,)]
            with pytest.raises(PlanRefused, match=r"shards \[7\] have no replica any more"):
                prepare(sources, unit, load={}, shards={1, 7})


def test_a_node_that_falls_silent_behind_the_inventory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Layout
) -> None:
    """Full replicas are left, as those see it who answer. The silent one might know better: cut
    off from the others, a node goes on to call its own replicas Active."""
    with sandbox_cluster(tmp_path / "nodes", holding=["movies"]) as nodes:
        world = world_of(tmp_path / "world", nodes, layout=layout)

        def then_dies(*of: Any, **how: Any) -> Any:
            found = take_inventory(*of, **how)
            nodes[2].kill()
            return found

        job = importlib.import_module("qdrant_dr.jobs.backup.job")
        monkeypatch.setattr(job, "take_inventory", then_dies)
        end = do(world, "backup", collections=("movies",), prove="bytes")
        capture = the_capture(end)
        assert capture.verdict == "degraded", capture
        assert any(f"{nodes[2].url} does not answer" in note for note in capture.notes)
        parts = manifest_of(world, "movies").parts
        assert sorted(p.shards[0] for p in parts) == [0, 1, 2]


@pytest.mark.parametrize("method", ["collection", pytest.param("shard", marks=thorough)])
def test_an_archive_of_another_node_than_the_one_that_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, layout: Layout
) -> None:
    """An address that is now one node, now another: facts of the first, bytes of the second. Both
    hold the shard, and the numbers of the one say nothing of the other."""
    parts = importlib.import_module("qdrant_dr.jobs.backup.capture_engine")
    create, read = parts.create_snapshot, parts.blocks_of
    with sandbox_cluster(tmp_path / "nodes", holding=["movies"]) as (a, b, c), ExitStack() as stack:
        opened = {n.url: stack.enter_context(Node(n.url)) for n in (a, b, c)}
        holders = {0: (b, c), 1: (a, c), 2: (a, b), None: (a, b)}

        def elsewhere(call: Any) -> Any:
            def of_another(node: Node, scope: SnapshotScope, *more: Any, **options: Any) -> Any:
                url = next(h.url for h in holders[scope.shard] if h.url != node.url)
                return call(opened[url], scope, *more, **options)

            return of_another

        monkeypatch.setattr(parts, "create_snapshot", elsewhere(create))
        monkeypatch.setattr(parts, "blocks_of", elsewhere(read))
        world = world_of(tmp_path / "world", (a, b, c), layout=layout)
        end = do(world, "backup", collections=("movies",), method=method)
    assert end.verdict == "failed", end.outcomes
    said = " ".join(o.error.message for o in end.outcomes if o.error)
    assert "was made by peer" in said or "is on another node" in said, said
    assert not list(world.folders["one"].glob("backups/**/seal.json"))


@pytest.mark.qdrant
@pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN")
def test_a_server_alone_that_is_set_up_as_a_listener(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Layout
) -> None:
    """Its one replica is Active, and its archive has an empty log all the same: deleted points
    may be back in it, and nothing but the archive shows it."""
    monkeypatch.setenv("QDRANT__STORAGE__NODE_TYPE", "Listener")
    with qdrant_server(tmp_path / "server") as server:
        call(server.url, "PUT", "/collections/movies", **SHARDS)
        put(server.url, "movies", range(100))
        world = make_world(tmp_path / "world", server.url, repositories=("one",), layout=layout)
        end = do(world, "backup")
        assert end.verdict == "failed", end.outcomes
        assert "has no write-ahead log" in " ".join(end.reasons)
        assert do(world, "backup", method="shard").verdict == "ok"
