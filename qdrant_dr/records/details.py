"""What the outcome of each kind of unit says beyond its verdict."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from qdrant_dr.records.base import Frozen, Time, later
from qdrant_dr.records.manifest import ReplicaCount, Sha256, SourceKind
from qdrant_dr.records.proof import Depth

AliasMode = Literal["keep", "create", "move"]
"""Aliases of what is restored: none is set, those that nobody has, or also those of others."""


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
    """A snapshot of a capture that stayed on a node. `node` is an address of that very node, which
    need not be the one that was asked. `collection` None: of the whole instance."""

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
    kept: tuple[KeptSnapshot, ...] = later((), description="what of its calls lies on nodes still")


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
    """Points of one shard that its replicas do not hold alike, though nobody was writing them.

    `points` is how many there are, `lacking` and `differing` name the first: ids that a node (by
    address) has not, and ids that all have and not with the same payload and vectors.
    """

    shard: int
    points: int
    lacking: dict[str, tuple[int | str, ...]] = Field(default_factory=dict)
    differing: tuple[int | str, ...] = ()


class Compared(Frozen):
    """The replicas of a collection, laid side by side. `apart` are those whose counts differ,
    `points` how many points were read of all `shards` together, of every replica."""

    kind: Literal["compared"] = "compared"
    reading: Literal["sample", "whole"]
    seed: int | None
    shards: int
    points: int
    apart: tuple[ReplicaCount, ...] = ()
    diverging: tuple[Diverging, ...] = ()

    @property
    def equal(self) -> bool:
        """Of what was looked at."""
        return not self.apart and not self.diverging


class Healed(Frozen):
    kind: Literal["healed"] = "healed"
    source: str
    parts: int
    size_bytes: int
    why: str


class Played(Frozen):
    """A scenario a drill was done under, and what it left of the promises about the collection.

    `unused` are the repositories that counted as lost. `newest_proven_us` is the age of the newest
    backup that is proven in the others, or was by this drill; None if there is none. `copies_left`
    and `domains_left` are its copies that count, and where they lie.
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
        """From the decision to verified: every phase but the tear-down."""
        return sum(p.duration_us for p in self.phases if p.name != "tear down")


class Restored(Frozen):
    """A restore for real. `route`: the archive as a whole, shard by shard, or point by point.

    `sources` are the repositories that bytes were read from, `sent_bytes` what passed through
    this process. `lost_ids` are the points a salvage could not bring back.
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
    stays: bool = later(False, description="it is there in whole, and differs")
    resumed: bool = False
    phases: tuple[Phase, ...]
    total_us: int
    ticket: str = ""
    approved_by: str = ""

    @property
    def came_to(self) -> str:
        """Whether it is what was backed up, in words. A salvage is never called equal."""
        if self.route != "salvage":
            differs = "CONTENT DIFFERS" + ", and it stays" * self.stays
            equal = {True: "content equal", False: differs, None: "content not compared"}
            return equal[self.fingerprint_equal]
        if self.points_restored is None:
            return "nothing salvaged"
        there, expected = self.points_restored, self.points_expected
        lost = max(len(self.lost_ids), (expected or 0) - there)
        of = "" if expected is None else f" of {expected}"
        return f"salvaged: {there}{of} points, {lost} lost"


class Deleted(Frozen):
    """A copy that retention let go. `hidden_bytes` are those the store still keeps."""

    kind: Literal["deleted"] = "deleted"
    reason: str
    captured_at: Time | None = None
    freed_bytes: int
    hidden_bytes: int
    locked_until: Time | None = None


class LeftSnapshot(Frozen):
    """A snapshot that a create call of ours left on a node, or may have left.

    `collection` None: of the whole instance. `of` names the capture that asked for it. Unless
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
    """What a sweep removed and left, of a repository or of `node`.

    `left` are all snapshots of ours that the node had then; None in records of older versions.
    """

    kind: Literal["swept"] = "swept"
    node: str | None = later(None)
    removed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    left: tuple[LeftSnapshot, ...] | None = later(None)


class Signed(Frozen):
    """Somebody looked at what a run of drills came to. `end_sha256` is of its end record as read:
    what was signed is that and nothing else. Who gave the signature is the actor of the run."""

    kind: Literal["signed"] = "signed"
    run_id: str
    end_sha256: str
    reviewer: str
    accepted: bool


class Reported(Frozen):
    kind: Literal["reported"] = "reported"
    headline: str
    folder: str
    files: tuple[str, ...]
    digest: str = Field(description="SHA-256 over the frames: equal records, equal digest")


Severity = Literal["notice", "warning", "critical"]


class Acknowledged(Frozen):
    """Who knows of a finding, why it may stay, and how bad it is without that."""

    by: str
    at: Time
    reason: str
    until: Time | None
    severity: Severity


class Found(Frozen):
    """One finding as a look left it. `code` and `scope` say which one it is, `what` may differ.

    `facts` tell this instance of it from the next. One that is acknowledged is a notice.
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
    """What a look found, and what of it is new or over since the look it was compared with.

    `unseen` are the halves that could not be looked at (`records`, `cluster`): what was known of
    them stands in `findings` as before. `waiting` are collections without a first backup, and
    since when a look sees them. `unsent` is which sign of life or metrics did not arrive, and why.
    """

    kind: Literal["watched"] = "watched"
    findings: tuple[Found, ...]
    appeared: tuple[Found, ...]
    cleared: tuple[Found, ...]
    compared_with: Time | None = Field(description="the end of that look; None: none was known")
    unseen: tuple[Literal["records", "cluster"], ...] = ()
    waiting: dict[str, Time] = Field(default_factory=dict)
    unsent: tuple[str, ...] = ()
