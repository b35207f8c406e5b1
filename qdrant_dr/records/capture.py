"""The records around a create call, written before a manifest exists."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import ClassVar

from qdrant_dr.records.base import Frozen, Record, Time, later


class ListedSnapshot(Frozen):
    """One entry of a node's snapshot list: name, size in bytes, checksum if it has one."""

    name: str
    size_bytes: int
    checksum: str | None = None


class Intent(Record):
    """`intent.json`: written before the create call, so that whatever it makes is known to be ours.

    A backup of several calls has several: `intent-2.json` and so on, each with its answer. `shard`
    is set for the snapshot of one shard; a `streamed` one leaves nothing on the node.
    Earlier snapshots on the node are kept only as digests of their names, to tell whether a name is
    new: the repository need not know what else is on the server. Older records hold lists instead.
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
    names_before: tuple[str, ...] | None = later(
        None, description="digests of names; `listed_before` is empty then"
    )
    full_before: tuple[str, ...] | None = later(
        None, description="the same of full snapshots, where the call was for one"
    )
    asked_at: Time | None = later(None, description="of this call; `started_at` is the capture's")

    @property
    def full(self) -> bool:
        """Say whether the call was for a snapshot of the whole instance."""
        return self.listed_full is not None or self.full_before is not None

    def knew(self, name: str, *, full: bool = False) -> bool:
        """Say whether a file of this name was there before the call; `full`: among full
        snapshots."""
        digests = self.full_before if full else self.names_before
        if digests is not None:
            return name_digest(self.backup_id, name) in digests
        listed = (self.listed_full or ()) if full else self.listed_before
        return any(s.name == name for s in listed)


def name_digest(backup_id: str, name: str) -> str:
    """Return a name's digest, which recognizes the name and differs from backup to backup."""
    return hashlib.sha256(f"{backup_id}\n{name}".encode()).hexdigest()[:16]


def name_digests(backup_id: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return the digests of several names, in an order that reveals nothing."""
    return tuple(sorted(name_digest(backup_id, name) for name in names))


class SnapshotAnswer(Record):
    """`snapshot.json`: the server's answer; only a file that equals it may be deleted."""

    KIND: ClassVar[str] = "snapshot"

    backup_id: str
    node: str
    answered_at: Time
    snapshot: ListedSnapshot
