"""What is written down around the create call, before a manifest exists."""

from __future__ import annotations

from typing import ClassVar

from qdrant_dr.records.base import Frozen, Record, Time, later


class ListedSnapshot(Frozen):
    """One entry of a node's snapshot list: name, size in bytes, checksum where it has one."""

    name: str
    size_bytes: int
    checksum: str | None = None


class Intent(Record):
    """`intent.json`: written before the create call, so that whatever it makes is known as ours.

    A backup of several calls has several: `intent-2.json` and so on, each with its answer. `shard`
    is there for the snapshot of one shard; a `streamed` one leaves nothing on the node.
    """

    KIND: ClassVar[str] = "intent"

    run_id: str
    backup_id: str
    cluster: str
    collection: str
    node: str
    started_at: Time
    listed_before: tuple[ListedSnapshot, ...]
    tool_version: str
    listed_full: tuple[ListedSnapshot, ...] | None = later(
        None,
        description="full snapshots there before, where the call was for one: so is its answer",
    )
    shard: int | None = later(None)
    streamed: bool = later(False)


class SnapshotAnswer(Record):
    """`snapshot.json`: what the server answered; only a file that equals it may be deleted."""

    KIND: ClassVar[str] = "snapshot"

    backup_id: str
    node: str
    answered_at: Time
    snapshot: ListedSnapshot
