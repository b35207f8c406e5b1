"""From outcomes to one verdict: pure, and used by the command line and by the flows alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qdrant_dr.config import Copies
from qdrant_dr.jobs.run.copies_missing import copies_missing
from qdrant_dr.records import Captured, ErrorFacts, Outcome, RepositorySeen, RunEnd, SeenCollection


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The verdict of a run, and why it is not ok."""

    verdict: Literal["ok", "degraded", "failed"]
    reasons: tuple[str, ...]


def worse(end: RunEnd, doubts: Sequence[str]) -> RunEnd:
    """Return the end of a run that came to doubts after its record was written."""
    verdict = "degraded" if end.verdict == "ok" else end.verdict
    return end.model_copy(update={"verdict": verdict, "reasons": (*end.reasons, *doubts)})


def conclude(
    outcomes: Sequence[Outcome],
    seen: Sequence[SeenCollection],
    repositories: Sequence[RepositorySeen],
    *,
    copies: Copies,
    error: ErrorFacts | None = None,
    objections: Sequence[str] = (),
    doubts: Sequence[str] = (),
) -> Conclusion:
    """Return the strictest verdict of the run itself, of what was expected, and of every unit.

    Whether a run that did nothing may be fine is its job's to say, by an objection: a backup or
    drill of nothing never is, a replication that found every copy whole is. A repository that
    could not be read degrades; too few copies of a backup are a failure.
    """
    failed = [f"{error.code}: {error.message}"] if error else []
    failed += objections
    failed += [f"{s.collection} is expected and missing" for s in seen if s.status == "missing"]
    degraded = [
        f"repository {r.name} could not be used: {r.error.message if r.error else 'unknown'}"
        for r in repositories
        if not r.reachable
    ]
    degraded += doubts
    for outcome in outcomes:
        what = outcome.about
        if outcome.verdict == "failed":
            why = outcome.error.message if outcome.error else "; ".join(outcome.notes)
            failed.append(f"{what}: {why or 'failed'}")
        elif outcome.verdict == "degraded":
            degraded.append(f"{what}: {'; '.join(outcome.notes) or 'degraded'}")
        if isinstance(outcome.detail, Captured):
            missing = copies_missing(outcome.detail.committed, repositories, copies)
            if missing and outcome.verdict != "failed":
                failed.append(f"{what}: {missing}")
    if failed:
        return Conclusion("failed", tuple(failed + degraded))
    if degraded:
        return Conclusion("degraded", tuple(degraded))
    return Conclusion("ok", ())
