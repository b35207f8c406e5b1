"""What is written down around the create call, before a manifest exists."""

from __future__ import annotations

from typing import ClassVar

from qdrant_dr.records.base import Frozen, Record, Time


class ListedSnapshot(Frozen):
    """One entry of a node's snapshot list: name, size in bytes, checksum where it has one."""

    name: str
    size_bytes: int
    checksum: str | None = None


class Intent(Record):
    """`intent.json`: written before the create call, so that whatever it makes is known as ours."""

    KIND: ClassVar[str] = "intent"

    run_id: str
    backup_id: str
    cluster: str
    collection: str
    node: str
    started_at: Time
    listed_before: tuple[ListedSnapshot, ...]
    tool_version: str


class SnapshotAnswer(Record):
    """`snapshot.json`: what the server answered; only a file that equals it may be deleted."""

    KIND: ClassVar[str] = "snapshot"

    backup_id: str
    node: str
    answered_at: Time
    snapshot: ListedSnapshot
