"""Each shard once, from a full replica, in whatever order the replicas are told."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.cluster import CapturePlan, PeerShards, ShardState, choose_replicas
from qdrant_dr.cluster.facts import READABLE_STATES

STATES = ["Active", "ReshardingScaleDown", "Listener", "Dead", "Partial", "Initializing"]


def replica(shard: int, peer: int, state: str = "Active") -> ShardState:
    return ShardState(shard=shard, shard_key=None, state=state, local=False, peer_id=peer)


def covered(
    *replicas: ShardState, load: dict[int, int] | None = None, **options: bool
) -> CapturePlan:
    peers = {r.peer_id or 0 for r in replicas}
    return choose_replicas(replicas, reached=peers, load=load or {}, **options)


placements = st.dictionaries(
    st.integers(0, 7),
    st.dictionaries(st.integers(1, 6), st.sampled_from(STATES), min_size=1, max_size=4),
    min_size=1,
)


@given(placements, st.sets(st.integers(1, 6)), st.booleans(), st.integers())
def test_every_shard_exactly_once_and_only_from_full_replicas_at_hand(
    places: dict[int, dict[int, str]], reached: set[int], listeners: bool, seed: int
) -> None:
    replicas = [replica(s, p, state) for s, peers in places.items() for p, state in peers.items()]
    load = {peer: peer % 3 for peer in range(1, 7)}
    cover = choose_replicas(replicas, reached=reached, load=load, listeners=listeners)
    taken = [shard for take in cover.takes for shard in take.shards]
    refused = [int(words.split()[1]) for words in cover.refusals]
    assert sorted(taken + refused) == sorted(places)
    for take in cover.takes:
        assert take.peer in reached
        for shard in take.shards:
            state = places[shard][take.peer]
            full = any(s in READABLE_STATES and p in reached for p, s in places[shard].items())
            assert state in READABLE_STATES or (listeners and state == "Listener" and not full)
    for shard in refused:
        good = READABLE_STATES | ({"Listener"} if listeners else set())
        assert not any(s in good and p in reached for p, s in places[shard].items())
    random.Random(seed).shuffle(replicas)
    assert choose_replicas(replicas, reached=reached, load=load, listeners=listeners) == cover


def test_no_peer_is_asked_that_others_make_needless() -> None:
    cover = covered(*(replica(s, p) for s, p in [(0, 1), (0, 2), (1, 2), (1, 3), (2, 1), (2, 3)]))
    assert len(cover.takes) == 2
    alone = covered(replica(0, 1), replica(0, 2), replica(1, 2), replica(1, 3), replica(2, 2))
    assert alone.takes == (PeerShards(2, (0, 1, 2)),)


def test_the_least_loaded_peer_is_next() -> None:
    replicas = [replica(0, 1), replica(0, 2), replica(0, 3)]
    assert covered(*replicas).takes == (PeerShards(1, (0,)),)
    assert covered(*replicas, load={1: 5, 2: 1, 3: 2}).takes == (PeerShards(2, (0,)),)


def test_shards_that_several_have_are_shared_out() -> None:
    both = [replica(s, p) for s in (1, 2, 3, 4) for p in (1, 2)]
    cover = covered(replica(0, 1), replica(5, 2), *both)
    assert [len(t.shards) for t in cover.takes] == [3, 3]


def test_a_listener_only_where_nobody_else_is_whole() -> None:
    replicas = [replica(0, 1), replica(0, 2, "Listener"), replica(1, 2, "Listener")]
    assert covered(*replicas).refusals == (
        "shard 1 has no complete replica within reach: Listener on peer 2",
    )
    assert covered(*replicas, listeners=True) == CapturePlan(
        (PeerShards(1, (0,)), PeerShards(2, (1,))), ()
    )


@pytest.mark.parametrize("state", ["Dead", "Partial", "Recovery", "Unheard-of"])
def test_nodes_that_cannot_give_a_shard_are_named(state: str) -> None:
    cover = choose_replicas([replica(3, 7, state), replica(3, 8)], reached={7}, load={})
    assert cover.takes == ()
    (words,) = cover.refusals
    assert f"shard 3 has no complete replica within reach: {state} on peer 7" in words
    assert "Active on peer 8 (not reached)" in words
