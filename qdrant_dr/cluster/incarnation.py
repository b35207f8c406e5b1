"""Which life of a collection's name this is. Pure: histories of two lives never mix."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from qdrant_dr.cluster.facts import CollectionFacts
from qdrant_dr.records import Manifest

_LASTING = ("size", "distance", "datatype", "multivector_config")


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
    only for shards that the previous backup took from the same peer at the same address.
    """
    info = json.loads(previous.collection_info)
    params = info["config"]["params"]
    reasons = _parameters((_vectors(params), params.get("shard_number", 1)), _lasting(facts))
    here = {
        shard
        for p in previous.parts
        if p.node == facts.node and p.peer_id in (None, facts.peer_id)
        for shard in p.shards
    }
    numbers = {
        s.shard: s.operation_before if s.operation_after is None else s.operation_after
        for s in previous.shards
        if s.shard in here
    }
    return tuple(reasons + fallen(numbers, facts.operations))


def another_uuid(uuid: str | None, previous: Manifest | None) -> tuple[str, ...]:
    """Why an archive's `uuid` shows another life; only a re-framed backup knew one, too, or who
    inherited it from one."""
    if uuid is None or previous is None or previous.incarnation == uuid:
        return ()
    if not any(p.reframed for p in previous.parts) and not _is_uuid(previous.incarnation):
        return ()
    return (f"its uuid changed from {previous.incarnation} to {uuid}",)


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def changed_life(before: CollectionFacts, after: CollectionFacts) -> tuple[str, ...]:
    """Why facts of one node, taken one after the other, belong to two lives; empty if not."""
    reasons = _parameters(_lasting(before), _lasting(after))
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


def _lasting(facts: CollectionFacts) -> tuple[str, int]:
    return _vectors(facts.info["config"]["params"]), facts.shard_number


def _vectors(params: Mapping[str, Any]) -> str:
    """What no call changes within a life: index, quantization and storage of vectors may be set
    anew at any time (`PATCH /collections/{c}`), and the points stay what they are."""
    vectors = params.get("vectors") or {}
    dense = {"": vectors} if "size" in vectors else vectors
    lasting = {name: {k: about.get(k) for k in _LASTING} for name, about in dense.items()}
    return json.dumps([lasting, sorted(params.get("sparse_vectors") or ())], sort_keys=True)
