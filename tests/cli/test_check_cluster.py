"""`check` of a cluster: addresses, versions, clocks, replicas, listeners, where snapshots lie."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from qdrant_dr.config import Config
from qdrant_dr.jobs.check import check
from qdrant_dr.jobs.check.nodes import ClusterCheck
from qdrant_dr.jobs.check.rows import CheckRow
from tests.support.replay import FIXTURES, ReplaySource, Served, expected
from tests.support.servers import qdrant_cluster, sandbox_server

TOPOLOGY = expected()["sets"]["cluster"]["topology"]
PEERS = {n: TOPOLOGY["movies"][n]["cluster"]["peer_id"] for n in "abc"}


class Scripted:
    """Three nodes that say what the nodes of a real cluster said."""

    def __init__(self, nodes: dict[str, ReplaySource]) -> None:
        self.nodes = nodes

    def of(self, node: str, collection: str = "movies") -> dict[str, Any]:
        """What this node says of where the collection lies; to be changed."""
        return self.nodes[node].collections[collection].cluster

    def everywhere(self, shard: int, on: str, state: str, collection: str = "movies") -> None:
        """All nodes say that the replica of this shard on node `on` is in this state."""
        for name in self.nodes:
            about = self.of(name, collection)
            for replica in (*about["local_shards"], *about["remote_shards"]):
                if (
                    replica["shard_id"] == shard
                    and replica.get("peer_id", PEERS[name]) == PEERS[on]
                ):
                    replica["state"] = state

    def config(self, *names: str, **changes: Any) -> Config:
        """One that names these nodes under `nodes`, the others under `peers`."""
        named = names or ("a",)
        body: dict[str, Any] = {
            "format": 1,
            "cluster": {
                "name": "prod",
                "nodes": [self.nodes[n].url for n in named],
                "peers": {str(PEERS[n]): self.nodes[n].url for n in "abc" if n not in named},
                "timeouts": {"connect": "2s", "read": "5s"},
                **changes.pop("cluster", {}),
            },
            "repositories": [{"name": "r", "id": "0" * 8, "url": "memory://r", "domain": "d"}],
            **changes,
        }
        return Config.model_validate(body)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    with ExitStack() as stack:
        nodes = {n: stack.enter_context(ReplaySource([])) for n in "abc"}
        for name, source in nodes.items():
            source.cluster = copy.deepcopy(TOPOLOGY["cluster"][name])
            for collection in ("movies", "tenants"):
                told = TOPOLOGY[collection]
                about = copy.deepcopy(told[name])
                local = [s["shard_id"] for s in about["cluster"]["local_shards"]]
                source.collections[collection] = Served(
                    set_name="cluster",
                    archive=FIXTURES / "cluster" / "movies-node-a.snapshot",
                    info=about["info"],
                    cluster=about["cluster"],
                    shard_keys=about["shards"],
                    aliases=[],
                    operations=dict.fromkeys(local, 7),
                    counts=dict.fromkeys(local, 10),
                    points=(),
                )
        yield Scripted(nodes)


def rows(config: Config) -> list[CheckRow]:
    return list(ClusterCheck(config).rows())


def row(config: Config, scope: str, what: str) -> CheckRow:
    found = [r for r in rows(config) if r.scope.startswith(scope) and r.what == what]
    assert len(found) == 1, [(r.scope, r.what, r.state, r.found) for r in found]
    return found[0]


def wrong(config: Config) -> list[tuple[str, str, str]]:
    return [(r.scope, r.what, r.state) for r in rows(config) if r.state in ("degraded", "failed")]


def test_a_whole_cluster_has_a_row_for_every_node_and_collection(scripted: Scripted) -> None:
    config = scripted.config("a")
    assert wrong(config) == []
    told = {(r.scope, r.what): r.found for r in rows(config)}
    for name in "abc":
        assert (f"node {scripted.nodes[name].url}", "engine") in told
    assert f"peer {PEERS['b']}" in told[f"node {scripted.nodes['b'].url}", "reach"]
    assert told["collection movies", "replicas"] == "3 shards, all whole, taken from 2 nodes"
    assert told["cluster", "redundancy"] == (
        "replication factor 1: a backup is the only second copy of tenants"
    )


def test_a_peer_without_an_address(scripted: Scripted) -> None:
    config = scripted.config("a", cluster={"peers": {str(PEERS["b"]): scripted.nodes["b"].url}})
    lost = row(config, f"peer {PEERS['c']}", "reach")
    assert lost.state == "failed"
    assert "cluster.peers" in (lost.next_step or "")
    # every shard of movies is on a or b, too
    assert row(config, "collection movies", "replicas").state == "ok"


def test_another_peer_at_the_address(scripted: Scripted) -> None:
    peers = {str(PEERS["b"]): scripted.nodes["c"].url, str(PEERS["c"]): scripted.nodes["c"].url}
    lost = row(scripted.config("a", cluster={"peers": peers}), f"peer {PEERS['b']}", "reach")
    assert lost.state == "failed"
    assert f"is not peer {PEERS['b']}" in lost.found


def test_a_dead_node_among_others_is_told_and_the_rest_is_looked_at(scripted: Scripted) -> None:
    scripted.nodes["c"].die()
    config = scripted.config("a", "b", "c")
    assert row(config, f"node {scripted.nodes['c'].url}", "reach").code == "node-unreachable"
    assert row(config, "collection movies", "replicas").state == "ok"


def test_versions_and_clocks_between_nodes(scripted: Scripted) -> None:
    scripted.nodes["b"].root["version"] = "1.17.1"
    scripted.nodes["b"].faults.clock_skew = 20
    scripted.nodes["c"].faults.clock_skew = -20
    config = scripted.config("a")
    assert row(config, "cluster", "versions").found == "nodes run 1.17.1, 1.18.3"
    clocks = row(config, "cluster", "clocks")
    assert clocks.state == "degraded"
    assert f"{scripted.nodes['b'].url} is +4" in clocks.found.replace("+39", "+4")
    assert {r.state for r in rows(config) if r.what == "clock"} == {"ok"}


def test_a_dead_replica_is_a_warning(scripted: Scripted) -> None:
    scripted.everywhere(1, "a", "Dead")
    dead = row(scripted.config("a"), "collection movies", "replicas")
    assert dead.state == "degraded"
    assert dead.found == f"shard 1 on peer {PEERS['a']} is Dead"


def test_a_shard_without_a_whole_replica_is_a_failure(scripted: Scripted) -> None:
    scripted.everywhere(1, "a", "Dead")
    scripted.everywhere(1, "c", "Partial")
    states = [r.state for r in rows(scripted.config("a")) if r.scope == "collection movies"]
    assert sorted(states) == ["degraded", "failed"]


def test_nodes_that_disagree_and_transfers_are_told(scripted: Scripted) -> None:
    scripted.of("b")["remote_shards"][2]["state"] = "Initializing"
    scripted.of("c")["shard_transfers"] = [{"shard_id": 0, "from": 1, "to": 2, "sync": True}]
    said = [r.found for r in rows(scripted.config("a")) if r.scope == "collection movies"]
    assert any("the nodes disagree on shard" in words for words in said)
    assert any("1 shard transfers are under way" in words for words in said)


def test_a_listener_is_a_warning_that_says_why(scripted: Scripted) -> None:
    for shard in (0, 1):
        scripted.everywhere(shard, "c", "Listener")
    config = scripted.config("a")
    listener = row(config, f"node {scripted.nodes['c'].url}", "listener")
    assert listener.state == "degraded"
    assert "(2 shards)" in listener.found
    assert "bring deleted points back" in listener.found
    assert "normal nodes" in (listener.next_step or "")
    assert row(config, "collection movies", "replicas").state == "ok"
    # where nobody else has it, more is said
    scripted.everywhere(0, "b", "Dead")
    said = [r.found for r in rows(config) if r.scope == "collection movies"]
    assert "shards [0] are whole on a listener only: captured only while it rests" in said


def test_a_full_snapshot_in_a_cluster_is_an_error(scripted: Scripted) -> None:
    config = scripted.config("a", capture={"method": "full"})
    method = row(config, "cluster", "method")
    assert (method.state, method.code) == ("failed", "config-invalid")
    assert "one node only" in method.found


@pytest.fixture
def one() -> Iterator[ReplaySource]:
    with ReplaySource(["basic"]) as source:
        yield source


def single(source: ReplaySource, **cluster: Any) -> Config:
    return Config.model_validate(
        {
            "format": 1,
            "cluster": {"name": "prod", "nodes": [source.url], **cluster},
            "repositories": [{"name": "r", "id": "0" * 8, "url": "memory://r", "domain": "d"}],
            "capture": {"method": "full"},
        }
    )


def test_one_node_may_be_taken_whole_and_has_no_second_copy(one: ReplaySource) -> None:
    config = single(one)
    assert not [r for r in rows(config) if r.what in ("method", "replicas")]
    told = row(config, "cluster", "redundancy")
    assert told.state == "ok"
    assert told.found == "there is one node: a backup is the only second copy of movies"


def test_snapshots_without_a_checksum_want_their_bucket(one: ReplaySource) -> None:
    assert wrong(single(one)) == []
    one.create("movies")
    assert wrong(single(one)) == []
    one.collections["movies"].snapshots.clear()
    one.faults.no_checksum = True
    one.create("movies")
    bare = row(single(one), "cluster", "snapshots")
    assert bare.state == "degraded"
    assert "cluster.snapshots_s3" in (bare.next_step or "")
    assert wrong(single(one, snapshots_s3={"url": "s3://bucket/snapshots"})) == []
    assert one.deleted == []


@pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs a Qdrant binary in QDRANT_BIN")
@pytest.mark.timeout(120)
def test_a_real_cluster(tmp_path: Path) -> None:
    with qdrant_cluster(tmp_path, nodes=2) as nodes:
        body = {
            "vectors": {"size": 4, "distance": "Dot"}, "shard_number": 2, "replication_factor": 2,
        }  # fmt: skip
        httpx.put(
            f"{nodes[0].url}/collections/movies", json=body, timeout=30, trust_env=False
        ).raise_for_status()
        second = nodes[1].peer_id
        config = Config.model_validate(
            {
                "format": 1,
                "cluster": {
                    "name": "prod", "nodes": [nodes[0].url],
                    "peers": {str(second): nodes[1].url},
                },
                "repositories": [
                    {"name": "r", "id": "0" * 8, "url": str(tmp_path / "r"), "domain": "d"}
                ],
            }
        )  # fmt: skip
        told = {(r.scope, r.what): (r.state, r.found) for r in rows(config)}
        assert told["collection movies", "replicas"] == (
            "ok", "2 shards, all whole, taken from 1 nodes",
        )  # fmt: skip
        assert f"peer {second}" in told[f"node {nodes[1].url}", "reach"][1]
        nodes[1].kill()
        states = {r.scope: r.state for r in check(config, read_only=True).rows if r.what == "reach"}
        assert states[f"peer {second}"] == "failed"


def test_names_that_no_snapshot_can_be_made_of_are_told(tmp_path: Path) -> None:
    body = {"vectors": {"size": 2, "distance": "Dot"}}
    with sandbox_server(tmp_path) as server:
        for name in ("short", "n" * 210):
            made = httpx.put(f"{server.url}/collections/{name}", json=body, timeout=60)
            made.raise_for_status()
        config = Config.model_validate(
            {
                "format": 1,
                "cluster": {"name": "prod", "nodes": [server.url]},
                "repositories": [{"name": "r", "url": "memory://r", "domain": "d"}],
            }
        )
        rows = [row for row in ClusterCheck(config).rows() if row.what == "name"]
    (row,) = rows
    assert row.scope == f"collection {'n' * 210}"
    assert "has 210 bytes" in str(row)
    assert "alias" in str(row)
