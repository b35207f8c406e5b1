"""Who holds which shard: on one node all of them here, in a cluster as its consensus has it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from qdrant_dr.sandbox.http import Json

ShardKey = str | int
_READABLE = ("Active", "ReshardingScaleDown")


@dataclass(frozen=True, slots=True)
class Replicas:
    """One shard: the state of each replica by the id of its peer, and its key, if it has one."""

    states: dict[int, str]
    key: ShardKey | None = None

    def readable(self) -> list[int]:
        """Return the peers whose replica answers reads, in the order of their ids."""
        return sorted(peer for peer, state in self.states.items() if state in _READABLE)

    def state_file(self, peer_id: int) -> dict[str, Json]:
        """Return `replica_state.json` as the node `peer_id` writes it."""
        peers = {str(peer): state for peer, state in self.states.items()}
        return {"is_local": peer_id in self.states, "this_peer_id": peer_id, "peers": peers}


Placement = dict[int, Replicas]
"""By shard id, ascending."""


def one_node(shards: Iterable[int], peer_id: int) -> Placement:
    return {number: Replicas({peer_id: "Active"}) for number in sorted(shards)}


def key_mapping(placement: Placement) -> list[Json]:
    """Return `shard_key_mapping.json`: the shards of each key."""
    mapping: dict[ShardKey, list[int]] = {}
    for number, replicas in placement.items():
        if replicas.key is not None:
            mapping.setdefault(replicas.key, []).append(number)
    return [{"key": key, "shard_ids": numbers} for key, numbers in mapping.items()]


def keys_of(mapping: Json) -> dict[int, ShardKey]:
    """Return the key of each shard, from `shard_key_mapping.json`."""
    return {number: pair["key"] for pair in mapping for number in pair["shard_ids"]}


def placed(placement: Placement) -> dict[str, Json]:
    """Turn a placement into JSON, for the peers of a scripted cluster."""
    return {
        str(number): {"states": replicas.states, "key": replicas.key}
        for number, replicas in placement.items()
    }


def placement_in(told: dict[str, Json]) -> Placement:
    """Read a placement back from that JSON."""
    return {
        int(number): Replicas({int(p): s for p, s in one["states"].items()}, one["key"])
        for number, one in told.items()
    }
