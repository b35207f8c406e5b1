"""Whether the answers of a live collection are whole, by what its node says.

A shard is read from its Active replicas alone, on whatever node, and written to all that follow.
"""

from __future__ import annotations

from collections.abc import Sequence

from qdrant_dr.cluster.facts import (
    READABLE_STATES,
    CollectionFacts,
    Placement,
    collection_facts,
    placement,
)
from qdrant_dr.cluster.node import Node
from qdrant_dr.errors import PlanRefused


def whole_facts(node: Node, name: str) -> CollectionFacts:
    """Return the facts of a collection of which every point is in the answers. Raise PlanRefused if
    some may not be: then a point that is only hidden looks like one that is gone."""
    must_answer(node, name)
    facts = collection_facts(node, name)
    _refuse(node, name, why_half(facts))
    return facts


def must_answer(node: Node, name: str) -> None:
    """Raise PlanRefused if a shard has no replica that answers."""
    _refuse(node, name, silent_shards(placement(node, name)))


def _refuse(node: Node, name: str, reasons: Sequence[str]) -> None:
    if reasons:
        raise PlanRefused(
            f"what {node.url} says of {name!r} is not whole: {'; '.join(reasons)}",
            "a point that is only hidden would be taken for one that is gone: run it again when "
            "that is over.",
        )


def silent_shards(placed: Placement) -> list[str]:
    """Name the shards without a replica that answers. Pure."""
    states: dict[int, set[str]] = {}
    for r in placed.replicas:
        states.setdefault(r.shard, set()).add(r.state)
    reasons = [
        f"no replica of shard {shard} answers ({', '.join(sorted(said))})"
        for shard, said in sorted(states.items())
        if READABLE_STATES.isdisjoint(said)
    ]
    known = placed.shard_count or 0
    if known > len(states):
        reasons.append(f"{known - len(states)} of its {known} shards have no replica at all")
    return reasons


def why_half(facts: CollectionFacts) -> list[str]:
    """Say why some points may be in no answer though every shard gives one. Pure."""
    reasons = []
    if facts.deferred_points:
        reasons.append(
            f"{facts.deferred_points} points are deferred: the server hides them until they are "
            "optimised"
        )
    if facts.resharding:
        reasons.append("it is being resharded: points may be in two shards, or in none")
    return reasons


def left_out(facts: CollectionFacts) -> str | None:
    """Name the replicas that answer nothing, beside others that do; None if there are none.
    Pure."""
    some = sorted(
        f"shard {r.shard} on {'this node' if r.local else f'peer {r.peer_id}'} is {r.state}"
        for r in facts.replicas
        if r.state not in READABLE_STATES
    )
    if not some:
        return None
    return (
        f"not every replica of {facts.collection!r} answers: {', '.join(some[:8])}"
        f"{', ...' * (len(some) > 8)}; what is said is what the others hold"
    )
