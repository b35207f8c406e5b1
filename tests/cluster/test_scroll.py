"""Every point once, as the server's JSON has it."""

from __future__ import annotations

import pytest

from qdrant_dr.cluster import Node, points_by_id, sample_points, scroll_points
from qdrant_dr.errors import CollectionVanished, ServerFailed
from tests.support.replay import ReplaySource, truth

SETS = {"basic": "movies", "rich": "rich-ünïcode", "sharded": "sharded", "empty": "empty"}


@pytest.mark.parametrize(("set_name", "collection"), SETS.items())
def test_every_point_with_its_content(node: Node, set_name: str, collection: str) -> None:
    assert list(scroll_points(node, collection)) == list(truth(set_name))


def test_pages_respect_strict_mode(source: ReplaySource, node: Node) -> None:
    assert list(scroll_points(node, "rich-ünïcode", limit=100)) == list(truth("rich"))
    pages = source.log.count("POST /collections/rich-ünïcode/points/scroll")
    assert pages >= len(truth("rich")) / 100


def test_one_shard_only(source: ReplaySource, node: Node) -> None:
    assert len(list(scroll_points(node, "movies", shard=0))) == 2000
    assert "POST /collections/movies/shards/0/points/scroll" in source.log


def test_points_by_id_leaves_out_unknown_ones(node: Node) -> None:
    wanted = [truth("rich")[7]["id"], truth("rich")[-1]["id"], 10**15]
    assert {p["id"] for p in points_by_id(node, "rich-ünïcode", wanted)} == set(wanted[:2])
    assert list(points_by_id(node, "rich-ünïcode", [])) == []


def test_points_by_id_in_pages(source: ReplaySource, node: Node) -> None:
    ids = [p["id"] for p in truth("basic")[:25]]
    assert list(points_by_id(node, "movies", ids, limit=10)) == list(truth("basic")[:25])
    assert source.log.count("POST /collections/movies/points") == 3


@pytest.mark.parametrize(("set_name", "collection"), SETS.items())
def test_a_sample_is_seeded_and_of_every_kind_of_id(
    node: Node, set_name: str, collection: str
) -> None:
    all_points = {p["id"]: p for p in truth(set_name)}
    sample = {p["id"]: p for p in sample_points(node, collection, count=40, seed="s")}
    assert sample == {i: all_points[i] for i in sample}
    assert {type(i) for i in sample} == {type(i) for i in all_points}
    assert min(10, len(all_points)) <= len(sample) <= 40
    again = {p["id"] for p in sample_points(node, collection, count=40, seed="s")}
    assert again == set(sample)
    if all_points:
        other = {p["id"] for p in sample_points(node, collection, count=40, seed="t")}
        assert other != again


def test_a_server_that_does_not_advance_is_an_error_not_a_loop(
    source: ReplaySource, node: Node
) -> None:
    source.faults.stuck_scroll = True
    with pytest.raises(ServerFailed, match="does not advance"):
        list(scroll_points(node, "movies"))


def test_a_collection_that_is_gone_is_reported(node: Node) -> None:
    with pytest.raises(CollectionVanished):
        list(scroll_points(node, "gone"))
