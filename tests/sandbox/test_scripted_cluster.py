"""Sandboxes as the nodes of one cluster: what they say, what they share, and a node that dies."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from qdrant_dr.sandbox.ring import shard_of
from tests.support.rest import FIXTURES, Json, call, recorded_points, scroll, snapshot
from tests.support.servers import CLUSTER_PEERS, Node, qdrant_cluster, sandbox_cluster, script
from tests.support.shards import of_shard
from tests.support.waiting import eventually

TOPOLOGY = json.loads((FIXTURES / "expected.json").read_text())["sets"]["cluster"]["topology"]
MOVIES = {"size": 16, "distance": "Cosine"}
TENANTS = {"vectors": {"size": 8, "distance": "Dot"}, "sharding_method": "custom"}


def clients(stack: ExitStack, nodes: tuple[Node, ...]) -> list[httpx.Client]:
    made = [httpx.Client(base_url=node.url, timeout=60, trust_env=False) for node in nodes]
    return [stack.enter_context(client) for client in made]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, ...]]:
    with sandbox_cluster(tmp_path_factory.mktemp("loaded")) as nodes:
        yield nodes


@pytest.fixture
def loaded(nodes: tuple[Node, ...]) -> Iterator[dict[str, httpx.Client]]:
    """The fixtures' cluster by the letters of its nodes. All tests but the last only read."""
    with ExitStack() as stack:
        yield dict(zip(CLUSTER_PEERS, clients(stack, nodes), strict=True))


@pytest.fixture(scope="module", params=["sandbox", pytest.param("real", marks=pytest.mark.qdrant)])
def empty(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[tuple[Node, ...], list[httpx.Client]]]:
    if request.param == "real" and "QDRANT_BIN" not in os.environ:
        pytest.skip("give QDRANT_BIN for a real cluster")
    folder = tmp_path_factory.mktemp("empty")
    with ExitStack() as stack:
        start = qdrant_cluster(folder) if request.param == "real" else None
        nodes = stack.enter_context(start or sandbox_cluster(folder, holding=()))
        yield nodes, clients(stack, nodes)


def sorted_shards(told: Json) -> Json:
    return {**told, "remote_shards": sorted(told["remote_shards"], key=str)}


@pytest.mark.parametrize("collection", ["movies", "tenants"])
@pytest.mark.parametrize("letter", CLUSTER_PEERS)
def test_each_node_says_what_the_real_one_said(
    loaded: dict[str, httpx.Client], collection: str, letter: str
) -> None:
    client, told = loaded[letter], TOPOLOGY[collection][letter]
    path = f"/collections/{collection}"
    assert call(client, "GET", path) == told["info"]
    cluster = call(client, "GET", f"{path}/cluster")
    assert sorted_shards(cluster) == sorted_shards(told["cluster"])
    keys = call(client, "GET", f"{path}/shards")
    assert sorted(map(str, keys.get("shard_keys", []))) == sorted(
        map(str, told["shards"].get("shard_keys", []))
    )
    assert scroll(client, collection, 70) == recorded_points(
        f"cluster/{collection}.points.ndjson.zst"
    )
    whole, theirs = call(client, "GET", "/cluster"), TOPOLOGY["cluster"][letter]
    assert set(whole) == set(theirs)
    assert set(whole["peers"]) == set(theirs["peers"])
    assert (whole["status"], whole["peer_id"]) == ("enabled", CLUSTER_PEERS[letter])


@pytest.mark.parametrize("collection", ["movies", "tenants"])
@pytest.mark.parametrize("letter", CLUSTER_PEERS)
def test_a_node_archives_its_own_shards(
    loaded: dict[str, httpx.Client], collection: str, letter: str
) -> None:
    """The facts of every shard are in it, the data of the node's own only."""
    theirs = FIXTURES / "cluster" / f"{collection}-node-{letter}.snapshot"
    small = {}
    for raw in (snapshot(loaded[letter], collection), theirs.read_bytes()):
        with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
            files = {m.name: tar.extractfile(m) for m in tar}
            json_files = {
                name: json.loads(file.read())
                for name, file in files.items()
                if file and name.endswith(".json") and "clocks" not in name
            }
            data = {name for name in files if "/segments/" in name}
        for value in json_files.values():
            if isinstance(value, list):
                value.sort(key=str)
        small[len(small)] = json_files, data, [*json_files][-1]
    assert small[0] == small[1]
    assert small[0][0]["config.json"]["uuid"] is not None


def test_reads_go_anywhere_but_those_of_one_shard(loaded: dict[str, httpx.Client]) -> None:
    for letter, client in loaded.items():
        for shard, (count, holders) in enumerate(((372, "bc"), (433, "ac"), (395, "ab"))):
            told = client.post(f"/collections/movies/shards/{shard}/points/count", json={})
            if letter in holders:
                assert told.json()["result"] == {"count": count}
            else:
                assert told.status_code == 500
                assert f"Local shard {shard} not found" in told.text
        query = {"query": [1.0] * 16, "limit": 5, "params": {"exact": True}}
        best = call(client, "POST", "/collections/movies/points/query", query)["points"]
        one = {"ids": [best[0]["id"]]}
        (found,) = call(client, "POST", "/collections/movies/points", one)
        assert found["id"] == best[0]["id"]
        of_key = call(client, "POST", "/collections/tenants/points/count", {"shard_key": "eu"})
        assert of_key == {"count": 200}
    for path in ("snapshots", "snapshot"):
        method = "POST" if path == "snapshots" else "GET"
        refused = loaded["a"].request(method, f"/collections/movies/shards/0/{path}")
        assert refused.status_code == 400
        assert "Shard 0 is not a local or queue proxy shard" in refused.text
    assert loaded["a"].post("/collections/movies/sandbox/state", json={}).status_code == 404


def states(client: httpx.Client, collection: str) -> set[tuple[int, str]]:
    told = call(client, "GET", f"/collections/{collection}/cluster")
    shards = (*told["local_shards"], *told["remote_shards"])
    return {(s.get("peer_id", told["peer_id"]), s["state"]) for s in shards}


def test_a_restore_into_an_empty_cluster(
    empty: tuple[tuple[Node, ...], list[httpx.Client]],
) -> None:
    """Shard by shard at one holder of each; the other replica follows."""
    _, (first, *others) = empty
    body = {"vectors": MOVIES, "shard_number": 3, "replication_factor": 2}
    call(first, "PUT", "/collections/movies", body)
    holders: dict[int, httpx.Client] = {}
    for client in (first, *others):
        for shard in call(client, "GET", "/collections/movies/cluster")["local_shards"]:
            holders[shard["shard_id"]] = client
    for number, letter in ((0, "b"), (1, "c"), (2, "a")):
        raw = (FIXTURES / "cluster" / f"movies-node-{letter}.snapshot").read_bytes()
        archive = of_shard(raw, number)
        digest = hashlib.sha256(archive).hexdigest()
        path = f"/collections/movies/shards/{number}/snapshots/upload"
        response = holders[number].post(
            f"{path}?priority=snapshot&checksum={digest}", files={"snapshot": ("a", archive)}
        )
        assert response.status_code == 200, response.text
    eventually(lambda: {s for _, s in states(first, "movies")}, until=lambda s: "Dead" in s)
    for client in (first, *others):
        eventually(
            lambda c=client: {s for _, s in states(c, "movies")}, until=lambda s: s == {"Active"}
        )
        assert scroll(client, "movies") == recorded_points("cluster/movies.points.ndjson.zst")
        assert len(call(client, "GET", "/collections/movies/cluster")["local_shards"]) == 2


def test_shard_keys_are_created_in_the_order_of_their_shards(
    empty: tuple[tuple[Node, ...], list[httpx.Client]],
) -> None:
    _, (first, second, third) = empty
    call(first, "PUT", "/collections/tenants", TENANTS)
    assert call(second, "GET", "/collections/tenants/shards") == {"shard_keys": []}
    for client, key in ((first, "eu"), (second, "us")):
        assert call(client, "PUT", "/collections/tenants/shards", {"shard_key": key}) is True
    again = third.put("/collections/tenants/shards", json={"shard_key": "us"})
    assert (again.status_code, "already exists" in again.text) == (400, True)
    told = call(third, "GET", "/collections/tenants/cluster")
    shards = (*told["local_shards"], *told["remote_shards"])
    assert {s["shard_id"]: s["shard_key"] for s in shards} == {1: "eu", 2: "us"}
    points = {"points": [{"id": 1, "vector": [1.0] * 8}]}
    path = "/collections/tenants/points?wait=true"
    refused = first.put(path, json=points)
    assert (refused.status_code, "Shard key not specified" in refused.text) == (400, True)
    call(first, "PUT", path, {**points, "shard_key": "us"})
    (point,) = scroll(third, "tenants")
    assert point["shard_key"] == "us"
    call(third, "POST", "/collections/tenants/shards/delete", {"shard_key": "us"})
    assert call(first, "POST", "/collections/tenants/points/count", {}) == {"count": 0}
    raw = (FIXTURES / "cluster" / "tenants-node-a.snapshot").read_bytes()
    files = {"snapshot": ("a.snapshot", raw)}
    response = first.post("/collections/lost/snapshots/upload?priority=snapshot", files=files)
    assert response.status_code == 200, "custom sharding over REST"
    assert call(first, "POST", "/collections/lost/points/count", {}) == {"count": 0}


def test_points_lie_where_the_real_ring_puts_them(
    empty: tuple[tuple[Node, ...], list[httpx.Client]],
) -> None:
    _, asked = empty
    first, second, _ = asked
    call(first, "PUT", "/collections/ring", {"vectors": MOVIES, "shard_number": 3})
    uuids = [f"550e8400-e29b-41d4-a716-4466554400{n:02d}" for n in range(40)]
    ids = [*range(60), 2**63 + 11, *uuids]
    points = {"points": [{"id": i, "vector": [0.5] * 16} for i in ids]}
    call(second, "PUT", "/collections/ring/points?wait=true", points)
    seen = {}
    for client in asked:
        for told in call(client, "GET", "/collections/ring/cluster")["local_shards"]:
            path = f"/collections/ring/shards/{told['shard_id']}/points/scroll"
            found = call(client, "POST", path, {"limit": 200})["points"]
            seen |= {point["id"]: told["shard_id"] for point in found}
    assert seen == {i: shard_of(i, range(3)) for i in ids}
    path = "/collections/ring/shards/0/points/count"
    told_by = [client.post(path, json={}) for client in asked]
    assert sorted(told.status_code for told in told_by) == [200, 500, 500]
    assert sum("Local shard 0 not found" in told.text for told in told_by) == 2


def test_a_node_is_killed_and_its_replicas_are_scripted(
    nodes: tuple[Node, ...], loaded: dict[str, httpx.Client]
) -> None:
    first, second = loaded["a"], loaded["b"]
    gone = CLUSTER_PEERS["c"]
    script(nodes, "tenants", shard_transfers=[{"shard_id": 1, "from": 1, "to": 2}])
    transfers = call(second, "GET", "/collections/tenants/cluster")["shard_transfers"]
    assert transfers == [{"shard_id": 1, "from": 1, "to": 2}]
    nodes[2].kill()
    assert call(first, "POST", "/collections/movies/points/count", {}) == {"count": 1200}
    assert (gone, "Active") in states(first, "movies"), "nobody has noticed"
    points = {"points": [{"id": 99_999, "vector": [1.0] * 16}]}
    call(first, "PUT", "/collections/movies/points?wait=true", points)
    for client in (first, second):
        assert (gone, "Dead") in states(client, "movies")
        assert call(client, "POST", "/collections/movies/points/count", {}) == {"count": 1201}
    failures = call(first, "GET", "/cluster")["message_send_failures"]
    assert len(failures) == 1
    nodes[2].start()
    assert nodes[2].peer_id == gone
    script(nodes, "movies", states={"0": {str(CLUSTER_PEERS["b"]): "Listener"}})
    assert (CLUSTER_PEERS["b"], "Listener") in states(first, "movies")
