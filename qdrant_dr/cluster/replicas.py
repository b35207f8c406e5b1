"""Count each complete replica of a shard on its own node, and compare the counts.

"Active" is only the cluster's belief: a node that was killed can come back Active and lack writes
that the others acknowledged (seen on Qdrant 1.18.3). Calls for one shard are answered by the
replica of the asked node and never passed on (local_shard_api.rs there)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qdrant_dr.cluster.facts import (
    LISTENER,
    READABLE_STATES,
    ShardState,
    exact_count,
    operation_number,
)
from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.cluster.topology import peer_of
from qdrant_dr.errors import ClusterError

FULL = READABLE_STATES | {LISTENER}
"""States of replicas that should hold all acknowledged writes."""
STILL = 3
"""With this many equal answers in a row nothing is being written, so a difference will not go
away."""


@dataclass(frozen=True, slots=True)
class Held:
    """One replica as counted by its node. `points` are exact; None with `why` if it could not be
    counted. `hidden` are points that the node withholds from reads (`prevent_unoptimized`)."""

    shard: int
    peer: int
    node: str
    state: str
    points: int | None
    operation: int | None = None
    hidden: int = 0
    why: str = ""


def several(replicas: Iterable[ShardState], reached: Iterable[int]) -> dict[int, tuple[int, ...]]:
    """Return shards with more than one complete replica within reach, and their peers. Pure."""
    at_hand = frozenset(reached)
    found: dict[int, set[int]] = {}
    for r in replicas:
        if r.state in FULL and peer_of(r) in at_hand:
            found.setdefault(r.shard, set()).add(peer_of(r))
    return {shard: tuple(sorted(p)) for shard, p in sorted(found.items()) if len(p) > 1}


def held_by(node: Node, peer: int, collection: str, states: Mapping[int, str]) -> tuple[Held, ...]:
    """Count these replicas (shard to state) on the node that has them.

    Never raises an error of the tree: a node that is busy or limits us (`read_rate_limit` of strict
    mode) has given no count, but does not count as lost.
    """
    try:
        info = node.ask(
            "GET", path_of(collection), f"read its information of {collection!r}",
            collection=collection,
        )  # fmt: skip
    except ClusterError as e:
        return tuple(Held(n, peer, node.url, s, None, why=e.message) for n, s in states.items())
    limit = largest_page(info)
    hidden = (info.get("update_queue") or {}).get("deferred_points") or 0
    found = []
    for shard, state in states.items():
        notes: list[str] = []
        points = operation = None
        try:
            points = exact_count(node, collection, shard, limit=limit, notes=notes)
            operation = operation_number(node, collection, shard)
        except ClusterError as e:
            notes = [e.message]
        why = "; ".join(notes) if points is None else ""
        found.append(Held(shard, peer, node.url, state, points, operation, hidden, why))
    return tuple(found)


def largest_page(info: Mapping[str, Any]) -> int | None:
    """Return how much strict mode lets one request read; None: unlimited. Pure."""
    strict = info["config"].get("strict_mode_config") or {}
    return strict.get("max_query_limit") if strict.get("enabled") else None


def agree(replicas: Sequence[Held]) -> bool:
    """Say whether all replicas of one shard could be counted and hold equally many points. Pure."""
    return len({r.points for r in replicas}) == 1 and all(
        r.points is not None and not r.hidden for r in replicas
    )


def still(rounds: Sequence[Sequence[Held]]) -> bool:
    """Say whether the last answers of all replicas of a shard are unchanged, so that no write under
    way explains a difference. Pure."""
    last = rounds[-STILL:]
    known = all(
        r.points is not None and r.operation is not None and not r.hidden
        for asked in last
        for r in asked
    )
    return len(last) == STILL and known and len({tuple(asked) for asked in last}) == 1


def behind(replicas: Iterable[Held]) -> frozenset[tuple[int, int]]:
    """Return shard and peer of replicas that hold fewer points than another that can be captured.

    Pure. Operation numbers belong to a single replica: only points can be compared.
    """
    every = [r for r in replicas if r.state in READABLE_STATES and r.points is not None]
    most: dict[int, int] = {}
    for r in every:
        most[r.shard] = max(most.get(r.shard, 0), r.points or 0)
    return frozenset((r.shard, r.peer) for r in every if (r.points or 0) < most[r.shard])
