"""Which life of a collection's name this is. Pure: histories of two lives never mix."""

from __future__ import annotations

import json

from qdrant_dr.cluster.facts import CollectionFacts, vectors_text
from qdrant_dr.records import Manifest


def incarnation(
    facts: CollectionFacts, previous: Manifest | None, *, fresh: str, uuid: str | None = None
) -> str:
    """The life that `facts` belong to: the archive's `uuid` where there is one, else ours.

    Ours is inherited from the previous manifest of the name, and `fresh` if there is none or
    `another_life` finds a reason. A collection re-created with equal parameters and more
    operations than before is missed; a drift check of its content sees it.
    """
    if uuid:
        return uuid
    if previous is None or another_life(facts, previous):
        return fresh
    return previous.incarnation


def another_life(facts: CollectionFacts, previous: Manifest) -> tuple[str, ...]:
    """Why the collection now cannot be the one that was backed up; empty if it may be.

    Operation numbers only rise within one life. They belong to a replica, so they are compared
    only for shards that the previous backup took from the same node.
    """
    info = json.loads(previous.collection_info)
    params = info["config"]["params"]
    reasons = _parameters(
        (vectors_text(params), params.get("shard_number", 1)), (facts.vectors, facts.shard_number)
    )
    here = {shard for p in previous.parts if p.node == facts.node for shard in p.shards}
    numbers = {
        s.shard: s.operation_before if s.operation_after is None else s.operation_after
        for s in previous.shards
        if s.shard in here
    }
    return tuple(reasons + fallen(numbers, facts.operations))


def another_uuid(uuid: str | None, previous: Manifest | None) -> tuple[str, ...]:
    """Why an archive's `uuid` shows another life; only a re-framed backup knew one, too."""
    if uuid is None or previous is None or not any(p.reframed for p in previous.parts):
        return ()
    if previous.incarnation == uuid:
        return ()
    return (f"its uuid changed from {previous.incarnation} to {uuid}",)


def changed_life(before: CollectionFacts, after: CollectionFacts) -> tuple[str, ...]:
    """Why facts of one node, taken one after the other, belong to two lives; empty if not."""
    reasons = _parameters(
        (before.vectors, before.shard_number), (after.vectors, after.shard_number)
    )
    return tuple(reasons + fallen(before.operations, after.operations))


def fallen(before: dict[int, int | None], after: dict[int, int | None]) -> list[str]:
    """Shards whose operation number fell, in words."""
    return [
        f"operation number of shard {shard} fell from {was} to {now}"
        for shard, was in sorted(before.items())
        if was is not None and (now := after.get(shard)) is not None and now < was
    ]


def _parameters(before: tuple[str, int], after: tuple[str, int]) -> list[str]:
    reasons = []
    if before[0] != after[0]:
        reasons.append(f"vector parameters changed from {before[0]} to {after[0]}")
    if before[1] != after[1]:
        reasons.append(f"number of shards changed from {before[1]} to {after[1]}")
    return reasons
