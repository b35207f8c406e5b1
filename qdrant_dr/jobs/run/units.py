"""The smallest pieces of work that succeed or fail alone: small, plain, picklable."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from qdrant_dr.records import BackupKey, Depth, Outcome
from qdrant_dr.records.base import Frozen, Time
from qdrant_dr.records.details import AliasMode
from qdrant_dr.records.manifest import Method
from qdrant_dr.secrets import SecretRef


class OfBackup(Frozen):
    """What a unit is about, where that is one backup."""

    key: BackupKey

    @property
    def collection(self) -> str:
        return self.key.collection


class CaptureUnit(Frozen):
    """Make one backup of one collection, in every repository named."""

    unit: Literal["capture"] = "capture"
    collection: str
    nodes: tuple[str, ...] = Field(
        min_length=1, description="REST URLs of all nodes that may be asked for it"
    )
    repositories: tuple[str, ...]
    method: Method
    method_reason: str
    note: str = ""

    @property
    def label(self) -> str:
        return self.collection


class FullUnit(Frozen):
    """Make one full snapshot of a node, and of it one backup of each collection named."""

    unit: Literal["capture-full"] = "capture-full"
    node: str
    collections: tuple[str, ...] = Field(min_length=1)
    repositories: tuple[str, ...]
    method_reason: str
    note: str = ""

    @property
    def collection(self) -> str:
        return "*"

    @property
    def label(self) -> str:
        return f"{len(self.collections)} collections of {self.node}"


class VerifyUnit(OfBackup):
    """Read one copy and prove it to `depth`; a sample is `per_mille` of its blocks.

    `unread` are ids of its proofs that cannot be read, as the catalog knows them.
    """

    unit: Literal["verify"] = "verify"
    repository: str
    depth: Depth
    sample_per_mille: int | None = Field(None, gt=0, lt=1000)
    seed: int | None = None
    made_by: Literal["backup", "verify", "replicate"] = "verify"
    unread: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return f"{self.key} in {self.repository} to {self.depth}"


class CompareUnit(Frozen):
    """Lay the replicas of one collection side by side: all their points, or a seeded sample."""

    unit: Literal["compare"] = "compare"
    collection: str
    nodes: tuple[str, ...] = Field(min_length=1, description="REST URLs of all nodes")
    reading: Literal["sample", "whole"]
    seed: int | None = None

    @property
    def label(self) -> str:
        return f"the replicas of {self.collection}"


class DiffUnit(OfBackup):
    """Say what changed from the backup `before` to this one."""

    unit: Literal["diff"] = "diff"
    before: BackupKey

    @property
    def label(self) -> str:
        return f"{self.before} to {self.key.backup_id}"


class HealUnit(OfBackup):
    """Bring one copy back from the first of `sources` that proves its bytes in the transfer."""

    unit: Literal["heal"] = "heal"
    repository: str
    sources: tuple[str, ...] = Field(min_length=1)
    why: str

    @property
    def label(self) -> str:
        return f"{self.key} in {self.repository}"


class DrillUnit(OfBackup):
    """Restore one copy somewhere disposable, prove it there, and measure."""

    unit: Literal["drill"] = "drill"
    repository: str
    engine: Literal["edge", "server"]
    pick: str
    seed: int | None = None
    keep: bool = False
    note: str = ""
    scenario: str | None = None

    @property
    def label(self) -> str:
        return f"{self.key} from {self.repository} with {self.engine}"


Way = Literal["upload", "url", "server-file"]
Route = Literal["whole", "shards", "salvage"]
Priority = Literal["snapshot", "replica", "no_sync"]


class RestoreOptions(Frozen):
    """How a restore is wanted: of a request, and so of each of its units.

    `server_file` is where the archive already lies on the target. `parallel` parts at once;
    `bandwidth` in bytes per second, None: unlimited. `keep_failed` leaves what this restore made
    there, if it fails half-way, to look at; what is there in whole stays anyway.
    """

    way: Way = "upload"
    server_file: str | None = None
    into_existing: bool = False
    priority: Priority = "snapshot"
    replication_factor: int | None = Field(None, ge=1)
    aliases: AliasMode = "create"
    parallel: int = Field(2, ge=1)
    bandwidth: int | None = Field(None, gt=0)
    allow_unproven: bool = False
    salvage: bool = False
    keep_failed: bool = False
    ticket: str = ""
    note: str = ""

    @classmethod
    def among(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Pick these options out of the parameters of a command or a flow."""
        return {name: given[name] for name in RestoreOptions.model_fields if name in given}


class RestoreUnit(OfBackup, RestoreOptions):
    """Restore one backup for real, from the first of `repositories` that proves its bytes.

    `name` is the collection's on the target. `accepted`: that the backup is suspect was settled.
    `remarks` are told with what becomes of it.
    """

    unit: Literal["restore"] = "restore"
    repositories: tuple[str, ...] = Field(min_length=1)
    target: str
    target_key: SecretRef | None = None
    name: str
    route: Route
    approved_by: str = ""
    accepted: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return f"{self.key} to {self.target} as {self.name}"


ExportForm = Literal["parquet", "ndjson"]


class ExportUnit(OfBackup):
    """Write the points of one backup to files below `out`, with the credentials of a configured
    repository if `credentials_of` names one. They are read from `repository`, and from others if
    that cannot give them."""

    unit: Literal["export"] = "export"
    repository: str
    out: str
    form: ExportForm = "parquet"
    credentials_of: str | None = None
    salvage: bool = False

    @property
    def label(self) -> str:
        return f"{self.key} as {self.form}"


class PointsOptions(Frozen):
    """Which points are wanted, and how they are restored: of a request, and so of its unit.

    `missing`: only those that are not live. `ids` is a file, `where` a filter of Qdrant's REST API
    as JSON; without both it is all of them. `every`: it may be all of them. `only` is the component
    that is written: `payload` or `vector:NAME`. `overwrite_changed` lets an undo overwrite what
    somebody changed since.
    """

    missing: bool = False
    ids: str | None = None
    where: str | None = None
    every: bool = False
    only: str | None = None
    another_incarnation: bool = False
    allow_unproven: bool = False
    overwrite_changed: bool = False
    bandwidth: int | None = Field(None, gt=0)
    ticket: str = ""
    note: str = ""

    @classmethod
    def among(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Pick these options out of the parameters of a command or a flow."""
        return {name: given[name] for name in PointsOptions.model_fields if name in given}


class RestorePointsUnit(PointsOptions):
    """Write points into a live collection, as they are in a backup (`key`) or were before a run
    (`undoes`): one of the two."""

    unit: Literal["restore-points"] = "restore-points"
    key: BackupKey | None = None
    undoes: str | None = None
    name: str
    repositories: tuple[str, ...]
    target: str
    target_key: SecretRef | None = None
    approved_by: str = ""
    remarks: tuple[str, ...] = ()

    @property
    def collection(self) -> str:
        return self.name

    @property
    def label(self) -> str:
        source = f"points of {self.key}" if self.key else f"the undo of {self.undoes}"
        return f"{source} to {self.name} on {self.target}"


class ExpireUnit(OfBackup):
    """Let one copy go, if a look at the records of now still says so.

    `decided_at` is by clocks that were compared: whoever does this judges by it, not by its own.
    `finish` is set for one whose deletion was begun before and not finished and, with `named`, for
    what is left of one whose manifest is lost.
    """

    unit: Literal["expire"] = "expire"
    repository: str
    decided_at: Time
    reason: str
    named: bool = False
    finish: bool = False

    @property
    def label(self) -> str:
        return f"{self.key} in {self.repository}"


class SweepUnit(Frozen):
    """Remove what killed runs left in one repository (`repository`) or on one node (`node`).

    Ages are counted from `now`, by clocks that were compared.
    """

    unit: Literal["sweep"] = "sweep"
    now: Time
    repository: str | None = None
    node: str | None = None

    @property
    def collection(self) -> str:
        return "*"

    @property
    def label(self) -> str:
        return self.repository or self.node or "?"


Format = Literal["html", "csv", "parquet", "oscal"]


class ReportUnit(Frozen):
    """Write the report of `as_of` and the `period` before; `url` None = as configured."""

    unit: Literal["report"] = "report"
    as_of: datetime
    period: timedelta
    url: str | None = None
    formats: tuple[Format, ...]

    @property
    def collection(self) -> str:
        return "*"

    @property
    def label(self) -> str:
        return f"as of {self.as_of:%Y-%m-%d %H:%M}"


class WatchUnit(Frozen):
    """Read the records and ask the cluster, as of `now`, what is wrong; change nothing. `bundle`:
    keep copies of what was read beside the records, for whoever looks for the first time."""

    unit: Literal["watch"] = "watch"
    now: Time
    bundle: bool = False

    @property
    def collection(self) -> str:
        return "*"

    @property
    def label(self) -> str:
        return "records and cluster"


Unit = Annotated[
    CaptureUnit
    | FullUnit
    | VerifyUnit
    | CompareUnit
    | DiffUnit
    | HealUnit
    | DrillUnit
    | RestoreUnit
    | ExportUnit
    | RestorePointsUnit
    | ExpireUnit
    | SweepUnit
    | ReportUnit
    | WatchUnit,
    Field(discriminator="unit"),
]

Perform = Callable[[Sequence[Unit]], list[Outcome]]
"""Do the units, however wide: one outcome for each, in their order; never raise for one."""
