"""What a target needs, decided without one: shape, key order, differences, aliases, readiness."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from qdrant_dr.cluster import (
    Node,
    creation_body,
    differences,
    plan_aliases,
    recover_by_upload,
    shard_key_order,
    target_facts,
    wait_restored,
)
from qdrant_dr.cluster.ready import not_ready
from qdrant_dr.cluster.recover import without_location
from qdrant_dr.errors import PlanRefused, RecoverFailed
from tests.support.replay import FIXTURES, ReplaySource, expected

SETS = expected()["sets"]
RICH: dict[str, Any] = SETS["rich"]["facts"]["info"]
TENANTS: dict[str, Any] = SETS["cluster"]["topology"]["tenants"]["a"]


def changed(info: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    made: dict[str, Any] = copy.deepcopy(dict(info))
    *above, last = path.split("/")
    place = made
    for key in above:
        place = place[key]
    place[last] = value
    return made


def test_a_body_has_every_setting_under_the_name_that_creation_knows() -> None:
    body = creation_body(RICH, replication_factor=3, clustered=True)
    config = RICH["config"]
    assert body["vectors"] == config["params"]["vectors"]
    assert body["sparse_vectors"] == {"words": {}}
    assert body["optimizers_config"] == config["optimizer_config"]
    assert body["quantization_config"] == config["quantization_config"]
    assert body["replication_factor"] == 3
    assert body["shard_number"] == 1
    assert creation_body(RICH, replication_factor=None, clustered=False) == {
        **body, "replication_factor": 1,
    }  # fmt: skip


def test_settings_of_a_later_version_are_carried_and_identities_are_not() -> None:
    info = changed(RICH, "config/new_in_2027", {"x": 1})
    info = changed(info, "config/params/also_new", 7)
    info = changed(info, "config/params/read_fan_out_factor", 2)
    info = changed(info, "config/uuid", "0-1")
    info = changed(info, "config/metadata", None)
    body = creation_body(info, replication_factor=None, clustered=True)
    assert (body["new_in_2027"], body["also_new"]) == ({"x": 1}, 7)
    assert body.keys().isdisjoint({"read_fan_out_factor", "uuid", "metadata", "params"})


def test_custom_sharding_needs_cluster_mode() -> None:
    with pytest.raises(PlanRefused, match="custom sharding"):
        creation_body(TENANTS["info"], replication_factor=None, clustered=False)
    body = creation_body(TENANTS["info"], replication_factor=None, clustered=True)
    assert body["sharding_method"] == "custom"


def cluster_of(*shards: tuple[int, str | int | None]) -> dict[str, Any]:
    replicas = [{"shard_id": n, "state": "Active"} | ({"shard_key": k} if k is not None else {})
                for n, k in shards]  # fmt: skip
    return {"peer_id": 1, "local_shards": replicas[:1], "remote_shards": replicas[1:]}


def test_keys_are_ordered_by_shard_id_and_keep_their_type() -> None:
    assert shard_key_order(TENANTS["cluster"], TENANTS["shards"]) == (("eu", (1,)), ("us", (2,)))
    found = cluster_of((5, 7), (2, "7"), (1, "7"), (2, "7"), (6, 7), (9, "ü"))
    assert shard_key_order(found) == (("7", (1, 2)), (7, (5, 6)), ("ü", (9,)))
    assert shard_key_order(cluster_of((0, None), (1, None))) == ()


def test_keys_that_no_order_makes() -> None:
    with pytest.raises(PlanRefused, match=r"key 'a' are \[1, 3\]"):
        shard_key_order(cluster_of((1, "a"), (2, "b"), (3, "a")))
    with pytest.raises(PlanRefused, match=r"keys \[7\]"):
        shard_key_order(cluster_of((1, "7")), {"shard_keys": [{"key": "7"}, {"key": 7}]})


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("config/params/shard_number", 2, "params.shard_number is 2, was 1"),
        ("config/params/sharding_method", "custom",
         'params.sharding_method is "custom", was "auto"'),
        ("config/params/vectors/text/size", 65, "params.vectors.text.size is 65, was 64"),
        ("config/params/vectors/image/datatype", None,
         'params.vectors.image.datatype is not set, was "float16"'),
        ("config/params/sparse_vectors", {}, "params.sparse_vectors.words is not set, was {}"),
        ("config/quantization_config", None,
         "quantization_config.scalar.always_ram is not set, was true"),
        ("config/strict_mode_config", {"enabled": True},
         "strict_mode_config.enabled is true, was not set"),
        ("payload_schema/kw/data_type", "text",
         'payload index on \'kw\' is {"type": "text"}, was {"type": "keyword"}'),
        ("payload_schema/kw/params", {"type": "keyword", "is_tenant": True},
         ('payload index on \'kw\' is {"is_tenant": true, "type": "keyword"}, '
          'was {"type": "keyword"}')),
        ("payload_schema/more", {"data_type": "bool", "points": 0},
         "payload index on 'more' is new"),
    ],
)  # fmt: skip
def test_what_differs_is_said(path: str, value: Any, said: str) -> None:
    assert said in differences(RICH, changed(RICH, path, value))


def test_lost_indexes_are_named() -> None:
    lost = differences(RICH, changed(RICH, "payload_schema", {}))
    assert lost == tuple(
        f"payload index on {field!r} is missing" for field in sorted(RICH["payload_schema"])
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("config/uuid", "5e0c3c1e-0000-4000-8000-000000000000"),
        ("config/params/read_fan_out_factor", 2),
        ("config/params/sharding_method", "auto"),
        ("config/strict_mode_config", {"enabled": False, "max_timeout": None}),
        ("config/metadata", {}),
        ("config/hnsw_config/payload_m", None),
        ("payload_schema/kw/points", 0),
        ("payload_schema/kw/params", {"type": "keyword", "on_disk": None}),
        ("points_count", 9),
        ("status", "yellow"),
    ],
)
def test_what_is_no_difference(path: str, value: Any) -> None:
    assert differences(RICH, changed(RICH, path, value)) == ()
    assert differences(changed(RICH, path, value), RICH) == ()


def test_stopwords_told_by_another_node_are_no_difference() -> None:
    def with_words(words: Any) -> dict[str, Any]:
        return changed(RICH, "payload_schema/txt/params", {"type": "text", "stopwords": words})

    told = with_words({"languages": ["english"], "custom": []})
    assert differences(with_words("english"), told) == ()
    assert differences(with_words("english"), with_words({"languages": ["german"]})) != ()
    assert differences(with_words("english"), with_words(None)) != ()


def test_aliases_are_never_taken_silently() -> None:
    there = {"live": "old", "mine": "new"}
    kept = plan_aliases(["live", "free"], there, "new", "keep")
    assert (kept.set, kept.move) == ((), ())
    assert dict(kept.left) == {"live": "stays with 'old'", "free": "not requested"}
    created = plan_aliases(["live", "free", "mine", "old", "new"], there, "new", "create")
    assert (created.set, created.move) == (("free",), ())
    assert dict(created.left) == {
        "live": "belongs to 'old'; it is moved only with `move`",
        "mine": "points there already",
        "old": "is the name of a collection",
        "new": "is the name of a collection",
    }
    moved = plan_aliases(["live", "free", "bare"], there, "new", "move", ["bare"])
    assert (moved.set, moved.move) == (("free",), (("live", "old"),))
    assert moved.left == (("bare", "is the name of a collection"),)


SETTLED = {"status": "green", "update_queue": {"length": 0}}


def test_not_ready_says_where() -> None:
    found = cluster_of((0, None))
    found["remote_shards"] = [{"shard_id": 0, "peer_id": 9, "state": "Partial"}]
    found["shard_transfers"] = [{}]
    assert not_ready({"status": "red", "update_queue": {"length": 3}}, found) == (
        "shard 0 is Partial on peer 9",
        "1 shard transfers are under way",
        "3 updates are queued",
        "status is red (None)",
    )
    assert not_ready(SETTLED, {"local_shards": [], "remote_shards": []}) == ("it has no shards",)
    assert not_ready(SETTLED, cluster_of((0, None), (1, None))) == ()


def test_a_replica_that_stays_partial_is_not_waited_for_for_ever(
    source: ReplaySource, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qdrant_dr.cluster.ready.STUCK_SECONDS", 0.3)
    source.collections["movies"].cluster["remote_shards"] = [
        {"shard_id": 0, "peer_id": 9, "state": "Partial"}
    ]
    with pytest.raises(RecoverFailed, match="shard 0 is Partial on peer 9"):
        wait_restored({None: node}, "movies", timeout=timedelta(hours=1))


def test_replicas_called_active_that_differ_are_not_ready(
    source: ReplaySource, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qdrant_dr.cluster.ready.STUCK_SECONDS", 0.4)
    monkeypatch.setattr("qdrant_dr.cluster.ready.SETTLE_SECONDS", 0.0)
    with ReplaySource(["basic"]) as behind, Node(behind.url) as other:
        nodes = {1: node, 2: other}
        assert wait_restored(nodes, "movies").exact_points == 2000
        served = behind.collections["movies"]
        served.counts = {0: 1999}
        with pytest.raises(RecoverFailed, match=r"shard 0 has 2000 points on .*, 1999 points on"):
            wait_restored(nodes, "movies")


def test_an_alias_is_never_restored_onto(source: ReplaySource, node: Node) -> None:
    facts = target_facts(node)
    (alias, _), *_ = facts.aliases.items()
    whole = (FIXTURES / "single" / "collection.snapshot").read_bytes()
    with pytest.raises(PlanRefused, match="alias of"):
        recover_by_upload(node, alias, [whole], size=len(whole), sha256="0" * 64)
    assert not any(line.startswith("POST") and "upload" in line for line in source.log)
    assert facts.broken == ()
    assert "movies" in facts.collections


def test_collections_that_answer_errors_are_broken(source: ReplaySource, node: Node) -> None:
    source.faults.broken = "single"
    assert target_facts(node).broken == ("single",)


@pytest.mark.parametrize(
    "words",
    [
        "Failed to download snapshot from https://b.s3.example/x?X-Amz-Signature=abcdef123: 403",
        "error sending request for url (http://[::1]:9/x?X-Amz-Signature=abcdef123)",
        "no such key: X-Amz-Signature=abcdef123 in /bucket/secret-path",
    ],
)
def test_the_servers_words_lose_every_address(words: str) -> None:
    said = without_location(words, "https://b.s3.example/secret-path?X-Amz-Signature=abcdef123")
    assert "abcdef123" not in said
    assert "secret-path" not in said
