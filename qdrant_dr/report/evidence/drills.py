"""What each drill measured, and which of it counts as a recovery time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Literal

from qdrant_dr.jobs.drill.sign import who_ran
from qdrant_dr.records import Drilled, Outcome, Played, RunEnd
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.reviews import Signature, reviews_of

Result = Literal["failed", "not run", "passed"]


@dataclass(frozen=True)
class Drill:
    """One drill unit of one run. Only a passed drill measures anything."""

    drill_id: str
    run: RunEnd
    outcome: Outcome
    signature: Signature | None = None
    kind: ClassVar[str] = "drill"

    @property
    def detail(self) -> Drilled | None:
        return self.outcome.detail if isinstance(self.outcome.detail, Drilled) else None

    @property
    def verdict(self) -> Result:
        """Return `passed` only with evidence: an equal fingerprint and every point."""
        if self.outcome.verdict == "skipped":
            return "not run"
        d = self.detail
        if self.outcome.verdict == "failed" or d is None:
            return "failed"
        whole = d.points_expected is not None and d.points_expected == d.points_restored
        return "passed" if d.fingerprint_equal is True and whole else "failed"

    @property
    def working(self) -> timedelta | None:
        """Return the time from the decision to the verified target: all phases except tear-down."""
        if self.verdict != "passed" or self.detail is None:
            return None
        spent = self.detail.recovery_us
        return timedelta(microseconds=spent)

    @property
    def restore(self) -> timedelta | None:
        """Return the server's own time (recover and ready), which is all a sandbox can measure."""
        if self.verdict != "passed" or self.detail is None or self.detail.engine != "server":
            return None
        spent = [p.duration_us for p in self.detail.phases if p.name in ("recover", "ready")]
        return timedelta(microseconds=sum(spent)) if spent else None

    @property
    def readback(self) -> timedelta | None:
        """Return the time of an engine drill: it shows that the bytes can be read, but never how
        long a recovery takes."""
        return self.working if self.detail and self.detail.engine == "edge" else None

    @property
    def rto(self) -> timedelta | None:
        """Return the recovery time: only of a passed drill into a real server."""
        d = self.detail
        real = d is not None and d.engine == "server" and d.target_kind == "server"
        return self.working if real else None

    @property
    def scenario(self) -> str | None:
        """Return what was to count as lost, even if the drill failed early."""
        asked = self.run.start.parameters.get("scenario")
        return self.played.name if self.played else str(asked) if asked else None

    @property
    def played(self) -> Played | None:
        return self.detail.scenario if self.detail else None

    @property
    def rpo(self) -> timedelta | None:
        """Return the age of the newest proven backup in what the scenario left.

        None if there was no such backup, or if the drill failed, perhaps for another reason.
        """
        age = self.played.newest_proven_us if self.played else None
        return None if age is None or self.verdict != "passed" else timedelta(microseconds=age)

    def rpo_met(self, promised: timedelta) -> bool | None:
        """Say whether the recovery point objective was met under the scenario; None: not shown."""
        if self.played is None or self.verdict != "passed":
            return None
        return self.rpo is not None and self.rpo <= promised

    @property
    def ran_by(self) -> str:
        """Return who ran it: the name that was given, else the account."""
        return who_ran(self.run.start)


def drills_of(evidence: Evidence) -> tuple[Drill, ...]:
    """List every drill in the run records, oldest first, also those without detail."""
    found: dict[str, Drill] = {}
    signed = reviews_of(evidence)
    for end in evidence.run_ends:
        units = [o for o in end.outcomes if o.unit == "drill"]
        for n, outcome in enumerate(units):
            d = outcome.detail if isinstance(outcome.detail, Drilled) else None
            name = d.drill_id if d else f"{end.start.run_id}-{n}"
            name = f"{name}-{n}" if name in found else name  # several of one run and repository
            found[name] = Drill(name, end, outcome, signed.get(end.start.run_id))
    return tuple(sorted(found.values(), key=lambda d: (d.outcome.started_at, d.drill_id)))
