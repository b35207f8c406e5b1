"""Server drills of backups in several parts: of clusters, custom sharding, kept without a log."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from qdrant_dr.cluster import Node, collection_names
from qdrant_dr.records import Drilled, RunEnd
from tests.support.driving import do, outcomes
from tests.support.reframed import by_shard
from tests.support.replay import ReplaySource
from tests.support.servers import sandbox_cluster, sandbox_server
from tests.support.world import World, lent, make_world, seed

NO_BINARY = pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="QDRANT_BIN is not set")
PHASES = ["pick", "fetch", "start", "recover", "ready", "prove", "tear down"]


@pytest.fixture(params=["sandbox", pytest.param("server", marks=[pytest.mark.qdrant, NO_BINARY])])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a drill starts."""
    if request.param == "sandbox":
        monkeypatch.delenv("QDRANT_BIN", raising=False)
    return str(request.param)


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Proven backups of a cluster that is gone: movies (3 shards, 2 replicas), tenants (keys)."""
    folder = tmp_path_factory.mktemp("cluster")
    with sandbox_cluster(folder / "nodes") as nodes:
        cluster = {"name": "shop", "nodes": [n.url for n in nodes]}
        world = make_world(folder / "world", nodes[0].url, cluster=cluster)
        end = do(world, "backup")
        assert end.verdict == "ok", end.reasons
    return world


@pytest.fixture(scope="module")
def three_shards(tmp_path_factory: pytest.TempPathFactory) -> World:
    with ReplaySource(["sharded"]) as source:
        world = make_world(tmp_path_factory.mktemp("sharded"), source.url)
        assert do(world, "backup").verdict == "ok"
    return world


@pytest.fixture
def sharded(three_shards: World) -> Iterator[World]:
    """A proven backup of three shards of one node that is gone."""
    with lent(three_shards) as mine:
        yield mine


def drilled(end: RunEnd) -> Drilled:
    (outcome,) = outcomes(end, "drill")
    assert isinstance(outcome.detail, Drilled), outcome
    return outcome.detail


@pytest.mark.parametrize(("collection", "points"), [("movies", 1200), ("tenants", 400)])
def test_a_clusters_backup_on_one_node(
    backups: World, kind: str, collection: str, points: int
) -> None:
    parts = {m.collection: len(m.parts) for m in backups.manifests("one")}
    assert parts == {"movies": 3, "tenants": 2}
    end = do(backups, "drill", collection=collection, engine="server")
    assert end.verdict == "ok", [o.error for o in end.outcomes]
    found = drilled(end)
    assert (found.points_restored, found.points_expected) == (points, points)
    assert found.fingerprint_equal is True
    assert found.target_kind == kind
    assert [p.name for p in found.phases] == PHASES
    assert found.teardown == "removed"
    assert list((backups.file.parent / "spool").glob("qdr-drill-*")) == []


def test_shards_of_one_node_with_their_log(sharded: World, kind: str) -> None:
    manifest = by_shard(sharded, "sharded")
    found = drilled(do(sharded, "drill", collection="sharded", engine="server", pick="latest"))
    assert [p.kind for p in manifest.parts] == ["shard"] * 3
    assert (found.points_restored, found.fingerprint_equal) == (900, True)


def test_a_shard_without_a_log(tmp_path: Path, kind: str) -> None:
    with sandbox_server(tmp_path / "source") as server:
        seed(server.url, "plain", points=300)
        world = make_world(tmp_path / "world", server.url)
        end = do(world, "backup", method="shard")
        assert end.verdict == "ok", end.reasons
    (manifest,) = world.manifests("one")
    assert [(p.kind, p.wal) for p in manifest.parts] == [("shard", False)]
    found = drilled(do(world, "drill", engine="server", pick="latest"))
    assert (found.points_restored, found.fingerprint_equal) == (300, True)


def test_a_scratch_of_several_nodes_that_cannot_all_be_reached(
    sharded: World, tmp_path: Path
) -> None:
    """A whole archive would lie on one of them and look complete: it goes shard by shard."""
    with sandbox_cluster(tmp_path / "scratch", holding=()) as nodes:
        on_scratch(sharded, nodes[0].url)
        end = do(sharded, "drill", engine="server", pick="latest")
        with Node(nodes[0].url) as node:
            left = collection_names(node)
    (outcome,) = outcomes(end, "drill")
    assert outcome.error is not None
    assert outcome.error.code == "recover-failed"
    assert "none of the peers" in outcome.error.message
    assert drilled(end).teardown == "removed"
    assert left == ()


def test_keys_on_a_scratch_without_cluster_mode_are_refused(backups: World, tmp_path: Path) -> None:
    with sandbox_server(tmp_path / "scratch") as server:
        before = backups.file.read_text()
        on_scratch(backups, server.url)
        try:
            end = do(backups, "drill", collection="tenants", engine="server")
        finally:
            backups.file.write_text(before)
    (outcome,) = outcomes(end, "drill")
    assert end.verdict == "failed"
    assert outcome.error is not None
    assert outcome.error.code == "plan-refused"
    assert "cluster" in outcome.error.hint
    assert drilled(end).points_restored is None


def test_one_rotten_part_fails_the_drill_and_the_copy(sharded: World) -> None:
    manifest = by_shard(sharded, "sharded")
    (part,) = sharded.folders["one"].glob(f"backups/**/{manifest.backup_id}/shard-1.snapshot")
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    end = do(sharded, "drill", engine="server", pick="latest", repository="one")
    (outcome,) = outcomes(end, "drill")
    assert outcome.error is not None
    assert outcome.error.code == "bytes-differ"
    assert "shard-1" in outcome.error.message
    assert [p.name for p in drilled(end).phases] == ["pick", "fetch"]


def on_scratch(world: World, url: str) -> None:
    body = yaml.safe_load(world.file.read_text())
    body["drill"] = {"scratch": {"url": url, "disposable": True}}
    world.file.write_text(yaml.safe_dump(body))
