"""May this collection be captured now, and did anything move meanwhile? Pure decisions."""

from __future__ import annotations

from dataclasses import dataclass

from qdrant_dr.cluster.facts import READABLE_STATES, CollectionFacts
from qdrant_dr.cluster.incarnation import changed_life
from qdrant_dr.records.manifest import Method

LONGEST_NAME = 255
"""Bytes of a file name on most file systems."""

WITHOUT_WAL: frozenset[Method] = frozenset({"shard", "stream"})


@dataclass(frozen=True, slots=True)
class Preflight:
    """`refusals`: no usable archive can come of it. `doubts`: captured, marked and reported."""

    refusals: tuple[str, ...]
    doubts: tuple[str, ...]


def preflight(facts: CollectionFacts, *, method: Method = "collection") -> Preflight:
    """Judge one collection on one node before its capture."""
    return Preflight(tuple(_refusals(facts)), tuple(_doubts(facts, method)))


def check_gates(before: CollectionFacts, after: CollectionFacts) -> tuple[str, ...]:
    """What moved during a capture that must not; empty if all gates hold.

    Writes may move: operation numbers and counts that rise are no broken gate.
    """
    broken = list(changed_life(before, after))
    shards = sorted(before.shard_ids), sorted(after.shard_ids)
    if shards[0] != shards[1]:
        broken.append(f"shards changed from {shards[0]} to {shards[1]}")
    if _places(before) != _places(after):
        broken.append(f"replicas changed from {_places(before)} to {_places(after)}")
    for facts, when in ((before, "before"), (after, "after")):
        if facts.transfers:
            broken.append(f"{len(facts.transfers)} shard transfers were under way {when} it")
        if facts.resharding:
            broken.append(f"resharding was under way {when} it")
    return tuple(broken)


def _refusals(facts: CollectionFacts) -> list[str]:
    refusals = [
        f"shard {s.shard} is {s.state} on this node: not a full copy"
        for s in facts.shards
        if s.state not in READABLE_STATES
    ]
    if not facts.shards:
        refusals.append("no shard of it lies on this node")
    if elsewhere := sorted(facts.shard_ids - {s.shard for s in facts.shards}):
        refusals.append(f"shards {elsewhere} lie on other nodes: one node holds only a part of it")
    if facts.transfers:
        refusals.append(f"{len(facts.transfers)} shard transfers are under way")
    if facts.resharding:
        refusals.append("resharding is under way: points may lie in two shards")
    return refusals


def _doubts(facts: CollectionFacts, method: Method) -> list[str]:
    doubts = []
    if facts.status == "red":
        doubts.append(f"status is red (optimizer: {facts.optimizer_status})")
    if method in WITHOUT_WAL and not facts.resting:
        # measured on 1.18.3: such archives then hold points that had been deleted
        doubts.append(f"not settled (status {facts.status}), and method {method} keeps no WAL")
    if facts.deferred_points:
        doubts.append(
            f"{facts.deferred_points} deferred points are in the archive but not readable"
        )
    if (length := snapshot_name_bytes(facts)) > LONGEST_NAME:
        doubts.append(f"its snapshot's file name has {length} bytes, more than most disks allow")
    if any(s.operation is None for s in facts.shards):
        doubts.append("the server tells no operation numbers: consistency cannot be shown")
    if uncounted := [s.shard for s in facts.shards if s.count is None]:
        doubts.append(f"shards {uncounted} could not be counted ({'; '.join(facts.notes)})")
    return doubts


def snapshot_name_bytes(facts: CollectionFacts) -> int:
    """Bytes of the longest file name that a snapshot of it needs on the node.

    `{collection}-{peer_id}-%Y-%m-%d-%H-%M-%S.snapshot`, and `.checksum` after it
    (collection/snapshots.rs, snapshots_manager.rs of Qdrant 1.18.3).
    """
    suffix = f"-{facts.peer_id or ''}-2026-11-22-10-15-30.snapshot.checksum"
    return len(facts.collection.encode()) + len(suffix)


def _places(facts: CollectionFacts) -> list[tuple[int, int | None, str]]:
    return sorted((r.shard, r.peer_id, r.state) for r in facts.replicas)
