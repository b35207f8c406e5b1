"""Whether the answers of a live collection are whole, by what its node says. Pure.

A shard is read from its Active replicas alone, on whatever node, and written to all that follow.
"""

from __future__ import annotations

import json

from qdrant_dr.cluster.facts import READABLE_STATES, CollectionFacts


def why_half(facts: CollectionFacts) -> list[str]:
    """Say why some points are not in any answer, or may be in none: a shard without a replica that
    answers, points that the server hides, points that move."""
    states: dict[int, list[str]] = {}
    for r in facts.replicas:
        states.setdefault(r.shard, []).append(r.state)
    reasons = [
        f"no replica of shard {shard} answers ({', '.join(sorted({*said}))})"
        for shard, said in sorted(states.items())
        if READABLE_STATES.isdisjoint(said)
    ]
    known = json.loads(facts.cluster_json).get("shard_count")
    if known is not None and known > len(states):
        reasons.append(f"{known - len(states)} of its {known} shards have no replica at all")
    if facts.deferred_points:
        reasons.append(
            f"{facts.deferred_points} points are deferred: the server hides them until they are "
            "optimised"
        )
    if facts.resharding:
        reasons.append("it is being resharded: points may be in two shards, or in none")
    return reasons


def left_out(facts: CollectionFacts) -> str | None:
    """Name the replicas that answer nothing, beside others that do; None if there are none."""
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
