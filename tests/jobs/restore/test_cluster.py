"""Restores between topologies: every replica on every node holds what was backed up.

On sandbox nodes always; on real ones with QDRANT_BIN.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from qdrant_dr.records import Restored
from tests.support.clusters import movies, tenants
from tests.support.contents import aliases_of, ask, get, replicas, same_content, same_settings
from tests.support.driving import do, outcomes
from tests.support.replay import ReplaySource
from tests.support.servers import Node, Server, qdrant_cluster, sandbox_cluster, sandbox_server
from tests.support.world import World, make_world

pytestmark = pytest.mark.timeout(170)
needs_binary = pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN")
NAMES = ("movies", "tenants")
ALIASES = {"films": "movies", "cinema": "movies", "shops": "tenants"}
INDEXES: dict[str, list[tuple[str, Any]]] = {
    "movies": [("rank", "integer"), ("title", {"type": "text", "tokenizer": "word"})],
    "tenants": [("rank", {"type": "integer", "lookup": True, "range": False})],
}
Points = list[dict[str, Any]]


@dataclass(frozen=True)
class Before:
    """What was backed up: of each collection its points by shard, and what the server said; the
    key of each shard of tenants."""

    points: dict[str, dict[int, Points]]
    info: dict[str, Any]
    keys: dict[int, str]


@dataclass(frozen=True)
class Source:
    world: World
    before: Before


def before(nodes: Sequence[Node]) -> Before:
    urls = [n.url for n in nodes]
    points = {}
    for name in NAMES:
        held = replicas(urls, name)
        assert all(replica == of[0] for of in held.values() for replica in of)
        points[name] = {shard: of[0] for shard, of in held.items()}
    info = {name: get(urls[0], f"/collections/{name}") for name in NAMES}
    return Before(points, info, keys_of(urls[0]))


def with_aliases(url: str) -> None:
    actions = [
        {"create_alias": {"alias_name": a, "collection_name": c}} for a, c in ALIASES.items()
    ]
    ask(url, "POST", "/collections/aliases", {"actions": actions})


def world_of(folder: Path, nodes: Sequence[Node]) -> World:
    cluster = {"name": "shop", "nodes": [n.url for n in nodes]}
    world = make_world(folder, nodes[0].url, repositories=("one",), cluster=cluster)
    end = do(world, "backup")
    assert end.verdict == "ok", end.reasons
    return world


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Proven backups of a sandbox cluster that is gone: movies and tenants, with aliases."""
    folder = tmp_path_factory.mktemp("source")
    with sandbox_cluster(folder / "nodes") as nodes:
        with_aliases(nodes[0].url)
        return Source(world_of(folder / "world", nodes), before(nodes))


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, ...]]:
    """An empty cluster for all tests here: each removes what it restored."""
    with sandbox_cluster(tmp_path_factory.mktemp("target"), holding=()) as nodes:
        yield nodes


@contextmanager
def reachable(world: World, nodes: Sequence[Node | Server]) -> Iterator[None]:
    """The addresses of these nodes are known to the configuration."""
    text = world.file.read_text()
    body = yaml.safe_load(text)
    body["cluster"]["nodes"] = [n.url for n in nodes]
    world.file.write_text(yaml.safe_dump(body))
    yield
    world.file.write_text(text)


def bring_back(world: World, nodes: Sequence[Node | Server], name: str, **request: Any) -> Restored:
    with reachable(world, nodes):
        end = do(
            world, "restore", backups=[f"{name}@latest-proven"], to=nodes[0].url,
            dry_run=False, **request,
        )  # fmt: skip
    assert end.verdict == "ok", [end.reasons, end.error]
    (outcome,) = outcomes(end, "restore")
    assert isinstance(outcome.detail, Restored)
    assert outcome.detail.fingerprint_equal
    assert (outcome.detail.route, outcome.detail.created) == ("shards", True)
    return outcome.detail


def drop(nodes: Sequence[Node], *names: str) -> None:
    for name in names:
        ask(nodes[0].url, "DELETE", f"/collections/{name}?timeout=30")
    assert aliases_of(nodes[0].url) == {}
    assert get(nodes[0].url, "/collections")["collections"] == []


def is_back(
    nodes: Sequence[Node], was: Before, name: str, copies: int, *, but: Sequence[str] = ()
) -> None:
    """Content of every replica, settings, indexes, shard keys and aliases, on every node."""
    urls = [n.url for n in nodes]
    same_content(urls, name, was.points[name], copies)
    for url in urls:
        same_settings(url, name, was.info[name], but=but)
        back = {a for a, holder in aliases_of(url).items() if holder == name}
        assert back == {a for a, holder in ALIASES.items() if holder == name}
        if name == "tenants":
            assert keys_of(url) == was.keys
        assert get(url, f"/collections/{name}/snapshots") == []


def keys_of(url: str) -> dict[int, str]:
    """The key of each shard of tenants, as one node knows it."""
    cluster = get(url, "/collections/tenants/cluster")
    return {
        s["shard_id"]: s["shard_key"] for s in cluster["local_shards"] + cluster["remote_shards"]
    }


def test_three_shards_of_a_cluster_on_one_node(source: Source, tmp_path: Path) -> None:
    with sandbox_server(tmp_path / "target") as server:
        detail = bring_back(source.world, [server], "movies", parallel=3)
        was = source.before.info["movies"]
        assert detail.points_restored == 1200
        by_shard = source.before.points["movies"]
        same_content([server.url], "movies", by_shard, 1)
        same_settings(server.url, "movies", was)
        assert aliases_of(server.url) == {"films": "movies", "cinema": "movies"}


def test_a_cluster_with_another_replication_factor(
    source: Source, scratch: tuple[Node, ...]
) -> None:
    bring_back(source.world, scratch, "movies", replication_factor=3)
    is_back(scratch, source.before, "movies", 3, but=["params.replication_factor "])
    drop(scratch, "movies")


def test_shard_keys_of_a_cluster_that_is_gone(source: Source, scratch: tuple[Node, ...]) -> None:
    bring_back(source.world, scratch, "tenants")
    copies = int(source.before.info["tenants"]["config"]["params"]["replication_factor"])
    is_back(scratch, source.before, "tenants", copies)
    drop(scratch, "tenants")


@needs_binary
def test_one_node_comes_back_on_three_with_two_replicas(tmp_path: Path) -> None:
    with ReplaySource(["sharded"]) as source:
        world = make_world(tmp_path / "world", source.url)
        assert do(world, "backup").verdict == "ok"
    with qdrant_cluster(tmp_path / "cluster", 3) as nodes:
        urls = "".join(f"\n  - {node.url}" for node in nodes)
        text = world.file.read_text()
        world.file.write_text(text.replace(f"\n  - {source.url}", urls))
        end = do(
            world, "restore", backups=["sharded@latest-proven"], to=nodes[0].url,
            replication_factor=2, dry_run=False,
        )  # fmt: skip
        assert end.verdict == "ok", end.reasons
        (outcome,) = outcomes(end, "restore")
        assert isinstance(outcome.detail, Restored)
        assert (outcome.detail.route, outcome.detail.fingerprint_equal) == ("shards", True)
        held: dict[int, list[int]] = {}
        for node in nodes:
            where = httpx.get(f"{node.url}/collections/sharded/cluster", timeout=30).json()[
                "result"
            ]
            for shard in where["local_shards"]:
                assert shard["state"] == "Active"
                held.setdefault(shard["shard_id"], []).append(shard["points_count"])
        assert {shard: len(counts) for shard, counts in held.items()} == {0: 2, 1: 2, 2: 2}
        assert all(len(set(counts)) == 1 for counts in held.values())


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Source, tuple[Node, ...]]]:
    """Three real nodes, filled and backed up."""
    folder = tmp_path_factory.mktemp("real")
    with qdrant_cluster(folder / "cluster") as nodes:
        url = nodes[0].url
        movies(url)
        tenants(url)
        for name, indexes in INDEXES.items():
            for field, schema in indexes:
                body = {"field_name": field, "field_schema": schema}
                ask(url, "PUT", f"/collections/{name}/index?wait=true", body)
        with_aliases(url)
        world = world_of(folder / "world", nodes)
        yield Source(world, before(nodes)), nodes


@needs_binary
def test_deleted_and_restored_into_the_same_cluster(
    filled: tuple[Source, tuple[Node, ...]],
) -> None:
    source, nodes = filled
    drop(nodes, *NAMES)
    for name, copies in (("movies", 2), ("tenants", 1)):
        bring_back(source.world, nodes, name)
        is_back(nodes, source.before, name, copies)


@needs_binary
@pytest.mark.parametrize("number", [1, 2])
def test_into_fewer_nodes(
    filled: tuple[Source, tuple[Node, ...]], tmp_path: Path, number: int
) -> None:
    source, _ = filled
    with qdrant_cluster(tmp_path / "fewer", number) as nodes:
        factor = None if number == 2 else 1
        bring_back(source.world, nodes, "movies", replication_factor=factor)
        but = ["params.replication_factor "] if factor else []
        is_back(nodes, source.before, "movies", number, but=but)
        bring_back(source.world, nodes, "tenants")
        is_back(nodes, source.before, "tenants", 1)
