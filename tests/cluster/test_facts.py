"""Facts of real collections, as the server told them when the archives were made."""

from __future__ import annotations

import json

import pytest

from qdrant_dr.cluster import Node, collection_facts
from qdrant_dr.cluster.space import WAL_PER_SHARD, estimated_bytes
from qdrant_dr.errors import AccessDenied, CollectionVanished
from tests.support.replay import COUNTS, OPERATIONS, ReplaySource, expected

SETS = {"basic": "movies", "rich": "rich-ünïcode", "sharded": "sharded", "empty": "empty"}


@pytest.mark.parametrize(("set_name", "collection"), SETS.items())
def test_facts_are_the_servers(node: Node, set_name: str, collection: str) -> None:
    facts = collection_facts(node, collection)
    said = expected()["sets"][set_name]["facts"]
    assert json.loads(facts.info_json) == said["info"]
    assert json.loads(facts.cluster_json) == said["cluster"]
    assert json.loads(facts.shard_keys_json) == said["shards"]
    assert facts.operations == OPERATIONS[set_name]
    assert facts.counts == COUNTS[set_name]
    assert facts.exact_points == expected()["sets"][set_name]["points"]
    assert facts.peer_id == said["cluster"]["peer_id"]
    assert facts.resting
    assert facts.notes == ()


def test_aliases_are_facts(node: Node) -> None:
    assert collection_facts(node, "movies").aliases == ("live-movies",)


def test_unknown_fields_of_a_newer_server_are_kept(source: ReplaySource, node: Node) -> None:
    source.collections["movies"].info["from_the_future"] = {"x": 1e-7, "big": 2**63}
    kept = json.loads(collection_facts(node, "movies").info_json)["from_the_future"]
    assert kept == {"x": 1e-7, "big": 2**63}


def test_strict_mode_that_forbids_counting_is_counted_by_scrolling(
    source: ReplaySource, node: Node
) -> None:
    source.collections["movies"].info["config"]["strict_mode_config"] = {
        "enabled": True, "max_query_limit": 300, "search_allow_exact": False,
    }  # fmt: skip
    source.faults.refuse_count = True
    facts = collection_facts(node, "movies")
    assert facts.counts == {0: 2000}
    assert facts.notes == ("shard 0 was counted by scrolling its ids",)
    assert (facts.strict_mode, facts.max_query_limit) == (True, 300)
    assert source.log.count("POST /collections/movies/shards/0/points/scroll") == 7


def test_what_cannot_be_counted_is_none_and_noted(source: ReplaySource, node: Node) -> None:
    source.faults.refuse_count = source.faults.stuck_scroll = True
    facts = collection_facts(node, "sharded")
    assert facts.counts == {0: None, 1: None, 2: None}
    assert facts.exact_points is None
    assert len(facts.notes) == 3


def test_an_older_server_tells_no_operation_numbers(source: ReplaySource, node: Node) -> None:
    source.faults.no_manifest = True
    assert collection_facts(node, "movies").operations == {0: None}


def test_a_replica_that_answers_no_reads_is_not_asked(source: ReplaySource, node: Node) -> None:
    source.collections["movies"].cluster["local_shards"][0]["state"] = "Dead"
    facts = collection_facts(node, "movies")
    assert facts.shards[0].state == "Dead"
    assert facts.counts == {0: None}
    assert not any("points/count" in line for line in source.log)


def test_busy_is_not_resting(source: ReplaySource, node: Node) -> None:
    served = source.collections["movies"]
    served.running_optimizations = 1
    assert not collection_facts(node, "movies").resting
    served.running_optimizations = 0
    served.info["update_queue"] = {"length": 3, "deferred_points": 7}
    facts = collection_facts(node, "movies")
    assert (facts.queue_length, facts.deferred_points, facts.resting) == (3, 7, False)


def test_cluster_facts_of_one_of_three_nodes(source: ReplaySource, node: Node) -> None:
    tenants = expected()["sets"]["cluster"]["topology"]["tenants"]["a"]
    served = source.collections["single"]
    served.info, served.cluster = tenants["info"], tenants["cluster"]
    served.operations, served.counts = {2: 9}, {2: 200}
    facts = collection_facts(node, "single")
    assert facts.sharding_method == "custom"
    assert facts.operations == {2: 9}
    assert facts.shard_ids == {1, 2}
    assert [(r.shard, r.shard_key, r.local) for r in facts.replicas] == [
        (2, "us", True), (1, "eu", False),
    ]  # fmt: skip


def test_a_collection_that_is_gone(node: Node) -> None:
    with pytest.raises(CollectionVanished):
        collection_facts(node, "gone")


def test_a_denied_fact_is_an_error_not_an_absent_fact(source: ReplaySource, node: Node) -> None:
    source.faults.deny = 403
    with pytest.raises(AccessDenied):
        collection_facts(node, "movies")


def test_space_is_estimated_where_the_server_tells(source: ReplaySource, node: Node) -> None:
    facts = collection_facts(node, "movies")
    assert estimated_bytes(node, facts) is None
    source.collections["movies"].memory = {"total": {"disk_bytes": 1000}}
    assert estimated_bytes(node, facts) == 1000 + WAL_PER_SHARD
