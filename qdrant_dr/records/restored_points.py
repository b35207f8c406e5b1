"""The detail of a restore of single points."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from qdrant_dr.records.base import Frozen, Time, later
from qdrant_dr.records.details import Phase
from qdrant_dr.records.manifest import SourceKind


class RestoredPoints(Frozen):
    """Single points of a live collection, brought back from a backup or, if `undoes` names a run,
    to what they were before it.

    `undo_id` is the run under which their former state is kept; it is the first one's where a run
    continues another. `equal` were as wanted already, `moved` were changed by somebody meanwhile
    and left alone, `refused` not taken by the server, `changed_since` written and equal, and
    changed by somebody before the end. `others_sampled` other points were looked at before and
    after; `others_equal` is None if nothing can be said, because others wrote too.
    """

    kind: Literal["restored-points"] = "restored-points"
    target: str
    target_kind: SourceKind | None
    server_version: str | None
    name: str = Field(description="of the collection on the target")
    selection: str = Field(description="which points, in words")
    only: str | None = Field(None, description="`payload` or `vector:NAME`; None: whole points")
    undo_id: str | None = None
    undo_in: tuple[str, ...] = Field((), description="repositories that have the undo record")
    undo_until: Time | None = later(None, description="no sweep removes the undo record before")
    undoes: str | None = None
    captured_at: Time | None = None
    selected: int = Field(0, ge=0)
    created: int = Field(0, ge=0)
    overwritten: int = Field(0, ge=0)
    deleted: int = Field(0, ge=0)
    equal: int = Field(0, ge=0)
    within_tolerance: int = Field(0, ge=0, description="vectors equal within 1e-6, not by bits")
    moved: int = Field(0, ge=0)
    moved_ids: tuple[int | str, ...] = Field((), description="the first of them")
    refused: int = Field(0, ge=0)
    refused_ids: tuple[int | str, ...] = ()
    changed_since: int = Field(0, ge=0)
    changed_since_ids: tuple[int | str, ...] = ()
    proven: bool = Field(False, description="all that was written was read back and is equal")
    others_sampled: int = Field(0, ge=0)
    others_equal: bool | None = None
    sent_bytes: int = Field(0, ge=0)
    resumed: bool = False
    phases: tuple[Phase, ...]
    total_us: int
    ticket: str = ""
    approved_by: str = ""

    @property
    def written(self) -> int:
        """Return the points that are now what they were to be, and were not before."""
        return self.created + self.overwritten + self.deleted

    @property
    def came_to(self) -> str:
        """Say in words what became of the points."""
        done = ((self.created, "created"), (self.overwritten, "overwritten"),
                (self.deleted, "deleted"), (self.equal, "equal already"),
                (self.moved, "left alone: changed meanwhile"), (self.refused, "REFUSED"),
                (self.changed_since, "changed again since"))  # fmt: skip
        said = ", ".join(f"{many} {what}" for many, what in done if many) or "nothing to write"
        return f"{said}; " + ("proven" if self.proven else "NOT PROVEN")
