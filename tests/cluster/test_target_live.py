"""Collections made again on servers that really run: one node, a cluster of one, one of three."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr.cluster import (
    KeyOrder,
    Node,
    ShardKey,
    clean_failed,
    collection_facts,
    collection_names,
    create_payload_indexes,
    create_snapshot,
    create_target,
    creation_body,
    differences,
    download,
    holders,
    list_snapshots,
    plan_aliases,
    recover_by_upload,
    recover_from,
    recover_shard_by_upload,
    scroll_points,
    set_aliases,
    shard_key_order,
    target_facts,
    upload_name,
    wait_restored,
)
from qdrant_dr.cluster.node import path_of
from qdrant_dr.cluster.split_archive import ShardSplitter
from qdrant_dr.errors import DRError, PlanRefused, RecoverFailed
from tests.support.replay import FIXTURES, expected, truth
from tests.support.servers import (
    lasting_qdrant,
    qdrant_cluster,
    qdrant_server,
    sandbox_cluster,
    sandbox_server,
)
from tests.support.thorough import only_thorough, thorough

REAL = [
    pytest.mark.qdrant,
    pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="QDRANT_BIN is not set"),
]
ODD = "ünï cödé #50%"
SETS = expected()["sets"]
TOPOLOGY = SETS["cluster"]["topology"]


@dataclass(frozen=True)
class Target:
    """Nodes by peer id; under None the only one of a server without cluster mode."""

    nodes: dict[int | None, Node]

    @property
    def first(self) -> Node:
        return next(iter(self.nodes.values()))

    @property
    def clustered(self) -> bool:
        return None not in self.nodes

    def holding(self, name: str, shard: int) -> Node:
        peer = holders(self.first, name)[shard][0]
        return self.nodes[peer] if self.clustered else self.first


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[Target]:
    with ExitStack() as stack:
        if kind in ("sandbox", "server"):
            start = qdrant_server if kind == "server" else sandbox_server
            server = stack.enter_context(start(folder))
            yield Target({None: stack.enter_context(Node(server.url))})
        else:
            cluster = (
                sandbox_cluster(folder, holding=())
                if kind == "sandbox-of-3"
                else qdrant_cluster(folder, int(kind.removeprefix("of-")))
            )
            processes = stack.enter_context(cluster)
            yield Target({p.peer_id: stack.enter_context(Node(p.url)) for p in processes})


@pytest.fixture(
    scope="module",
    params=[
        "sandbox",
        "sandbox-of-3",
        *(pytest.param(kind, marks=REAL) for kind in ("server", "of-1", "of-3")),
    ],
)
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    with opened(request.param, tmp_path_factory.mktemp(request.param)) as found:
        yield found


@pytest.fixture(autouse=True)
def tidy(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "target" in request.fixturenames:
        node = request.getfixturevalue("target").first
        for name in collection_names(node):
            node.ask("DELETE", path_of(name), "tidy up", write=True)


def local_shards(cluster: dict[str, Any]) -> set[int]:
    return {s["shard_id"] for s in cluster["local_shards"]}


def restore_shards(
    target: Target, name: str, archives: Sequence[tuple[bytes, Collection[int]]]
) -> None:
    """Each archive of a node, and the shards to take out of it."""
    for data, wanted in archives:
        for shard, blocks in ShardSplitter([data], wanted).shards():
            archive = b"".join(blocks)
            recover_shard_by_upload(
                target.holding(name, shard), name, shard, [archive],
                size=len(archive), sha256=hashlib.sha256(archive).hexdigest(),
            )  # fmt: skip


def rebuild(
    target: Target,
    name: str,
    info: dict[str, Any],
    archives: Sequence[tuple[bytes, Collection[int]]],
    *,
    keys: KeyOrder = (),
    replication_factor: int | None = None,
) -> tuple[str, ...]:
    """The way of a real restore by shards; what differs afterwards."""
    body = creation_body(info, replication_factor=replication_factor, clustered=target.clustered)
    create_target(target.first, name, body, keys=keys)
    create_payload_indexes(target.first, name, info["payload_schema"])
    restore_shards(target, name, archives)
    wait_restored(target.nodes, name, timeout=timedelta(seconds=60))
    said = {differences(info, read(node, name)) for node in target.nodes.values()}
    assert len(said) == 1
    return said.pop()


def read(node: Node, name: str, *rest: str) -> dict[str, Any]:
    return dict(node.ask("GET", path_of(name, *rest), "read it"))


def points(node: Node, name: str) -> list[dict[str, Any]]:
    return list(scroll_points(node, name))


@pytest.mark.parametrize("name", ["rich", "sharded", "basic", "empty", "single"])
def test_every_shard_of_a_collection_archive_comes_back(target: Target, name: str) -> None:
    facts = SETS[name]["facts"]
    whole = (FIXTURES / name / "collection.snapshot").read_bytes()
    shards = local_shards(facts["cluster"])
    said = rebuild(target, ODD, facts["info"], [(whole, shards)])
    assert said == ()
    for node in target.nodes.values():
        assert points(node, ODD) == list(truth(name))


@pytest.mark.parametrize("factor", [None, pytest.param(1, marks=thorough), 3])
def test_a_clusters_archives_on_another_number_of_nodes(target: Target, factor: int | None) -> None:
    archives = [(node_archive("movies", n), shards) for n, shards in (("a", {1, 2}), ("b", {0}))]
    info = TOPOLOGY["movies"]["a"]["info"]
    said = rebuild(target, "movies", info, archives, replication_factor=factor)
    asked = factor or 2
    assert said == (() if factor is None else (f"params.replication_factor is {factor}, was 2",))
    expected_points = points(target.first, "movies")
    assert len(expected_points) == 1200
    held = holders(target.first, "movies")
    assert {len(peers) for peers in held.values()} == {min(asked, len(target.nodes))}
    for node in target.nodes.values():  # each replica has all of its shard
        for shard, count in collection_facts(node, "movies").counts.items():
            assert count == {0: 372, 1: 433, 2: 395}[shard]
        assert points(node, "movies") == expected_points


def node_archive(collection: str, node: str) -> bytes:
    return (FIXTURES / "cluster" / f"{collection}-node-{node}.snapshot").read_bytes()


def test_custom_sharding_of_a_real_cluster(target: Target) -> None:
    facts = TOPOLOGY["tenants"]["a"]
    keys = shard_key_order(facts["cluster"], facts["shards"])
    assert keys == (("eu", (1,)), ("us", (2,)))
    archives = [(node_archive("tenants", "a"), {2}), (node_archive("tenants", "b"), {1})]
    if not target.clustered:
        with pytest.raises(PlanRefused, match="custom sharding"):
            rebuild(target, "tenants", facts["info"], archives, keys=keys)
        body = creation_body(facts["info"], replication_factor=None, clustered=True)
        with pytest.raises(PlanRefused, match="does not run in cluster mode"):
            create_target(target.first, "tenants", body, keys=keys)
        assert collection_names(target.first) == ()
        return
    assert rebuild(target, "tenants", facts["info"], archives, keys=keys) == ()
    assert len(points(target.first, "tenants")) == 400
    found = target.first.ask(
        "POST", path_of("tenants", "points", "count"), "count", json={"shard_key": "us"}
    )
    assert found["count"] == 200


def test_keys_of_both_types_with_gaps_and_several_shards(target: Target) -> None:
    if not target.clustered:
        pytest.skip("needs cluster mode")
    node = target.first
    body = {
        "vectors": {"size": 2, "distance": "Dot"}, "sharding_method": "custom", "shard_number": 2,
        "replication_factor": 1,
    }  # fmt: skip
    made: list[tuple[ShardKey, tuple[int, ...]]] = [
        (7, (1, 2)), ("gone", (3, 4)), ("7", (5, 6)), (ODD, (7, 8)), (2**64 - 1, (9,)),
    ]  # fmt: skip
    create_target(node, "source", body, keys=made)
    for n, (key, _) in enumerate(made):
        vectors = [{"id": n * 100 + i, "vector": [n, i]} for i in range(50)]
        node.ask(
            "PUT", path_of("source", "points"), "write", write=True, params={"wait": "true"},
            json={"points": vectors, "shard_key": key},
        )  # fmt: skip
    node.ask(
        "POST", path_of("source", "shards", "delete"), "drop", json={"shard_key": "gone"},
        write=True,
    )  # fmt: skip
    before, info = points(node, "source"), read(node, "source")
    keys = shard_key_order(read(node, "source", "cluster"), read(node, "source", "shards"))
    assert keys == tuple(entry for entry in made if entry[0] != "gone")
    archives = []
    for each in target.nodes.values():
        shards = local_shards(read(each, "source", "cluster"))
        data = b"".join(download(each, "source", create_snapshot(each, "source")))
        archives.append((data, shards))
    assert rebuild(target, "copy", info, archives, keys=keys) == ()
    assert points(node, "copy") == before
    assert len(before) == 200
    for collection in ("source", "copy"):  # the hash ring of a key finds its points again
        found = node.ask(
            "PUT", path_of(collection, "points"), "overwrite", write=True,
            params={"wait": "true"}, json={"points": vectors, "shard_key": made[-1][0]},
        )  # fmt: skip
        assert found["status"] == "completed"
    assert len(points(node, "copy")) == 200
    listed = read(node, "copy", "shards")["shard_keys"]
    assert {entry["key"] for entry in listed} == {7, "7", ODD, 2**64 - 1}


def test_every_setting_comes_back(target: Target) -> None:
    only_thorough(target.clustered)
    node = target.first
    wanted = {
        "vectors": {
            "b": {"size": 16, "distance": "Dot", "on_disk": True,
                  "quantization_config": {"binary": {"always_ram": True}}},
            "p": {"size": 16, "distance": "Manhattan", "datatype": "float16",
                  "hnsw_config": {"m": 0, "payload_m": 8}},
            "mv": {"size": 8, "distance": "Cosine", "datatype": "uint8",
                   "multivector_config": {"comparator": "max_sim"}},
        },
        "sparse_vectors": {"s": {"modifier": "idf", "index": {"on_disk": True}}, "plain": {}},
        "shard_number": 2, "on_disk_payload": False,
        "write_consistency_factor": 2,
        "hnsw_config": {"m": 24, "ef_construct": 123, "full_scan_threshold": 4000},
        "optimizers_config": {"indexing_threshold": 4321, "deleted_threshold": 0.3,
                              "max_segment_size": 50000, "default_segment_number": 3},
        "wal_config": {"wal_capacity_mb": 4, "wal_retain_closed": 2},
        "quantization_config": {"product": {"compression": "x16", "always_ram": True}},
        "strict_mode_config": {"enabled": True, "max_query_limit": 90, "search_allow_exact": False,
                               "max_payload_index_count": 20, "max_points_count": 100000,
                               "multivector_config": {"mv": {"max_vectors": 9}},
                               "sparse_config": {"s": {"max_length": 99}}},
        "metadata": {"owner": "ünï", "n": 1},
    }  # fmt: skip
    create_target(node, "source", wanted)
    schema: dict[str, Any] = {
        "kw": {"type": "keyword", "is_tenant": True, "on_disk": True},
        "i": {"type": "integer", "lookup": True, "range": False},
        "f": {"type": "float", "is_principal": True}, "plain": "keyword", "geo": "geo", "b": "bool",
        "when": {"type": "datetime", "on_disk": True}, "uid": {"type": "uuid", "is_tenant": False},
        "txt": {"type": "text", "tokenizer": "multilingual", "min_token_len": 2, "lowercase": True,
                "phrase_matching": True, "stopwords": "english",
                "stemmer": {"type": "snowball", "language": "english"}},
        "a.b[].c": "integer",
    }  # fmt: skip
    if node.ask("GET", "/telemetry", "read its name")["app"]["name"] == "qdrant-dr sandbox":
        for unknown in ("stopwords", "stemmer"):  # to the bindings of its engine
            del schema["txt"][unknown]
    for field, index in schema.items():
        node.ask(
            "PUT", path_of("source", "index"), "index", write=True, params={"wait": "true"},
            json={"field_name": field, "field_schema": index},
        )  # fmt: skip
    info = read(node, "source")
    body = creation_body(info, replication_factor=None, clustered=target.clustered)
    create_target(node, "copy", body)
    lost = differences(info, read(node, "copy"))
    assert len(lost) == len(schema)
    assert all("is missing" in words for words in lost)
    create_payload_indexes(node, "copy", info["payload_schema"])
    wait_restored(target.nodes, "copy", timeout=timedelta(seconds=30))
    assert differences(info, read(node, "copy")) == ()
    for key in ("strict_mode_config", "metadata", "quantization_config"):
        assert info["config"][key] == read(node, "copy")["config"][key]
        assert info["config"][key]


def test_names_that_are_taken(target: Target) -> None:
    node, body = target.first, {"vectors": {"size": 1, "distance": "Dot"}}
    create_target(node, ODD, body)
    set_aliases(node, plan_aliases(["live #1", ODD], {}, ODD, "create"))
    with pytest.raises(PlanRefused, match="there is already a collection"):
        create_target(node, ODD, body)
    for act in (
        lambda: create_target(node, "live #1", body),
        lambda: recover_by_upload(node, "live #1", [b"x"], size=1, sha256="0" * 64),
        lambda: recover_shard_by_upload(node, "live #1", 0, [b"x"], size=1, sha256="0" * 64),
        lambda: recover_from(node, "live #1", "x.snapshot", sha256="0" * 64),
    ):
        with pytest.raises(PlanRefused, match=r"alias of"):
            act()
    facts = target_facts(node)
    assert facts.aliases == {"live #1": ODD}
    assert facts.collections == (ODD,)
    assert facts.broken == ()
    assert facts.clustered == target.clustered
    assert len(facts.peers) == (len(target.nodes) if target.clustered else 0)
    assert facts.version == expected()["server"]["version"]


def test_an_alias_is_moved_in_one_step_and_not_if_it_moved_meanwhile(target: Target) -> None:
    node, body = target.first, {"vectors": {"size": 1, "distance": "Dot"}}
    for name in ("old", "new", "third"):
        create_target(node, name, body)
    set_aliases(node, plan_aliases(["live", "extra"], {}, "old", "create"))
    there = target_facts(node).aliases
    kept = plan_aliases(["live", "spare"], there, "new", "create", ["old", "new", "third"])
    assert kept.set == ("spare",)
    assert kept.left == (("live", "belongs to 'old'; it is moved only with `move`"),)
    moved = plan_aliases(["live", "third"], there, "new", "move", ["old", "new", "third"])
    assert moved.move == (("live", "old"),)
    assert moved.left == (("third", "is the name of a collection"),)
    set_aliases(node, moved)
    assert target_facts(node).aliases == {"live": "new", "extra": "old"}
    with pytest.raises(PlanRefused, match=r"live.*changed"):
        set_aliases(node, moved)
    assert target_facts(node).aliases == {"live": "new", "extra": "old"}


def test_the_server_fetches_it_itself(target: Target, tmp_path: Path) -> None:
    only_thorough(target.clustered)
    node = target.first
    facts = SETS["basic"]["facts"]
    whole = (FIXTURES / "basic" / "collection.snapshot").read_bytes()
    assert rebuild(target, "source", facts["info"], [(whole, {0})]) == ()
    holder = target.holding("source", 0)
    made = create_snapshot(holder, "source")
    assert made.checksum is not None
    here = holder.url + path_of("source", "snapshots", made.name)
    if len(target.nodes) > 1:
        for location in (here, made.name):
            with pytest.raises(PlanRefused, match="one of 3 nodes"):
                recover_from(holder, "source", location, sha256=made.checksum)
    else:
        recover_from(node, "by-url", f"{here}?X-Signature=s3cr3t", sha256=made.checksum)
        assert points(node, "by-url") == list(truth("basic"))
        recover_from(holder, "source", made.name, sha256=made.checksum)
    shard_file = holder.ask(
        "POST", path_of("source", "shards", "0", "snapshots"), "make", write=True
    )
    shard_url = holder.url + path_of("source", "shards", 0, "snapshots", shard_file["name"])
    for location in (shard_file["name"], f"{shard_url}?X-Signature=s3cr3t"):
        recover_from(holder, "source", location, sha256=shard_file["checksum"], shard=0)
    wait_restored(target.nodes, "source", timeout=timedelta(seconds=30))
    assert points(node, "source") == list(truth("basic"))
    shard = 0 if len(target.nodes) > 1 else None
    name = "source" if shard == 0 else "nothing"
    gone = f"{node.url}/nothing?X-Amz-Signature=s3cr3t&X-Amz-Credential=AKIAX"
    for location in (gone, "http://127.0.0.1:1/x?sig=s3cr3t", "file:///etc/s3cr3t", "a s3cr3t"):
        with pytest.raises(DRError) as e:
            recover_from(holder, name, location, sha256="0" * 64, shard=shard)
        assert "s3cr3t" not in str(e.value)
        assert "AKIAX" not in str(e.value)
    assert "nothing" not in collection_names(node)
    with pytest.raises(RecoverFailed, match=r"(?i)checksum"):
        recover_from(holder, "source", f"{shard_url}?sig=s3cr3t", sha256="0" * 64, shard=0)


def test_what_a_failed_restore_left_is_removed_and_nothing_else(target: Target) -> None:
    node = target.first
    create_target(node, "kept", {"vectors": {"size": 1, "distance": "Dot"}})
    cut = (FIXTURES / "basic" / "collection.snapshot").read_bytes()[:700_000]
    name = upload_name()
    refused = RecoverFailed if len(target.nodes) == 1 else PlanRefused
    with pytest.raises(refused):
        recover_by_upload(
            node, ODD, [cut], size=len(cut), sha256=hashlib.sha256(cut).hexdigest(), name=name
        )
    assert ODD not in collection_names(node)
    left = (f"uploaded file {name}",) if refused is RecoverFailed else ()
    assert clean_failed(node, ODD, created=True, uploads=[name]) == left
    assert clean_failed(node, ODD, created=True, uploads=[name]) == ()
    assert collection_names(node) == ("kept",)
    snapshot = create_snapshot(node, "kept")
    assert clean_failed(node, "kept", created=False, uploads=[name]) == ()
    assert [s.name for s in list_snapshots(node, "kept")] == [snapshot.name]
    assert clean_failed(node, "kept", created=True) == ("collection 'kept'",)
    assert collection_names(node) == ()


@pytest.mark.qdrant
@REAL[1]
@pytest.mark.parametrize(
    ("route", "seen", "seconds"),
    [
        ("whole", "snapshots", 0.0),  # the file is there, the collection is not
        ("whole", "storage/collections", 0.08),  # made and not loaded: it may answer 500
        ("shard", "storage/collections", 0.03),
    ],
)
def test_a_server_killed_during_a_restore_starts_again_clean(
    tmp_path: Path, route: str, seen: str, seconds: float
) -> None:
    facts = SETS["sharded"]["facts"]
    whole = (FIXTURES / "sharded" / "collection.snapshot").read_bytes()
    name = upload_name()
    with lasting_qdrant(tmp_path) as process, Node(process.url) as node:
        target = Target({None: node})

        def kill_in_the_middle() -> None:
            while not (tmp_path / seen / ODD).exists():
                time.sleep(0.001)
            time.sleep(seconds)
            process.kill()

        if route == "shard":
            body = creation_body(facts["info"], replication_factor=None, clustered=False)
            create_target(node, ODD, body)
        killer = threading.Thread(target=kill_in_the_middle, daemon=True)
        killer.start()
        with suppress(DRError):  # it may have been faster
            if route == "whole":
                sha256 = hashlib.sha256(whole).hexdigest()
                recover_by_upload(node, ODD, [whole], size=len(whole), sha256=sha256, name=name)
            else:
                restore_shards(target, ODD, [(whole, {0, 1, 2})])
        killer.join(30)
        process.start()
        said = clean_failed(node, ODD, created=True, uploads=[name])
        assert said
        assert all(ODD in words or name in words for words in said)
        assert clean_failed(node, ODD, created=True, uploads=[name]) == ()
        assert collection_names(node) == ()
        assert list((tmp_path / "snapshots").rglob("*.snapshot")) == []
        process.kill()
        process.start()
        assert target_facts(node).collections == ()
        assert rebuild(target, ODD, facts["info"], [(whole, {0, 1, 2})]) == ()
        assert points(node, ODD) == list(truth("sharded"))
