"""The whole way on servers that really run: the sandbox, and Qdrant itself with `QDRANT_BIN`."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from qdrant_dr.cluster import (
    Node,
    check_gates,
    collection_facts,
    create_snapshot,
    delete_own_snapshot,
    download,
    drop_target,
    leftovers,
    list_snapshots,
    points_by_id,
    preflight,
    probe_read_only,
    recover_by_upload,
    sample_points,
    scroll_points,
    take_inventory,
    wait_ready,
)
from qdrant_dr.cluster.node import path_of
from qdrant_dr.config import ClusterConfig
from qdrant_dr.errors import AccessDenied, CollectionVanished, RecoverFailed
from tests.support.replay import COUNTS, FIXTURES, OPERATIONS, expected, truth
from tests.support.servers import Server, qdrant_server, sandbox_server

KEYS = {"api_key": "write-key", "read_api_key": "read-key"}
NO_BINARY = pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="QDRANT_BIN is not set")


@pytest.fixture(
    scope="module",
    params=["sandbox", pytest.param("server", marks=[pytest.mark.qdrant, NO_BINARY])],
)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    start = sandbox_server if request.param == "sandbox" else qdrant_server
    with start(tmp_path_factory.mktemp(request.param), **KEYS) as running:
        yield running


@pytest.fixture
def config(server: Server, tmp_path: Path) -> ClusterConfig:
    for name, key in KEYS.items():
        (tmp_path / name).write_text(key)
    return ClusterConfig(
        name="live",
        nodes=(server.url,),
        api_key=f"file:{tmp_path / 'api_key'}",
        read_api_key=f"file:{tmp_path / 'read_api_key'}",
    )


@pytest.fixture
def node(config: ClusterConfig) -> Iterator[Node]:
    with Node(config.nodes[0], config.api_key, config.read_api_key, config.timeouts) as opened:
        yield opened


def upload(node: Node, target: str, data: bytes) -> None:
    recover_by_upload(
        node, target, [data[:70_000], data[70_000:]],
        size=len(data), sha256=hashlib.sha256(data).hexdigest(),
    )  # fmt: skip


@pytest.mark.parametrize("name", ["basic", "rich", "sharded", "empty", "single"])
def test_a_real_archive_in_and_a_new_one_out(
    server: Server, config: ClusterConfig, node: Node, name: str
) -> None:
    target = f"qdr-drill-{name}"
    upload(node, target, (FIXTURES / name / "collection.snapshot").read_bytes())
    try:
        before = wait_ready(node, target)
        assert before.counts == COUNTS[name]
        assert before.operations == OPERATIONS[name]
        assert preflight(before).refusals == ()
        assert preflight(before).doubts == ()
        assert list(scroll_points(node, target)) == list(truth(name))
        some = {p["id"]: p for p in truth(name)[:20]}
        assert {p["id"]: p for p in points_by_id(node, target, list(some))} == some
        known = {p["id"]: p for p in truth(name)}
        sample = sample_points(node, target, count=20, seed="s")
        assert len(sample) >= min(10, len(known))
        assert all(known[p["id"]] == p for p in sample)
        assert list_snapshots(node, target) == ()

        made = create_snapshot(node, target)
        whole = b"".join(download(node, target, made))
        assert hashlib.sha256(whole).hexdigest() == made.checksum
        assert delete_own_snapshot(node, target, made, ()) == "deleted"
        after = collection_facts(node, target)
        assert check_gates(before, after) == ()
        assert after.operations == before.operations

        inventory = take_inventory(config)
        assert inventory.source_kind == server.kind
        clock = inventory.nodes[0].clock
        assert clock is not None
        # a server on a busy machine may be late with its cached `Date`: the limit is what counts
        assert not clock.exceeds(timedelta(seconds=30))
        assert target in inventory.names
        assert inventory.unreadable == ()
        assert leftovers(node) == (target,)
    finally:
        assert drop_target(node, target)
    assert leftovers(node) == ()
    with pytest.raises(CollectionVanished):
        collection_facts(node, target)


def test_writes_raise_the_operation_number_and_recreation_lets_it_fall(
    config: ClusterConfig, node: Node
) -> None:
    target = "qdr-drill-50%#a b"
    upload(node, target, (FIXTURES / "basic" / "collection.snapshot").read_bytes())
    before = wait_ready(node, target)
    node.ask(
        "POST", path_of(target, "points", "delete"), "delete a point", write=True,
        json={"points": [truth("basic")[0]["id"]]}, params={"wait": "true"},
    )  # fmt: skip
    after = collection_facts(node, target)
    assert after.operations[0] is not None
    assert before.operations[0] is not None
    assert after.operations[0] > before.operations[0]
    assert after.exact_points == 1999
    assert check_gates(before, after) == ()
    drop_target(node, target)
    upload(node, target, (FIXTURES / "basic" / "collection.snapshot").read_bytes())
    again = wait_ready(node, target)
    assert any("fell" in broken for broken in check_gates(after, again))
    drop_target(node, target)


def test_keys(server: Server, config: ClusterConfig, node: Node) -> None:
    upload(node, "qdr-drill-keys", (FIXTURES / "single" / "collection.snapshot").read_bytes())
    probe = probe_read_only(node, ["qdr-drill-keys"])
    assert (probe.proven, probe.tried) == (True, 2)
    with Node(server.url, config.api_key) as writer:
        assert len(probe_read_only(writer, ["qdr-drill-keys"]).could) == 2
    assert list_snapshots(node, "qdr-drill-keys") == ()
    with Node(server.url, config.read_api_key) as reader:
        with pytest.raises(AccessDenied, match="read_api_key"):
            create_snapshot(reader, "qdr-drill-keys")
        with pytest.raises(AccessDenied):
            upload(reader, "qdr-drill-denied", b"x" * 100_000)
    with Node(server.url) as stranger, pytest.raises(AccessDenied, match="needs a key"):
        collection_facts(stranger, "qdr-drill-keys")
    drop_target(node, "qdr-drill-keys")


def test_what_the_server_refuses(node: Node) -> None:
    whole = (FIXTURES / "basic" / "collection.snapshot").read_bytes()
    with pytest.raises(RecoverFailed, match=r"(?i)checksum"):
        recover_by_upload(node, "qdr-drill-bad", [whole], size=len(whole), sha256="0" * 64)
    with pytest.raises(RecoverFailed):
        upload(node, "qdr-drill-bad", whole[: len(whole) // 2])
    assert leftovers(node) == ()


def test_an_upload_cut_short_leaves_no_collection(node: Node) -> None:
    whole = (FIXTURES / "basic" / "collection.snapshot").read_bytes()
    with pytest.raises(RecoverFailed, match="announced"):
        recover_by_upload(
            node, "qdr-drill-cut", [whole[:300_000]], size=len(whole),
            sha256=expected()["sets"]["basic"]["archives"]["collection"]["sha256"],
        )  # fmt: skip
    assert leftovers(node) == ()
