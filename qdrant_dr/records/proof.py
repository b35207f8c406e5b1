"""The proof: what was checked about one copy at one location, and what was found."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from qdrant_dr.records.base import Frozen, Record, Time, later
from qdrant_dr.records.manifest import BackupId, Sha256

Depth = Literal["presence", "bytes", "structure", "load", "content", "search", "restore"]
ProvableDepth = Literal["presence", "bytes", "structure", "load", "content", "search"]
"""Depths that need no running server."""
DEPTHS: tuple[Depth, ...] = (
    "presence",
    "bytes",
    "structure",
    "load",
    "content",
    "search",
    "restore",
)


def depth_rank(depth: Depth) -> int:
    """Return the rank of a depth: the deeper, the larger."""
    return DEPTHS.index(depth)


def reaches(depth: Depth, wanted: Depth) -> bool:
    """Say whether a proof to `depth` includes everything that one to `wanted` shows."""
    return depth_rank(depth) >= depth_rank(wanted)


class Location(Frozen):
    """Where a repository is. A copy of it elsewhere is another location and has no proofs here."""

    protocol: str
    endpoint: str
    bucket: str
    prefix: str

    def __str__(self) -> str:
        where = f"{self.endpoint}/" if self.endpoint else ""
        return f"{self.protocol}://{where}{self.bucket}/{self.prefix}".rstrip("/")


class Sample(Frozen):
    """A seeded sample of the bytes. `detection_ppm`: the chance of detecting one damaged block of
    `block_bytes`, in millionths."""

    seed: int
    per_mille: int = Field(gt=0, le=1000)
    block_bytes: int = Field(gt=0)
    detection_ppm: int = Field(ge=0, le=1_000_000)


class Finding(Frozen):
    """One thing that is wrong: the error's code, and what, where and how much in words."""

    code: str
    message: str
    part: str | None = None


class Searched(Frozen):
    """The result of searches on the restored index. Latencies are of this machine, in microseconds;
    `recall_ppm` is the mean share of the exact answers that were found, in millionths."""

    queries: int = Field(ge=0)
    recall_ppm: int | None = Field(ge=0, le=1_000_000)
    lowest_recall_ppm: int | None = Field(ge=0, le=1_000_000)
    latency_p50_us: int | None
    latency_p95_us: int | None
    filters: int = Field(ge=0)


class MadeOf(Frozen):
    """A part in a repository that stores blocks: the digest of its literals and the SHA-256 of its
    blocks, in order."""

    part: str
    sha256: Sha256


class Proof(Record):
    """`proofs/<cluster>/<collection>/<backup id>/<time>-<random>.json`.

    `depth` was requested; `reached` is the deepest that passed. The proof passed only if it
    examined something, found nothing, and reached the requested depth. `clears` names failed proofs
    that this one, at least as deep and as wide, supersedes: clocks do not decide that. The facts of
    the backup are repeated, so that history outlives its expiry."""

    KIND: ClassVar[str] = "proof"

    proof_id: str
    run_id: str
    made_by: Literal["backup", "verify", "drill", "replicate", "restore"]
    backup_id: BackupId
    cluster: str
    collection: str
    captured_at: Time
    size_bytes: int = Field(ge=0)
    manifest_sha256: Sha256
    repository_id: str
    location: Location
    started_at: Time
    ended_at: Time
    depth: Depth
    reached: Depth | None
    passed: bool
    sample: Sample | None = None
    bytes_expected: int = Field(ge=0)
    bytes_checked: int = Field(ge=0)
    points_expected: int | None = None
    points_checked: int | None = None
    replayed_within_tolerance: int = Field(default=0, ge=0)
    seal_sha256: Sha256 | None = None
    engine: str
    findings: tuple[Finding, ...] = ()
    clears: tuple[str, ...] = ()
    searched: Searched | None = later(None)
    server_version: str | None = later(None, description="of the server it was restored into")
    made_of: tuple[MadeOf, ...] = later((), description="where blocks are stored once")
    bytes_read: int | None = later(
        None, description="from the store, where another proof of the run had read the rest"
    )

    @model_validator(mode="after")
    def _passed_needs_evidence(self) -> Self:
        if self.passed and (self.findings or self.reached != self.depth):
            raise ValueError("a proof with findings, or short of its depth, did not pass")
        deep = reaches(self.depth, "bytes")
        if self.passed and deep and not self.bytes_checked:
            raise ValueError("a proof that read nothing did not pass")
        whole = self.bytes_checked == self.bytes_expected
        if self.passed and self.sample is None and deep and not whole:
            raise ValueError("a full proof reads every byte")
        if self.passed and reaches(self.depth, "content"):
            if self.points_checked is None or self.points_checked != self.points_expected:
                raise ValueError("a content proof reads every point")
            if self.seal_sha256 is None:
                raise ValueError("a content proof compares with a seal")
        return self

    @property
    def full(self) -> bool:
        """Say whether it read everything, not a sample."""
        return self.sample is None
