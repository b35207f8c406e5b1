"""What happened after runs that ended badly: which copies were healed, which run settled them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from qdrant_dr.records import Captured, Healed, Outcome, RunEnd
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.findings.runs import Settlement, settlements

_Copy: TypeAlias = tuple[str, str, str]
"""Collection, backup, repository."""


@dataclass(frozen=True)
class Healing:
    """One run that healed copies, and when the last of them was complete."""

    run_id: str
    job: str
    at: datetime


@dataclass(frozen=True)
class Afterwards:
    """What happened after one run: the copies that it called bad or could not write, those of them
    healed since, by which runs, and the run that settled it as a whole; if none did yet, the last
    later run of its scope, which ended badly itself."""

    copies: int = 0
    healed: int = 0
    healings: tuple[Healing, ...] = ()
    settled: RunEnd | None = None
    repeated: RunEnd | None = None

    @property
    def healed_at(self) -> datetime | None:
        """Return when the last of its copies was healed; None until all are."""
        whole = self.copies and self.healed == self.copies
        return max(h.at for h in self.healings) if whole else None


def afterwards(evidence: Evidence) -> dict[str, Afterwards]:
    """Return this, by run id, for every run that crashed or did not end well."""
    spoken_for = settlements(evidence)
    heals: dict[_Copy, list[tuple[RunEnd, Outcome]]] = {}
    for end in evidence.run_ends:
        for outcome in end.outcomes:
            if isinstance(outcome.detail, Healed) and outcome.verdict == "ok":
                for copy in _copies(outcome):
                    heals.setdefault(copy, []).append((end, outcome))
    found = {
        end.start.run_id: _of(end, heals, *_followed(end.start.run_id, spoken_for))
        for end in evidence.run_ends
        if end.verdict != "ok"
    }
    crashed = {
        s.run_id: Afterwards(0, 0, (), *_followed(s.run_id, spoken_for)) for s in evidence.crashed
    }
    return found | crashed


def _followed(
    run_id: str, spoken_for: Mapping[str, Settlement]
) -> tuple[RunEnd | None, RunEnd | None]:
    """Return the run that settled this one, else the last one that found the same again."""
    last = None
    while found := spoken_for.get(run_id):
        if found.good:
            return found.by, None
        last, run_id = found.by, found.by.start.run_id  # always a later one
    return None, last


def _of(
    end: RunEnd,
    heals: Mapping[_Copy, list[tuple[RunEnd, Outcome]]],
    settled: RunEnd | None,
    repeated: RunEnd | None,
) -> Afterwards:
    bad = {c for o in end.outcomes for c in (*_left_behind(o), *_named_bad(o))}
    first = [
        min(later, key=lambda h: h[1].ended_at)
        for copy in sorted(bad)
        if (later := [h for h in heals.get(copy, ()) if h[1].ended_at > end.start.started_at
                      and h[0].start.run_id != end.start.run_id])
    ]  # fmt: skip
    return Afterwards(len(bad), len(first), tuple(_healings(first)), settled, repeated)


def _healings(heals: Iterable[tuple[RunEnd, Outcome]]) -> Iterator[Healing]:
    last: dict[str, Healing] = {}
    for end, outcome in sorted(heals, key=lambda h: h[1].ended_at):
        last[end.start.run_id] = Healing(end.start.run_id, end.start.job, outcome.ended_at)
    yield from last.values()


def _named_bad(outcome: Outcome) -> Iterator[_Copy]:
    if outcome.verdict in ("failed", "degraded"):
        yield from _copies(outcome)


def _left_behind(outcome: Outcome) -> Iterator[_Copy]:
    """List the copies that a backup could not write."""
    if isinstance(outcome.detail, Captured) and outcome.backup_id:
        for repository in outcome.detail.left_behind:
            yield outcome.collection, outcome.backup_id, repository


def _copies(outcome: Outcome) -> Iterator[_Copy]:
    if outcome.repository and outcome.backup_id:
        yield outcome.collection, outcome.backup_id, outcome.repository
