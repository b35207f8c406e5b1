"""Choose from which peers to take which shards: each shard once, from a complete replica. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from qdrant_dr.cluster.facts import LISTENER, READABLE_STATES, ShardState
from qdrant_dr.cluster.topology import peer_of


@dataclass(frozen=True, slots=True)
class PeerShards:
    """Shards that are taken from one peer."""

    peer: int
    shards: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """`refusals` name the shards that no peer can give; `takes` then hold only the others."""

    takes: tuple[PeerShards, ...]
    refusals: tuple[str, ...]


def choose_replicas(
    replicas: Iterable[ShardState],
    *,
    reached: Iterable[int],
    load: Mapping[int, int],
    listeners: bool = False,
) -> CapturePlan:
    """Choose peers so that every shard is taken exactly once, whatever the order of `replicas`.

    Only replicas on `reached` peers that hold all acknowledged writes are chosen; with `listeners`
    also those of listeners, for shards that no other peer has. Archives of listeners hold no WAL,
    so the caller must make sure that nothing is written. A peer's archive holds all its shards, so
    few peers are read rather than many: the next is always the one with the most missing shards,
    and among those the one with the least `load` (shards that other work of this run takes from
    it)."""
    every = list(replicas)
    at_hand = frozenset(reached)
    holders = _holders(every, READABLE_STATES, at_hand)
    if listeners:
        for shard, peers in _holders(every, frozenset({LISTENER}), at_hand).items():
            holders.setdefault(shard, peers)
    chosen = _peers(holders, load)
    taken: Counter[int] = Counter()
    takes: dict[int, list[int]] = {peer: [] for peer in chosen}
    # a shard with one holder leaves no choice; the others then even out
    for shard in sorted(holders, key=lambda s: (len(holders[s] & chosen), s)):
        peer = min(holders[shard] & chosen, key=lambda p: (taken[p] + load.get(p, 0), p))
        taken[peer] += 1
        takes[peer].append(shard)
    missing = sorted({r.shard for r in every} - holders.keys())
    return CapturePlan(
        takes=tuple(PeerShards(p, tuple(sorted(s))) for p, s in sorted(takes.items()) if s),
        refusals=tuple(_refusal(shard, every, at_hand) for shard in missing),
    )


def _holders(
    replicas: Iterable[ShardState], states: frozenset[str], reached: frozenset[int]
) -> dict[int, frozenset[int]]:
    found: dict[int, set[int]] = {}
    for r in replicas:
        if r.state in states and peer_of(r) in reached:
            found.setdefault(r.shard, set()).add(peer_of(r))
    return {shard: frozenset(peers) for shard, peers in found.items()}


def _peers(holders: Mapping[int, frozenset[int]], load: Mapping[int, int]) -> frozenset[int]:
    chosen: list[int] = []
    missing = set(holders)
    while missing:
        offers = Counter(peer for shard in missing for peer in holders[shard])
        best = min(offers, key=lambda p: (-offers[p], load.get(p, 0), p))
        chosen.append(best)
        missing -= {s for s in missing if best in holders[s]}
    for peer in list(chosen):  # peers chosen later may cover all of an earlier one
        others = set(chosen) - {peer}
        if others and all(peers & others for peers in holders.values()):
            chosen.remove(peer)
    return frozenset(chosen)


def _refusal(shard: int, replicas: Iterable[ShardState], reached: frozenset[int]) -> str:
    mine = sorted((peer_of(r), r.state) for r in replicas if r.shard == shard)
    states = ", ".join(
        f"{state} on peer {peer}" + ("" if peer in reached else " (not reached)")
        for peer, state in mine
    )
    return f"shard {shard} has no complete replica within reach: {states}"
