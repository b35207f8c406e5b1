"""What each test restore measured, and what of it may be called a recovery time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Literal

from qdrant_dr.records import Drilled, Outcome, RunEnd
from qdrant_dr.report.evidence import Evidence

Result = Literal["failed", "not run", "passed"]


@dataclass(frozen=True)
class Drill:
    """One drill unit of one run. Nothing is measured unless it passed."""

    drill_id: str
    run: RunEnd
    outcome: Outcome
    kind: ClassVar[str] = "drill"

    @property
    def detail(self) -> Drilled | None:
        return self.outcome.detail if isinstance(self.outcome.detail, Drilled) else None

    @property
    def verdict(self) -> Result:
        """Passed needs evidence: an equal fingerprint and every point, whatever the unit says."""
        if self.outcome.verdict == "skipped":
            return "not run"
        d = self.detail
        if self.outcome.verdict == "failed" or d is None:
            return "failed"
        whole = d.points_expected is not None and d.points_expected == d.points_restored
        return "passed" if d.fingerprint_equal is True and whole else "failed"

    @property
    def working(self) -> timedelta | None:
        """From the decision to the verified target: all phases but the tear-down."""
        if self.verdict != "passed" or self.detail is None:
            return None
        spent = self.detail.recovery_us
        return timedelta(microseconds=spent)

    @property
    def restore(self) -> timedelta | None:
        """What the server itself took: recover and ready. On the sandbox it is only that."""
        if self.verdict != "passed" or self.detail is None or self.detail.engine != "server":
            return None
        spent = [p.duration_us for p in self.detail.phases if p.name in ("recover", "ready")]
        return timedelta(microseconds=sum(spent)) if spent else None

    @property
    def readback(self) -> timedelta | None:
        """An engine drill: shows that the bytes can be read, never how long recovery takes."""
        return self.working if self.detail and self.detail.engine == "edge" else None

    @property
    def rto(self) -> timedelta | None:
        """A recovery time: only from a passed drill into a real server."""
        d = self.detail
        real = d is not None and d.engine == "server" and d.target_kind == "server"
        return self.working if real else None


def drills_of(evidence: Evidence) -> tuple[Drill, ...]:
    """Every drill that the run records tell of, oldest first; those without detail too."""
    found: dict[str, Drill] = {}
    for end in evidence.run_ends:
        units = [o for o in end.outcomes if o.unit == "drill"]
        for n, outcome in enumerate(units):
            d = outcome.detail if isinstance(outcome.detail, Drilled) else None
            name = d.drill_id if d else f"{end.start.run_id}-{n}"
            name = f"{name}-{n}" if name in found else name  # several of one run and repository
            found[name] = Drill(name, end, outcome)
    return tuple(sorted(found.values(), key=lambda d: (d.outcome.started_at, d.drill_id)))
