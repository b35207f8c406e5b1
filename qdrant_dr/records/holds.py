"""Records that keep a backup, and that outlive a deleted one."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from qdrant_dr.records.base import Record, Time, later
from qdrant_dr.records.manifest import BackupId, Sha256


class Hold(Record):
    """`holds/<cluster>/<collection>/<backup id>/<hold id>.json`: keep this backup, whatever the
    policy says.

    A hold is never deleted. It ends at `until`, or when a later one names it in `releases`; a
    record that only releases has `keeps` false.
    """

    KIND: ClassVar[str] = "hold"

    hold_id: str
    backup_id: BackupId
    cluster: str
    collection: str
    made_at: Time
    made_by: str
    reason: str = Field(min_length=3)
    until: Time | None = Field(None, description="None: until it is released")
    keeps: bool = True
    releases: tuple[str, ...] = ()


class Expired(Record):
    """`expired/<cluster>/<collection>/<backup id>/<run id>.json`: written before a copy is deleted.

    The facts of the backup are repeated, so that history outlives it. A tombstone beside files that
    still exist means that the deletion was denied or interrupted: the next run finishes it. Beside
    a copy that is still complete the tombstone is deleted or, where nothing can be deleted, taken
    back by another one."""

    KIND: ClassVar[str] = "expired"

    backup_id: BackupId
    cluster: str
    collection: str
    incarnation: str
    run_id: str
    decided_at: Time
    reason: str
    captured_at: Time
    size_bytes: int = Field(ge=0)
    points: int | None
    manifest_sha256: Sha256
    seal_sha256: Sha256 | None
    proofs: tuple[str, ...] = Field((), description="ids of the proofs of this copy, which stay")
    withdraws: str | None = later(
        None, description="run id of the record that this one takes back: it could not be deleted"
    )
