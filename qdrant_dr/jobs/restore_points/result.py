"""What a restore of points has come to, and what is told of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from qdrant_dr.jobs.restore_points.compare_with_live import Surveyed
from qdrant_dr.jobs.restore_points.options import selection_words
from qdrant_dr.jobs.restore_points.others import OthersJudged
from qdrant_dr.jobs.restore_points.write_if_unchanged import Ids, Written
from qdrant_dr.jobs.run.stopwatch import Stopwatch
from qdrant_dr.jobs.run.units import RestorePointsUnit
from qdrant_dr.records import RestoredPoints
from qdrant_dr.records.manifest import SourceKind

_SHOWN = 8


@dataclass
class Result:
    """What it has come to so far; kept if it fails half-way."""

    surveyed: Surveyed = field(default_factory=Surveyed)
    written: Written = field(default_factory=Written)
    changed_since: Ids = field(default_factory=Ids)
    others: OthersJudged = field(default_factory=lambda: OthersJudged(None, 0))
    undo_id: str | None = None
    undo_in: tuple[str, ...] = ()
    undo_until: datetime | None = None
    began: bool = False
    proven: bool = False
    resumed: bool = False
    sent_bytes: int = 0
    target: SourceKind | None = None
    version: str | None = None
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def how_to_go_on(result: Result) -> str:
    """Say how to continue what may be half-done, and how to take it back."""
    return (
        "some points may be written: the same command continues, "
        f"`qdrant-dr restore --undo {result.undo_id} --execute` takes them back"
    )


def named_ids(ids: Ids) -> str:
    """Name the first of them."""
    return ", ".join(map(str, ids.first[:_SHOWN])) + ", ..." * (ids.count > _SHOWN)


def settle_doubts(unit: RestorePointsUnit, result: Result) -> None:
    """Say what was left alone, and why."""
    written = result.written
    if written.moved.count:
        result.doubts.append(
            f"{written.moved.count} points were changed by somebody meanwhile and left alone: "
            f"{named_ids(written.moved)}"
        )
    if changed := result.surveyed.counts["changed"]:
        named = ", ".join(map(str, result.surveyed.changed[:_SHOWN]))
        result.doubts.append(
            f"{changed} points were changed by somebody since the run {unit.undoes} and "
            f"left alone: {named}; `--overwrite-changed` takes them back all the same"
        )
    if lacking := result.surveyed.counts["lacking"]:
        named = ", ".join(map(str, result.surveyed.lacking[:_SHOWN]))
        result.doubts.append(
            f"{lacking} points are not live, so that `--only` has nothing to write to: {named}"
        )
    if result.changed_since.count:
        result.doubts.append(
            f"{result.changed_since.count} points were written, equal to the backup, and "
            f"changed by somebody since: {named_ids(result.changed_since)}"
        )
    if written.within:
        result.notes.append(
            f"{written.within} points have vectors equal within 1e-6, not bit by bit: the "
            "server computes them anew"
        )


def detail_of(
    unit: RestorePointsUnit,
    watch: Stopwatch,
    result: Result,
    only: str | None,
    captured_at: datetime | None,
    total_us: int,
) -> RestoredPoints:
    """Build the detail of the outcome."""
    written, counts = result.written, result.surveyed.counts
    return RestoredPoints(
        target=unit.target,
        target_kind=result.target,
        server_version=result.version,
        name=unit.name,
        selection="what the run wrote" if unit.undoes else selection_words(unit),
        only=only,
        undo_id=result.undo_id,
        undo_in=result.undo_in,
        undo_until=result.undo_until,
        undoes=unit.undoes,
        captured_at=captured_at,
        selected=sum(counts.values()) - counts["present"],
        created=written.done["create"],
        overwritten=written.done["overwrite"],
        deleted=written.done["delete"],
        equal=counts["equal"] + written.equal,
        within_tolerance=written.within,
        moved=written.moved.count + written.differing.count + counts["changed"],
        moved_ids=(
            *written.moved.first,
            *written.differing.first,
            *result.surveyed.changed,
        ),
        refused=written.refused.count,
        refused_ids=tuple(written.refused.first),
        changed_since=result.changed_since.count,
        changed_since_ids=tuple(result.changed_since.first),
        proven=result.proven,
        others_sampled=result.others.sampled,
        others_equal=result.others.equal,
        sent_bytes=result.sent_bytes,
        resumed=result.resumed,
        phases=tuple(watch.phases),
        total_us=total_us,
        ticket=unit.ticket,
        approved_by=unit.approved_by,
    )
