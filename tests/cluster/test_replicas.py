"""Counts of replicas: when they agree, when nothing moves, and who holds less. Pure."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.cluster.facts import ShardState
from qdrant_dr.cluster.replicas import STILL, Held, agree, behind, several, still


def held(shard: int, peer: int, points: int | None, state: str = "Active", op: int = 7) -> Held:
    return Held(shard, peer, f"http://{peer}", state, points, op)


replicas = st.lists(
    st.builds(
        held, st.integers(0, 3), st.integers(1, 4), st.none() | st.integers(0, 3),
        st.sampled_from(["Active", "Listener"]),
    ),
    unique_by=lambda r: (r.shard, r.peer),
)  # fmt: skip


@given(replicas)
def test_of_each_shard_one_that_holds_the_most_is_left(every: list[Held]) -> None:
    left = behind(every)
    for shard in {r.shard for r in every}:
        known = [
            r for r in every if r.shard == shard and r.state == "Active" and r.points is not None
        ]
        kept = [r for r in known if (r.shard, r.peer) not in left]
        assert bool(kept) == bool(known)
        assert {r.points for r in kept} == ({max(r.points or 0 for r in known)} if known else set())
    assert not {(r.shard, r.peer) for r in every if r.points is None or r.state != "Active"} & left


def test_agreement_is_of_counts_that_are_known_and_hide_nothing() -> None:
    one, two = held(0, 1, 10), held(0, 2, 10, op=3)
    assert agree([one, two])  # operation numbers are a replica's own
    assert not agree([one, replace(two, points=11)])
    assert not agree([replace(one, points=None), replace(two, points=None)])
    assert not agree([one, replace(two, hidden=3)])


def test_still_is_the_same_answer_several_times() -> None:
    asked = (held(0, 1, 10), held(0, 2, 8))
    moved = (held(0, 1, 10, op=8), held(0, 2, 8))
    assert not still([asked] * (STILL - 1))
    assert still([moved, *[asked] * STILL])
    assert not still([*[asked] * (STILL - 1), moved])
    assert not still([(held(0, 1, None), held(0, 2, 8))] * STILL)
    unnumbered = tuple(replace(r, operation=None) for r in asked)
    assert not still([unnumbered] * STILL)


def test_only_full_replicas_at_hand_are_several() -> None:
    def at(shard: int, peer: int, state: str = "Active") -> ShardState:
        return ShardState(shard=shard, shard_key=None, state=state, local=False, peer_id=peer)

    every = [at(0, 1), at(0, 2, "Listener"), at(1, 1), at(1, 2, "Dead"), at(2, 1), at(2, 3)]
    assert several(every, {1, 2}) == {0: (1, 2)}
    assert several(every, {1, 2, 3}) == {0: (1, 2), 2: (1, 3)}
