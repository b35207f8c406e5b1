"""The details of an outcome, for each kind of unit."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from qdrant_dr.records.base import Frozen, Time, later
from qdrant_dr.records.manifest import BackupId, ReplicaCount, Sha256, SourceKind
from qdrant_dr.records.proof import Depth

AliasMode = Literal["keep", "create", "move"]
"""Aliases of a restored collection: set none, those that are free, or also those of others."""


class ErrorFacts(Frozen):
    code: str
    message: str
    hint: str


class Phase(Frozen):
    """A measured part of a unit's work: seconds as integer microseconds, and the bytes it moved."""

    name: str
    started_at: Time
    duration_us: int = Field(ge=0)
    size_bytes: int | None = None


class KeptSnapshot(Frozen):
    """A snapshot of a capture that stayed on a node. `node` is that node's own address, which may
    differ from the address that was asked. `collection` None: of the whole instance."""

    node: str
    collection: str | None
    shard: int | None = None
    name: str


class Captured(Frozen):
    kind: Literal["captured"] = "captured"
    size_bytes: int
    points_count: int | None
    committed: tuple[str, ...] = Field(description="names of repositories with a manifest")
    left_behind: dict[str, ErrorFacts] = Field(default_factory=dict)
    captured_at: Time
    capture_us: int
    transfer_us: int
    server_snapshot: str = Field(description="`deleted`, or why it was kept")
    manifest_sha256: Sha256 | None = later(None, description="None: made by an older version")
    kept: tuple[KeptSnapshot, ...] = later((), description="its snapshots that stayed on nodes")


class Proved(Frozen):
    kind: Literal["proved"] = "proved"
    proof_id: str
    depth: Depth
    reached: Depth | None
    passed: bool
    bytes_checked: int
    points_checked: int | None = None
    sealed: bool = False


class Diverging(Frozen):
    """Points of one shard that differ between its replicas although nothing was being written.

    `points` is their number; `lacking` and `differing` name the first ones: ids that a node (by
    address) lacks, and ids that all have but with different payload or vectors.
    """

    shard: int
    points: int
    lacking: dict[str, tuple[int | str, ...]] = Field(default_factory=dict)
    differing: tuple[int | str, ...] = ()


class Compared(Frozen):
    """The comparison of a collection's replicas. `apart` are those whose counts differ, `points`
    how many points were read in total, over all `shards` and replicas."""

    kind: Literal["compared"] = "compared"
    reading: Literal["sample", "whole"]
    seed: int | None
    shards: int
    points: int
    apart: tuple[ReplicaCount, ...] = ()
    diverging: tuple[Diverging, ...] = ()

    @property
    def equal(self) -> bool:
        """Say whether everything that was compared is equal."""
        return not self.apart and not self.diverging


class Healed(Frozen):
    kind: Literal["healed"] = "healed"
    source: str
    parts: int
    size_bytes: int
    why: str
    packs: int = later(0, description="written anew by blocks, for every backup that uses them")
    bytes_read: int | None = later(
        None, description="of its parts in the source: what the target had of them was not read"
    )


class Played(Frozen):
    """The scenario of a drill, and which objectives could still be met.

    `unused` are the repositories that counted as lost. `newest_proven_us` is the age of the newest
    backup that is proven in the others, or was proven by this drill; None if there is none.
    `copies_left` and `domains_left` are its copies that count, and their failure domains.
    """

    name: str = Field(description="lost-collection, lost-node, lost-cloud:NAME or no-prefect")
    unused: tuple[str, ...] = ()
    newest_proven_us: int | None
    copies_left: int
    domains_left: int


class Drilled(Frozen):
    kind: Literal["drilled"] = "drilled"
    drill_id: str
    engine: Literal["edge", "server"]
    target_kind: SourceKind | None = Field(description="a drill on the sandbox measures no RTO")
    server_version: str | None
    pick: str
    seed: int | None
    captured_at: Time
    size_bytes: int
    points_expected: int | None
    points_restored: int | None
    fingerprint_equal: bool | None
    phases: tuple[Phase, ...]
    total_us: int
    isolation: str | None
    teardown: str
    proof_id: str | None = None
    scenario: Played | None = later(None)

    @property
    def recovery_us(self) -> int:
        """Return the time from decision to verified: every phase except the tear-down."""
        return sum(p.duration_us for p in self.phases if p.name != "tear down")


class Restored(Frozen):
    """A real restore. `route`: the archive as a whole, shard by shard, or point by point. `sources`

    are the repositories from which bytes were read, `sent_bytes` those that passed through this
    process. `lost_ids` are the points that a salvage could not restore.
    """

    kind: Literal["restored"] = "restored"
    restore_id: str
    target: str
    target_kind: SourceKind | None
    server_version: str | None
    name: str = Field(description="of the collection on the target")
    route: Literal["whole", "shards", "salvage"]
    way: Literal["upload", "url", "server-file"]
    sources: tuple[str, ...]
    captured_at: Time
    size_bytes: int
    sent_bytes: int
    points_expected: int | None
    points_restored: int | None
    fingerprint_equal: bool | None
    lost_ids: tuple[int | str, ...] = ()
    aliases_set: tuple[str, ...] = ()
    aliases_left: tuple[str, ...] = ()
    created: bool
    removed: tuple[str, ...] = Field((), description="of what this restore had put there")
    stays: bool = later(False, description="it is complete, but differs")
    resumed: bool = False
    phases: tuple[Phase, ...]
    total_us: int
    ticket: str = ""
    approved_by: str = ""

    @property
    def came_to(self) -> str:
        """Say whether the content equals the backup. A salvage is never called equal."""
        if self.route != "salvage":
            differs = "CONTENT DIFFERS" + ", and it was kept" * self.stays
            equal = {True: "content equal", False: differs, None: "content not compared"}
            return equal[self.fingerprint_equal]
        if self.points_restored is None:
            return "nothing salvaged"
        there, expected = self.points_restored, self.points_expected
        lost = max(len(self.lost_ids), (expected or 0) - there)
        of = "" if expected is None else f" of {expected}"
        return f"salvaged: {there}{of} points, {lost} lost"


class Differed(Frozen):
    """What changed from one backup of a collection to the next. The outcome's backup is the later.

    `components` says in which part how many of the `changed` points differ. `within` points count
    as equal: their normalised vectors differ in the last bits. `words` say it for people.
    """

    kind: Literal["differed"] = "differed"
    before: BackupId
    points_before: int = Field(ge=0)
    points_after: int = Field(ge=0)
    removed: int = Field(ge=0)
    added: int = Field(ge=0)
    changed: int = Field(ge=0)
    components: dict[str, int] = Field(default_factory=dict)
    within: int = 0
    settings: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    words: tuple[str, ...]

    @property
    def share(self) -> float:
        """Return the share of the earlier points that are lost or changed."""
        return (self.removed + self.changed) / self.points_before if self.points_before else 0.0


class Exported(Frozen):
    """Points of one backup in files that anyone can read. `destination` is without credentials.

    `manifest_sha256` is of the manifest beside the files, which names each with its digest; None if
    it was not written. `fingerprint_equal`: what was read back out of the files is what was sealed;
    None if there was nothing to compare with. `lost` points of a salvage are not in the files, or
    it is unknown how many (None).
    """

    kind: Literal["exported"] = "exported"
    destination: str
    form: Literal["parquet", "ndjson"]
    captured_at: Time
    files: int
    size_bytes: int
    points: int
    points_expected: int | None
    fingerprint_equal: bool | None
    manifest_sha256: Sha256 | None
    sources: tuple[str, ...] = ()
    salvaged: bool = False
    lost: int | None = 0


class Deleted(Frozen):
    """A copy that retention deleted. `hidden_bytes` are those that the store still keeps."""

    kind: Literal["deleted"] = "deleted"
    reason: str
    captured_at: Time | None = None
    freed_bytes: int
    hidden_bytes: int
    locked_until: Time | None = None


class LeftSnapshot(Frozen):
    """A snapshot that a create call of ours left on a node, or may have left.

    `collection` None: of the whole instance. `of` names the capture that requested it. Unless
    `ours`, somebody else may have made it.
    """

    collection: str | None
    shard: int | None = None
    name: str
    size_bytes: int
    of: str
    since: Time
    ours: bool
    why: str


class Swept(Frozen):
    """What a sweep removed from and left in a repository or on `node`.

    `left` are all our snapshots that the node then had; None in records of older versions.
    `freed_bytes` and `hidden_bytes` are of packs: what went, and what the store still keeps.
    """

    kind: Literal["swept"] = "swept"
    node: str | None = later(None)
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    left: tuple[LeftSnapshot, ...] | None = later(None)
    freed_bytes: int = later(0)
    hidden_bytes: int = later(0)


class Signed(Frozen):
    """A review of a run of drills, or of a restore. `end_sha256` is that of its end record as read,
    which alone was signed. The actor of the run gave the review; without a `signature` the reviewer
    is a typed name."""

    kind: Literal["signed"] = "signed"
    run_id: str
    end_sha256: str
    reviewer: str
    accepted: bool
    signature: str = later("", description="SSHSIG over the bytes of that end record, armored")
    fingerprint: str = later("", description="of the key that made the signature")


class Reported(Frozen):
    kind: Literal["reported"] = "reported"
    headline: str
    folder: str
    files: tuple[str, ...]
    digest: str = Field(description="SHA-256 over the frames: equal records, equal digest")


Severity = Literal["notice", "warning", "critical"]


class Acknowledged(Frozen):
    """Who acknowledged a finding and why, and its severity without the acknowledgement."""

    by: str
    at: Time
    reason: str
    until: Time | None
    severity: Severity


class Found(Frozen):
    """One finding as a watch recorded it. `code` and `scope` identify it; `what` may change.
    `facts`

    distinguish this instance from the next. An acknowledged finding is a notice.
    """

    severity: Severity
    code: str
    scope: str
    what: str
    since: Time
    blast_radius: str
    next_command: str
    facts: str = later("")
    acknowledged: Acknowledged | None = later(None)

    @property
    def identity(self) -> tuple[str, str]:
        return self.code, self.scope


class Watched(Frozen):
    """What a watch found, and what is new or over since the watch with which it was compared.

    `unseen` are the halves that could not be checked (`records`, `cluster`): their known findings
    stay in `findings`. `waiting` are collections without a first backup, and since when watches see
    them. `unsent` says which heartbeat or metrics could not be sent, and why.
    """

    kind: Literal["watched"] = "watched"
    findings: tuple[Found, ...]
    appeared: tuple[Found, ...]
    cleared: tuple[Found, ...]
    compared_with: Time | None = Field(description="the end of that watch; None: none was known")
    unseen: tuple[Literal["records", "cluster"], ...] = ()
    waiting: dict[str, Time] = Field(default_factory=dict)
    unsent: tuple[str, ...] = ()
