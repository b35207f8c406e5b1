"""What changed between two backups, as the last run that compared them recorded it."""

from __future__ import annotations

from dataclasses import dataclass

from qdrant_dr.records import Differed, Outcome, RunEnd
from qdrant_dr.report.evidence.evidence import Evidence


@dataclass(frozen=True)
class Difference:
    """The comparison of a collection's last two backups by one run."""

    run: RunEnd
    outcome: Outcome
    detail: Differed


def differences_of(evidence: Evidence) -> tuple[Difference, ...]:
    """Return the last comparison of each collection in the run records, by name."""
    found: dict[str, Difference] = {}
    for end in sorted(evidence.run_ends, key=lambda e: e.ended_at):
        for outcome in end.outcomes:
            if isinstance(outcome.detail, Differed):
                found[outcome.collection] = Difference(end, outcome, outcome.detail)
    return tuple(found[name] for name in sorted(found))
