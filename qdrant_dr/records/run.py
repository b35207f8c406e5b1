"""The records of a run: its start, and its end with the inventory and an outcome per unit."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from qdrant_dr.records.base import Frozen, Record, Time, later
from qdrant_dr.records.details import (
    Captured,
    Compared,
    Deleted,
    Differed,
    Drilled,
    ErrorFacts,
    Exported,
    Healed,
    Proved,
    Reported,
    Restored,
    Signed,
    Swept,
    Watched,
)
from qdrant_dr.records.ledger import Change
from qdrant_dr.records.manifest import SourceKind
from qdrant_dr.records.proof import Location
from qdrant_dr.records.restored_points import RestoredPoints

Kind = Literal[
    "backup",
    "replicate",
    "verify",
    "drill",
    "restore",
    "startup",
    "export",
    "expire",
    "report",
    "check",
    "watch",
    "sign",
    "diff",
]
Verdict = Literal["ok", "degraded", "failed", "skipped"]
"""The verdict of a unit. A run's verdict is never `skipped`."""
Trigger = Literal["schedule", "manual", "automation", "cli"]


class SeenCollection(Frozen):
    """One collection the run knew of. `rule` is the pattern that included or excluded it."""

    collection: str
    status: Literal["included", "excluded", "not-selected", "missing"]
    rule: str
    reason: str | None = None
    owner: str | None = None
    criticality: str | None = None


class RepositorySeen(Frozen):
    name: str
    repository_id: str
    domain: str
    location: Location | None
    reachable: bool
    error: ErrorFacts | None = None


class CapturedFull(Frozen):
    """A full snapshot, split into one backup per collection; `backup` writes these, not this."""

    kind: Literal["captured-full"] = "captured-full"
    outcomes: tuple[Outcome, ...]


Detail = Annotated[
    Captured
    | CapturedFull
    | Proved
    | Compared
    | Healed
    | Drilled
    | Restored
    | Exported
    | RestoredPoints
    | Deleted
    | Swept
    | Signed
    | Differed
    | Reported
    | Watched,
    Field(discriminator="kind"),
]


class Outcome(Frozen):
    """The outcome of one unit. `detail` is absent if the unit failed before there was one."""

    unit: Literal[
        "capture",
        "capture-full",
        "heal",
        "verify",
        "compare",
        "drill",
        "restore",
        "export",
        "restore-points",
        "expire",
        "sweep",
        "report",
        "watch",
        "sign",
        "diff",
    ]
    collection: str
    repository: str | None = None
    backup_id: str | None = None
    verdict: Verdict
    started_at: Time
    ended_at: Time
    error: ErrorFacts | None = None
    notes: tuple[str, ...] = ()
    detail: Detail | None = None
    written: tuple[Change, ...] = later((), description="on its way to the ledger; not kept here")

    @property
    def about(self) -> str:
        """Name the unit: `verify movies in aws`; messages of a run about it begin like this."""
        return f"{self.unit} {self.collection}" + (f" in {self.repository}" * bool(self.repository))


CapturedFull.model_rebuild()


AS_TYPED = " (as typed)"
"""Suffix for the name of a requester who only typed it into a form."""


def is_same_person(requester: str, approver: str) -> bool:
    """Say whether the requester of a restore also approved it.

    The requester is as the run knows it (`prefect:ana`, `ana@host`, `Ana (as typed)`), the approver
    a typed name."""
    asked = requester.removeprefix("prefect:").removesuffix(AS_TYPED).strip().casefold()
    return approver.strip().casefold() in (asked, asked.partition("@")[0])


class RunStart(Record):
    """`runs/<year>/<month>/<run id>.start.json`; a start without an end is a crash."""

    KIND: ClassVar[str] = "run-start"

    run_id: str
    job: Kind
    trigger: Trigger
    actor: str
    scheduled_for: Time | None
    started_at: Time
    cluster: str
    source_kind: SourceKind | None = None
    tool_version: str
    versions: dict[str, str]
    config_sha256: str
    parameters: dict[str, str | int | bool | tuple[str, ...] | None] = Field(default_factory=dict)


class RunEnd(Record):
    """`runs/<year>/<month>/<run id>.end.json`: also of failed and refused runs.

    Those of `watch` are in a separate folder `watches/`: there are many, and nothing is derived
    from them."""

    KIND: ClassVar[str] = "run-end"

    start: RunStart
    ended_at: Time
    source_kind: SourceKind | None
    verdict: Literal["ok", "degraded", "failed"]
    reasons: tuple[str, ...]
    error: ErrorFacts | None = None
    seen: tuple[SeenCollection, ...] = ()
    repositories: tuple[RepositorySeen, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    remarks: tuple[str, ...] = later((), description="worth knowing, but not part of the verdict")
