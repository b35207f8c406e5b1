"""The seal: the content of a backup, established once by its first content proof."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from qdrant_dr.records.base import Frozen, RawJSON, Record, Time, later
from qdrant_dr.records.fingerprint import Fingerprint
from qdrant_dr.records.manifest import BackupId, Sha256

Consistency = Literal["quiesced", "in-motion"]


SketchRow = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
"""Eight bytes of the digest of a point's id, and eight of the digest of its whole content."""


class SealedShard(Frozen):
    """One shard as the engine read it after replaying its WAL.

    `settled` are the points that are equal with and without the WAL, `replayed` those that the
    WAL changed: their vectors may differ in the last bits between builds (R4). Without a WAL tail
    `replayed` is None.
    """

    shard: int
    operation: int | None
    points: int = Field(ge=0)
    settled: Fingerprint
    replayed: Fingerprint | None = None
    replayed_ids: tuple[int | str, ...] = ()

    @model_validator(mode="after")
    def _points_add_up(self) -> Self:
        replayed = self.replayed.points if self.replayed else 0
        if self.settled.points + replayed != self.points or replayed != len(self.replayed_ids):
            raise ValueError("settled and replayed points must add up")
        return self


class GoldenQuery(Frozen):
    """A search with one of the backup's own vectors, and its exact answer.

    `vector` is the vector's name, empty for the unnamed one. `top` are the ids of the exact nearest
    points of this shard, best first, found without any index. `recall_ppm` is the share of them, in
    millionths, that the archive's own index found when the backup was sealed; `narrow_ppm` the same
    with the narrowest beam, which reveals a broken graph. A point that scores as well as the last
    of them counts as found, so that ties do not change the recall. With a `condition` of a REST
    filter (a tenant's), both concern only the points for which it holds."""

    shard: int
    vector: str
    point: int | str
    top: tuple[int | str, ...]
    recall_ppm: int = Field(ge=0, le=1_000_000)
    narrow_ppm: int = Field(ge=0, le=1_000_000)
    condition: RawJSON | None = later(None)


class FilterTruth(Frozen):
    """How many points of one shard meet a condition, counted without any index.

    `condition` is one of a REST filter; `index` the type of the field's payload index.
    """

    shard: int
    field: str
    index: str
    condition: RawJSON
    points: int = Field(ge=0)


class Baseline(Frozen):
    """The content with which later backups are compared: that of the backup that was last accepted
    or reported as suspect, else of the first.

    `counts` is the highest count of each component in any backup since then, so that growth does
    not hide a loss. `changed_ppm` is the share of the baseline's points, in millionths, that are
    gone or different in the backup of this seal. The baseline is carried from seal to seal, so that
    it outlives deleted backups."""

    backup_id: BackupId
    counts: dict[str, int]
    sketch: tuple[SketchRow, ...]
    encoding: int = Field(1, ge=1, description="of the points, version of the sketch's digests")
    changed_ppm: int = Field(ge=0, le=1_000_000)


class Seal(Record):
    """`seal.json`: create-only, byte-identical everywhere.

    `reference` is `source` if nothing changed and the live sample agreed, else `self`: then the
    seal says only that copies equal each other, never that they equal the source. `suspect` are
    reasons (drift, lost payload indexes) to inspect the backup before trusting it. `remarks`
    concern the source and are no fault of the backup, such as vector indexes that answer badly
    there too. `unsearchable` are vectors that points have but with which no search finds anything:
    empty sparse ones. Later backups are compared with `baseline`; None: with this one."""

    KIND: ClassVar[str] = "seal"

    backup_id: BackupId
    cluster: str
    collection: str
    manifest_sha256: Sha256
    sealed_at: Time
    engine_version: str
    consistency: Consistency
    reference: Literal["source", "self"]
    reference_reason: str
    live_sample: int = Field(ge=0, description="points compared with the live source")
    points: int = Field(ge=0)
    shards: tuple[SealedShard, ...] = Field(min_length=1)
    total: Fingerprint
    sketch: tuple[SketchRow, ...] = Field(
        default=(), description="of the points whose ids hash lowest: estimates what changed since"
    )
    suspect: tuple[str, ...] = ()
    remarks: tuple[str, ...] = later(())
    unsearchable: tuple[str, ...] = later(())
    previous_backup_id: BackupId | None = None
    golden: tuple[GoldenQuery, ...] = later(())
    filters: tuple[FilterTruth, ...] = later(())
    baseline: Baseline | None = later(None)

    @model_validator(mode="after")
    def _shards_add_up(self) -> Self:
        if not sum(s.points for s in self.shards) == self.points == self.total.points:
            raise ValueError("the shards must add up to the total")
        return self
