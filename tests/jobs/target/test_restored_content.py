"""What a server holds after a restore, read over gRPC where one node has all of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from qdrant_dr.cluster import Node, scroll_points
from qdrant_dr.cluster.grpc_points import SCROLL, GrpcPoints, grpc_points
from qdrant_dr.jobs.target.restored_content import Reference, compare_content
from qdrant_dr.proof import Comparison, fingerprint_of
from qdrant_dr.records import SealedShard
from tests.support.either_server import KINDS
from tests.support.servers import Server, qdrant_cluster, qdrant_server, sandbox_server

COUNT = 300


@pytest.fixture(scope="module", params=KINDS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("restored")
    started = (
        sandbox_server(folder, over_grpc=True)
        if request.param == "sandbox"
        else qdrant_server(folder)
    )
    with started as running:
        yield running


@pytest.fixture(params=[1, 3], ids=["one shard", "three shards"])
def collection(request: pytest.FixtureRequest, server: Server) -> Iterator[str]:
    name = f"restored-{request.param}"
    _fill(server, name, request.param)
    yield name
    httpx.delete(f"{server.url}/collections/{name}", timeout=30).raise_for_status()


def _fill(server: Server, name: str, shards: int) -> None:
    config = {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": shards}
    points = [{"id": n, "vector": [n, 1, 0, -n], "payload": {"n": n}} for n in range(COUNT)]
    with httpx.Client(base_url=server.url, timeout=60) as client:
        client.put(f"/collections/{name}", json=config).raise_for_status()
        path = f"/collections/{name}/points?wait=true"
        client.put(path, json={"points": points}).raise_for_status()


@pytest.fixture
def node(server: Server) -> Iterator[Node]:
    with Node(server.url, grpc_port=server.grpc_port) as opened:
        yield opened


def _content(node: Node, name: str) -> dict[int, list[dict[str, Any]]]:
    cluster = node.ask("GET", f"/collections/{name}/cluster", "find its shards")
    shards = [s["shard_id"] for s in cluster["local_shards"]]
    return {shard: list(scroll_points(node, name, shard=shard)) for shard in shards}


def _compare(node: Node, name: str, content: dict[int, list[dict[str, Any]]]) -> Comparison:
    shards = [
        SealedShard(
            shard=shard, operation=1, points=len(points), settled=fingerprint_of(points),
            replayed=None, replayed_ids=(),
        )
        for shard, points in content.items()
    ]  # fmt: skip
    seal = cast("Any", SimpleNamespace(shards=shards))
    nobody = cast("Any", None)
    return compare_content(Reference(nobody, nobody, seal, nobody, Path()), {None: node}, name)


def _answers_over_grpc(node: Node) -> int:
    counted = node.ask("GET", "/telemetry", "count")["requests"]["grpc"]["responses"]
    found: int = counted.get(SCROLL, {}).get("0", {}).get("count", 0)
    return found


def _change(server: Server, name: str, point: int) -> None:
    url = f"{server.url}/collections/{name}/points?wait=true"
    changed = {"id": point, "vector": [point, 1, 0, -point], "payload": {"n": -1}}
    httpx.put(url, json={"points": [changed]}, timeout=30).raise_for_status()


def test_equal_content_is_read_over_grpc(node: Node, collection: str) -> None:
    content = _content(node, collection)
    before = _answers_over_grpc(node)
    found = _compare(node, collection, content)
    assert found.equal, found.faults
    assert found.points == COUNT
    assert _answers_over_grpc(node) > before


def test_without_grpc_the_answer_is_the_same(server: Server, collection: str) -> None:
    with Node(server.url, grpc_port=0) as node:
        before = _answers_over_grpc(node)
        found = _compare(node, collection, _content(node, collection))
        assert (found.equal, found.points) == (True, COUNT)
        assert _answers_over_grpc(node) == before


def test_a_changed_payload_is_found_and_its_shard_named(
    server: Server, node: Node, collection: str
) -> None:
    content = _content(node, collection)
    (changed,) = (s for s, points in content.items() if any(p["id"] == 7 for p in points))
    _change(server, collection, 7)
    found = _compare(node, collection, content)
    assert found.verdict is False
    (fault,) = found.faults
    assert f"shard {changed} on {node.url}" in fault.message
    assert "payload differs in 1 of 256 buckets" in fault.message


def test_points_that_changed_their_shards_are_found(server: Server, node: Node) -> None:
    """All points together are equal, as gRPC reads them; each shard holds as many as it did."""
    _fill(server, "moved", 3)
    content = _content(node, "moved")
    content[0][0], content[1][0] = content[1][0], content[0][0]
    found = _compare(node, "moved", content)
    assert found.verdict is False
    assert {f.message.split(" on ")[0] for f in found.faults} == {"shard 0", "shard 1"}
    httpx.delete(f"{server.url}/collections/moved", timeout=30).raise_for_status()


def test_two_readings_that_disagree_are_no_proof(
    node: Node, collection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = _content(node, collection)
    plain = GrpcPoints.page

    def wrong(self: GrpcPoints, *asked: Any) -> Any:
        points, following, took = plain(self, *asked)
        points[0]["payload"]["n"] = "not what the server sent"
        return points, following, took

    monkeypatch.setattr(GrpcPoints, "page", wrong)
    found = _compare(node, collection, content)
    assert not found.equal
    (fault,) = found.faults
    assert fault.code == "nothing-checked"
    assert "over gRPC it is not" in fault.message
    assert "cluster.grpc_port: 0" in str(fault.hint)


def test_replicas_side_by_side_read_the_archive_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reading takes an engine, its memory and room for the archive."""
    readings: list[Any] = []

    def slow(*_: Any, **__: Any) -> Any:
        readings.append(None)
        time.sleep(0.1)
        return SimpleNamespace(findings=(), read_back=SimpleNamespace(shards=()))

    monkeypatch.setattr("qdrant_dr.jobs.target.restored_content.prove", slow)
    monkeypatch.setattr("qdrant_dr.jobs.target.restored_content.proof_limits", lambda _: None)
    nobody = cast("Any", None)
    reference = Reference(nobody, nobody, nobody, nobody, Path())
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: reference.as_read(), range(8)))
    assert found == [[]] * 8
    assert len(readings) == 1


def test_good_content_behind_the_grpc_port_of_another_server_proves_nothing(
    server: Server, collection: str, tmp_path: Path
) -> None:
    shards = int(collection[-1])
    with sandbox_server(tmp_path / "good", over_grpc=True) as good:
        _fill(good, collection, shards)
        with (
            Node(server.url, grpc_port=good.grpc_port) as node,
            _somebody_scrolls(server, collection),
        ):
            content = _content(node, collection)
            _change(server, collection, 3)
            for _ in range(3):
                assert _compare(node, collection, content).verdict is False


@contextmanager
def _somebody_scrolls(server: Server, collection: str) -> Iterator[None]:
    """Another client of the same server, over gRPC: what it reads is counted there, too."""
    done = threading.Event()

    def scroll() -> None:
        with Node(server.url, grpc_port=server.grpc_port) as node, grpc_points(node) as points:
            while not done.is_set():
                points.page(collection, None, 5)

    client = threading.Thread(target=scroll)
    client.start()
    try:
        yield
    finally:
        done.set()
        client.join()


@pytest.mark.qdrant
@pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN")
def test_one_id_in_several_shards_is_no_disagreement(tmp_path: Path) -> None:
    """With custom sharding each tenant may number from 1; a scroll of all shards gives an id once,
    so it finds fewer points than lie there. The reading over REST decides."""
    config = {"vectors": {"size": 2, "distance": "Dot"}, "sharding_method": "custom"}
    with (
        qdrant_cluster(tmp_path, nodes=1) as (server,),
        httpx.Client(base_url=server.url, timeout=60) as client,
        Node(server.url, grpc_port=server.grpc_port) as node,
    ):
        client.put("/collections/tenants", json=config).raise_for_status()
        for tenant in ("a", "b"):
            key = {"shard_key": tenant}
            client.put("/collections/tenants/shards", json=key).raise_for_status()
            points = [{"id": n, "vector": [n, 1], "payload": {"of": tenant}} for n in range(20)]
            path = "/collections/tenants/points?wait=true"
            client.put(path, json={"points": points, **key}).raise_for_status()
        content = _content(node, "tenants")
        found = _compare(node, "tenants", content)
        assert (found.faults, found.points) == ((), 40)
        assert _answers_over_grpc(node) > 0
        changed = {"payload": {"of": "c"}, "points": [7], "shard_key": "b"}
        path = "/collections/tenants/points/payload?wait=true"
        client.post(path, json=changed).raise_for_status()
        assert _compare(node, "tenants", content).verdict is False
