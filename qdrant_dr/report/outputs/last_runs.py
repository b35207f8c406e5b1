"""The last run of every verb, for monitoring: when it was, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.findings.runs import is_misasked

Ending = Literal["ok", "degraded", "failed", "crashed"]
ENDINGS: tuple[Ending, ...] = ("ok", "degraded", "failed", "crashed")


@dataclass(frozen=True)
class LastRun:
    """The last run of one verb.

    `at`: when it ended, or when it began if it crashed. `ok_at`: when the last run that was all
    right ended.
    """

    verb: str
    at: datetime
    ending: Ending
    ok_at: datetime | None


def last_runs(evidence: Evidence) -> tuple[LastRun, ...]:
    """Return the last run of each verb on record, by name of the verb.

    A run that a person misspelt and that did nothing is not counted: it says nothing of its verb.
    """
    told: dict[str, list[tuple[datetime, Ending]]] = {}
    for end in evidence.run_ends:
        if not is_misasked(end):
            told.setdefault(end.start.job, []).append((end.ended_at, end.verdict))
    for start in evidence.crashed:
        told.setdefault(start.job, []).append((start.started_at, "crashed"))
    return tuple(
        LastRun(verb, *max(runs), max((at for at, ending in runs if ending == "ok"), default=None))
        for verb, runs in sorted(told.items())
    )
