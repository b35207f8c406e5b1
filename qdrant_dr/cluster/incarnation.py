"""Tell incarnations of a collection's name apart, so that their histories never mix. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from qdrant_dr.cluster.facts import CollectionFacts
from qdrant_dr.raw_settings import dense_vectors
from qdrant_dr.records import Manifest

_LASTING = ("size", "distance", "datatype", "multivector_config")


def incarnation(
    facts: CollectionFacts, previous: Manifest | None, *, fresh: str, uuid: str | None = None
) -> str:
    """Return the incarnation of `facts`: the archive's `uuid` if there is one, else our own id.

    Our own is inherited from the previous manifest of the name; it is `fresh` if there is none or
    if `another_life` finds a reason. A collection recreated with equal parameters and more
    operations than before is not detected here; a drift check of its content detects it."""
    if uuid:
        return uuid
    if previous is None or another_life(facts, previous):
        return fresh
    return previous.incarnation


def another_life(facts: CollectionFacts, previous: Manifest) -> tuple[str, ...]:
    """Say why the collection cannot be the one that was backed up; empty if it may be.

    Operation numbers only rise within one incarnation. They belong to a replica, so they are
    compared only for shards that the previous backup took from the same peer at the same address.
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
    """Say why an archive's `uuid` shows another incarnation. Only a re-framed backup knows a uuid,
    or one that inherited it."""
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
    """Say why facts of one node, taken one after the other, belong to two incarnations."""
    reasons = _parameters(_lasting(before), _lasting(after))
    return tuple(reasons + fallen(before.operations, after.operations))


def fallen(before: dict[int, int | None], after: dict[int, int | None]) -> list[str]:
    """List shards whose operation number fell, in words."""
    return [
        f"operation number of shard {shard} fell from {was} to {now}"
        for shard, was in sorted(before.items())
        if was is not None and (now := after.get(shard)) is not None and now < was
    ]


def other_vectors(before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """Say how the vectors of two collections' `params` differ in what no call can change; None if
    they do not."""
    was, are = _vectors(before), _vectors(now)
    return None if was == are else f"it has the vectors {are}, the backup {was}"


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
    """Return the vector parameters that no call can change. Index, quantization and storage can be
    changed at any time (`PATCH /collections/{c}`) without changing the points."""
    dense = dense_vectors(params)
    lasting = {name: {k: about.get(k) for k in _LASTING} for name, about in dense.items()}
    return json.dumps([lasting, sorted(params.get("sparse_vectors") or ())], sort_keys=True)
