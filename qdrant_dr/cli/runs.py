"""Run one verb from request to reply: begin, execute the units in threads, summarise them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from qdrant_dr.cli.exit_codes import exit_code
from qdrant_dr.cli.progress import Progress
from qdrant_dr.cli.session import Column, Reply, Said, Session
from qdrant_dr.config import Config
from qdrant_dr.dispatch.threads import in_threads
from qdrant_dr.errors import DRError, Interrupted
from qdrant_dr.hints import split_hint
from qdrant_dr.jobs.drill.scenario import words
from qdrant_dr.jobs.run.run import Run, begin
from qdrant_dr.jobs.run.units import Perform
from qdrant_dr.log_context import run_context
from qdrant_dr.quantities import format_size, how_long
from qdrant_dr.records import (
    Captured,
    Deleted,
    Differed,
    Drilled,
    ErrorFacts,
    Exported,
    Healed,
    Outcome,
    Proved,
    Reported,
    Restored,
    RestoredPoints,
    RunEnd,
    Signed,
    Swept,
)
from qdrant_dr.records.base import Frozen
from qdrant_dr.records.run import Kind
from qdrant_dr.text import count

Request = TypeVar("Request", bound=Frozen)
Verb = Callable[[Config, Request, Run, Perform], RunEnd]

LOOK = "run `qdrant-dr status`: it shows what is affected, and the next step."
COLUMNS = (
    Column("unit", "UNIT"),
    Column("collection", "COLLECTION"),
    Column("repository", "REPOSITORY"),
    Column("backup_id", "BACKUP"),
    Column("verdict", "VERDICT"),
    Column("seconds", "TOOK", how_long, right=True, spare=3),
    Column("size_bytes", "SIZE", format_size, right=True, spare=2),
    Column("points", "POINTS", str, right=True, spare=1),
    Column("remark", "REMARK"),
)


def run_verb(
    session: Session,
    job: Kind,
    request: Request,
    verb: Verb[Request],
    *,
    config: Config | None = None,
    repositories: Sequence[str] | None = None,
) -> Reply:
    """Execute one run and write its records, also the end record of an interrupted run.

    `repositories` are the names of those that it may open; None for all.
    """
    config = config or session.config
    run = begin(config, job, parameters=request.model_dump(), repositories=repositories)
    with run_context(run.run_id), Progress(session) as progress:
        try:
            end = verb(config, request, run, in_threads(config, run.run_id, watch=progress))
        except KeyboardInterrupt:
            end = run.cut_short(config, Interrupted(f"{job} was interrupted"))
    return reply_of(end, unwritten=run.unwritten)


def reply_of(end: RunEnd, *, unwritten: dict[str, DRError] | None = None) -> Reply:
    """Return a row per unit and per collection left out; the reasons of the verdict on stderr."""
    lost = [f"no run record in {name}: {e.message}" for name, e in (unwritten or {}).items()]
    return Reply(
        rows=[*(_row(outcome, _sample(end)) for outcome in end.outcomes), *_left_out(end)],
        columns=COLUMNS,
        verdict=end.verdict,
        exit_code=exit_code(end),
        run_id=end.start.run_id,
        errors=_errors(end),
        remarks=[*end.remarks, f"{end.start.job} {end.start.run_id}: {end.verdict}", *lost],
    )


def _errors(end: RunEnd) -> list[Said]:
    """List the errors of the run and its units, each once, and every other reason of its
    verdict."""
    every = [end.error, *(r.error for r in end.repositories), *(o.error for o in end.outcomes)]
    told = list({(e.code, e.message): e for e in every if e is not None}.values())
    untold = [r for r in end.reasons if not any(e.message in r for e in told)]
    if found := [n for o in end.outcomes if isinstance(o.detail, Reported) for n in o.notes]:
        untold = found  # its reason is all of them in one
    return [*told, *(_untold(end, *split_hint(r)) for r in untold)]


def _untold(end: RunEnd, what: str, hint: str | None) -> ErrorFacts:
    return ErrorFacts(code=end.verdict, message=what, hint=hint or LOOK)


def _sample(end: RunEnd) -> str:
    share = end.start.parameters.get("sample_per_mille")
    return f" of a sample of {share / 10:g} %" if isinstance(share, int) else ""


def _row(outcome: Outcome, sample: str) -> dict[str, Any]:
    detail = outcome.detail
    size = points = None
    remarks = list(outcome.notes)
    if isinstance(detail, Captured):
        size, points = detail.size_bytes, detail.points_count
        remarks.insert(0, f"in {', '.join(detail.committed) or 'no repository'}")
        remarks += [f"{name}: {error.message}" for name, error in detail.left_behind.items()]
    elif isinstance(detail, Proved):
        size, points = detail.bytes_checked, detail.points_checked
        held = f"{detail.reached or 'nothing'}{sample} {'seen' if sample else 'proven'}"
        remarks.insert(0, held + ", sealed" * detail.sealed)
    elif isinstance(detail, Healed):
        size = detail.size_bytes
        read = detail.bytes_read
        less = read is not None and read < detail.size_bytes
        of_it = f", {format_size(read or 0)} of it read there" * less
        remarks.insert(0, f"from {detail.source}: {detail.why}{of_it}")
    elif isinstance(detail, Deleted):
        size = detail.freed_bytes
        hidden = f", {format_size(detail.hidden_bytes)} hidden" if detail.hidden_bytes else ""
        remarks.insert(0, f"{detail.reason}{hidden}")
    elif isinstance(detail, Differed | Exported | RestoredPoints):
        size, points, words_of_it = _of_points(detail)
        remarks[:0] = words_of_it
    elif isinstance(detail, Drilled | Restored):
        size, points = detail.size_bytes, detail.points_restored
        remarks.insert(0, _drilled(detail) if isinstance(detail, Drilled) else _restored(detail))
    elif isinstance(detail, Signed):
        held = "accepted" if detail.accepted else "rejected"
        remarks.insert(0, f"run {detail.run_id} {held} by {detail.reviewer}")
    elif isinstance(detail, Swept):
        size = detail.freed_bytes or None
        remarks[:0] = [f"on {detail.node}"] if detail.node is not None else []
    if outcome.error is not None:
        remarks.insert(0, outcome.error.code)
    return {
        "unit": outcome.unit,
        "collection": outcome.collection,
        "repository": outcome.repository,
        "backup_id": outcome.backup_id,
        "verdict": outcome.verdict,
        "seconds": (outcome.ended_at - outcome.started_at).total_seconds(),
        "size_bytes": size,
        "points": points,
        "remark": "; ".join(remarks) or None,
        "outcome": outcome,
    }


def _drilled(detail: Drilled) -> str:
    """Describe a drill. Times of the engine or the sandbox are never called a recovery time."""
    equal = {True: "content equal", False: "CONTENT DIFFERS", None: "content not compared"}
    end = f"target {detail.teardown}"
    if (played := detail.scenario) is not None:
        end += f"; {played.name}: {words(played.name, played.unused)}"
    if not detail.fingerprint_equal:  # what did not come back took no time that means anything
        return f"{equal[detail.fingerprint_equal]}, {end}"
    took = f"{detail.recovery_us / 1e6:.1f} s"
    if detail.engine == "edge":
        measured = f"read back in {took}"
    elif detail.target_kind == "server":
        measured = f"recovery time {took}"
    else:
        measured = f"restored into the sandbox in {took} (not a recovery time)"
    return f"{equal[detail.fingerprint_equal]}, {measured}, {end}"


def _restored(detail: Restored) -> str:
    """Say where the collection is now, and whether its content equals the backup."""
    said = [f"{detail.name} on {detail.target}", detail.came_to]
    said += [f"aliases {', '.join(detail.aliases_set)}"] if detail.aliases_set else []
    said += ["continued an interrupted one"] if detail.resumed else []
    return ", ".join([*said, f"{detail.total_us / 1e6:.1f} s"])


def _of_points(
    detail: Differed | Exported | RestoredPoints,
) -> tuple[int | None, int | None, Sequence[str]]:
    """Return the bytes and points of what was done with single points, and what is said of it."""
    if isinstance(detail, Differed):
        return None, detail.points_after, detail.words
    if isinstance(detail, RestoredPoints):
        return detail.sent_bytes, detail.written, [_restored_points(detail)]
    return detail.size_bytes, detail.points, [_exported(detail)]


def _exported(detail: Exported) -> str:
    """Say where the files are, and whether they hold what was sealed."""
    equal = {True: "equal to the seal", False: "NOT WHAT WAS SEALED", None: "compared with no seal"}
    said = [f"{count(detail.files, 'file')} of {detail.form} at {detail.destination}"]
    said += [] if detail.manifest_sha256 else ["no manifest: not finished"]
    said.append(equal[detail.fingerprint_equal])
    if detail.lost != 0:
        said.append(f"{'an unknown number of' if detail.lost is None else detail.lost} points lost")
    return ", ".join(said)


def _restored_points(detail: RestoredPoints) -> str:
    """Say what became of the points, and how to take that back."""
    said = [f"{detail.name} on {detail.target}", detail.came_to]
    said += ["continued an interrupted one"] if detail.resumed else []
    said += [f"{detail.total_us / 1e6:.1f} s"]
    until = f" (until {detail.undo_until:%Y-%m-%d})" if detail.undo_until else ""
    said += [f"undo: qdrant-dr restore --undo {detail.undo_id}{until}"] if detail.undo_id else []
    return ", ".join(said)


def _left_out(end: RunEnd) -> list[dict[str, Any]]:
    """Return a row with its reason for each collection that was not backed up."""
    return [
        {
            "unit": "select",
            "collection": seen.collection,
            "verdict": seen.status,
            "remark": f"{seen.rule}: {seen.reason}" if seen.reason else seen.rule,
        }
        for seen in end.seen
        if seen.status != "included"
    ]
