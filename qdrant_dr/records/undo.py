"""What the points of a restore were before it: enough to put every one of them back."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from qdrant_dr.records.base import Frozen, RawJSON, Record, Time, later
from qdrant_dr.records.manifest import Sha256

ABSENT = "0" * 64
"""The digest of a point that is not there."""


class UndoFile(Frozen):
    """One part of an undo record, as it was written: its digest is that of the record itself."""

    file: str
    points: int = Field(ge=1)
    sha256: Sha256


class UndoPart(Record):
    """`undo/<cluster>/<collection folder>/<run id>/part-<number>.json`: some points as they were.

    `present` are points with payload and vectors, each as the text of a server's JSON. `after` are
    the digests of what the run was to leave of the `absent` and then of the `present`, `ABSENT` if
    it was to delete them: a point that is something else by now was changed by somebody.
    """

    KIND: ClassVar[str] = "undo-part"

    run_id: str
    cluster: str
    collection: str
    number: int = Field(ge=1)
    shard: int | None = Field(None, description="of the backup that the points came from")
    shard_key: int | str | None = None
    absent: tuple[int | str, ...] = ()
    present: tuple[RawJSON, ...] = ()
    after: tuple[Sha256, ...]

    @property
    def file(self) -> str:
        """Return the name of the stored object."""
        return f"part-{self.number}.json"

    @property
    def points(self) -> int:
        return len(self.absent) + len(self.present)


class TargetThen(Frozen):
    """Which incarnation of the collection was looked at: the `peers` that had its shards, and the
    operation number of each shard of the peer that was asked."""

    peer_id: int | None
    peers: tuple[int, ...] = ()
    shard_number: int
    operations: dict[int, int] = Field(default_factory=dict)


class UndoRecord(Record):
    """`undo.json`, written last: with it the undo record is complete, and only then is anything
    written to the collection.

    `source` is the backup that the points came from, or `undo of <run id>`. `only`: the component
    that was written, None for whole points. `params` are the parameters of the collection then.
    """

    KIND: ClassVar[str] = "undo"

    run_id: str
    cluster: str
    collection: str
    made_at: Time
    target: str
    source: str
    only: str | None
    params: RawJSON
    absent: int = Field(ge=0)
    present: int = Field(ge=0)
    parts: tuple[UndoFile, ...] = Field(min_length=1)
    then: TargetThen | None = later(None, description="the collection before anything was written")

    @property
    def points(self) -> int:
        return self.absent + self.present


class UndoSettled(Record):
    """`settled.json`: points that the server keeps otherwise than they were sent, within the
    tolerance of vectors, with the digests of what it keeps. `settled-2.json` and so on have what
    runs that continued the first one found besides."""

    KIND: ClassVar[str] = "undo-settled"

    run_id: str
    cluster: str
    collection: str
    points: tuple[tuple[int | str, Sha256], ...]
    number: int = later(1, ge=1)

    @property
    def file(self) -> str:
        """Return the name of the stored object."""
        return "settled.json" if self.number == 1 else f"settled-{self.number}.json"
