"""Where peers answer, and what several nodes say of one collection, laid together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qdrant_dr.cluster import ClusterView, Placement, ShardState, joint, node_map, one_cluster
from qdrant_dr.errors import ConfigInvalid

PEERS = {1: "http://qdrant-0:6335/", 2: "http://qdrant-1:6335/", 3: "http://[::1]:6335/"}


def view(url: str, peer: int | None, peers: dict[int, str] | None = None) -> ClusterView:
    return ClusterView(url=url, peer_id=peer, peers=(PEERS if peers is None else peers))


def test_a_node_knows_best_which_peer_it_is() -> None:
    views = [view("https://a:443", 2), view("https://b:443", 1), view("https://c:443", 3)]
    assert node_map(views, {"1": "https://elsewhere"}) == {
        2: "https://a:443", 1: "https://b:443", 3: "https://c:443",
    }  # fmt: skip


def test_others_are_as_named_else_on_their_own_host_at_the_same_port() -> None:
    views = [view("https://qdrant-0:7333", 1)]
    assert node_map(views, {"2": "https://by-name:1"}) == {
        1: "https://qdrant-0:7333", 2: "https://by-name:1", 3: "https://[::1]:7333",
    }  # fmt: skip
    assert node_map([view("https://qdrant-0", 1)], {})[2] == "https://qdrant-1"


def test_an_address_at_which_another_peer_answered_is_no_guess() -> None:
    one_host = {1: "http://127.0.0.1:6335", 2: "http://127.0.0.1:6345", 3: ""}
    assert node_map([view("http://127.0.0.1:6333", 1, one_host)], {}) == {
        1: "http://127.0.0.1:6333"
    }


def test_a_server_alone_has_no_peers() -> None:
    assert node_map([view("http://a:6333", None, {})], {"1": "http://b:6333"}) == {}


def test_nodes_that_do_not_belong_together_are_refused() -> None:
    alone = view("http://a:6333", None, {})
    one_cluster([alone])
    one_cluster([view("http://a:6333", 1), view("http://b:6333", 2)])
    with pytest.raises(ConfigInvalid, match="runs without cluster mode"):
        one_cluster([alone, view("http://b:6333", None, {})])
    with pytest.raises(ConfigInvalid, match="http://b:6333 runs without"):
        one_cluster([view("http://a:6333", 1), view("http://b:6333", None, {})])
    with pytest.raises(ConfigInvalid, match="belong to different clusters"):
        one_cluster([view("http://a:6333", 1), view("http://b:6333", 9, {9: "http://b:6335"})])


def said(node: str, *states: tuple[int, int, str], transfers: tuple[str, ...] = ()) -> Placement:
    replicas = tuple(
        ShardState(shard=s, shard_key=None, state=state, local=False, peer_id=p)
        for s, p, state in states
    )
    return Placement(node=node, peer_id=1, replicas=replicas, transfers=transfers, resharding=())


def test_nodes_that_agree_are_one_view() -> None:
    here, there = (0, 1, "Active"), (0, 2, "Dead")
    view = joint([said("a", here, there), said("b", there, here)])
    assert [(r.shard, r.peer_id, r.state) for r in view.replicas] == [
        (0, 1, "Active"), (0, 2, "Dead"),
    ]  # fmt: skip
    assert (dict(view.differ), view.refusals) == ({}, ())


def test_where_they_disagree_the_worse_counts() -> None:
    view = joint([said("a", (0, 1, "Active"), (1, 1, "Active")), said("b", (0, 1, "Dead"))])
    assert [r.state for r in view.replicas] == ["Dead", "absent"]
    assert "a says Active, b says Dead" in view.differ[0, 1]
    assert "b says absent" in view.differ[1, 1]


def test_a_shard_that_nobody_lists_is_missed_by_its_number() -> None:
    whole = replace(said("a", (0, 1, "Active"), (1, 1, "Active")), shard_count=2)
    assert joint([whole]).refusals == ()
    lost = replace(said("b", (0, 1, "Active")), shard_count=2)
    (refusal,) = joint([lost]).refusals
    assert "2 shards, but only [0] have a replica" in refusal


def test_a_transfer_that_one_node_knows_of_is_known() -> None:
    view = joint([said("a"), said("b", transfers=("{}",)), said("c", transfers=("{}",))])
    assert (view.transfers, view.refusals) == (("{}",), ())
