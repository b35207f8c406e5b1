"""What each real restore brought back, who approved it, and its recovery time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Literal

from qdrant_dr.records import Outcome, Restored, RestoredPoints, RunEnd
from qdrant_dr.records.run import is_same_person
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.reviews import Signature, reviews_of

Result = Literal["failed", "not run", "partial", "passed"]


@dataclass(frozen=True)
class Restore:
    """One restore unit of one run. `requester` started the run, `approver` approved it, and may
    have signed that afterwards."""

    restore_id: str
    run: RunEnd
    outcome: Outcome
    signature: Signature | None = None
    kind: ClassVar[str] = "restore"

    @property
    def detail(self) -> Restored | None:
        return self.outcome.detail if isinstance(self.outcome.detail, Restored) else None

    @property
    def points(self) -> RestoredPoints | None:
        """Return what became of single points, where only these were restored."""
        found = self.outcome.detail
        return found if isinstance(found, RestoredPoints) else None

    @property
    def about(self) -> Restored | RestoredPoints | None:
        """Return what all restores have: target, name, approval, phases."""
        return self.detail or self.points

    @property
    def route(self) -> str | None:
        """Return how the points came there; `points`: only some were restored."""
        if self.points is not None:
            return "points"
        return self.detail.route if self.detail else None

    @property
    def expected_points(self) -> int | None:
        """Return how many points were to be restored."""
        if self.points is not None:
            return self.points.selected
        return self.detail.points_expected if self.detail else None

    @property
    def restored_points(self) -> int | None:
        """Return how many points are as they were to be."""
        if self.points is not None:
            return self.points.written + self.points.equal
        return self.detail.points_restored if self.detail else None

    @property
    def requester(self) -> str:
        return self.run.start.actor

    @property
    def approver(self) -> str | None:
        return (self.about.approved_by or None) if self.about else None

    @property
    def same_person(self) -> bool | None:
        """Say whether the requester approved it; None if no approval was recorded."""
        return is_same_person(self.requester, self.approver) if self.approver else None

    @property
    def approval(self) -> Signature | None:
        """Return the approver's own review of this restore; None: nothing but a typed name."""
        s = self.signature
        given = s is not None and s.accepted and s.holds and s.proof != "typed"
        own = given and s and self.approver and is_same_person(s.reviewer, self.approver)
        return s if own else None

    @property
    def lost(self) -> int | None:
        """Return the number of missing points: those a salvage lists, or the difference."""
        d = self.detail
        if (points := self.points) is not None:
            return points.moved + points.refused
        if d is None or d.points_expected is None or d.points_restored is None:
            return len(d.lost_ids) if d and d.lost_ids else None
        return max(len(d.lost_ids), d.points_expected - d.points_restored)

    @property
    def verdict(self) -> Result:
        """Return `passed` only with evidence: an equal fingerprint and every point.

        `partial`: something was restored, but not everything, or it was not compared.
        """
        if self.outcome.verdict == "skipped":
            return "not run"
        d = self.detail
        if self.outcome.verdict == "failed" or self.about is None:
            return "failed"
        if d is None:
            return "passed" if self.outcome.verdict == "ok" else "partial"
        whole = d.points_expected is not None and d.points_expected == d.points_restored
        return "passed" if d.fingerprint_equal is True and whole and not d.lost_ids else "partial"

    @property
    def spent(self) -> timedelta | None:
        """Return the total time of its phases; for a resumed restore, since it was resumed."""
        if self.about is None or not self.about.phases:
            return None
        return timedelta(microseconds=sum(p.duration_us for p in self.about.phases))

    @property
    def rto(self) -> timedelta | None:
        """Return the recovery time, from the decision to the verified target.

        Only for a real server and an uninterrupted restore of archives with every point proven
        equal: the time of a salvage or a resumed restore says nothing about the next recovery.
        """
        d = self.detail
        real = d is not None and d.target_kind == "server" and d.route != "salvage"
        whole = self.verdict == "passed" and d is not None and not d.resumed
        return timedelta(microseconds=d.total_us) if d and real and whole else None


def restores_of(evidence: Evidence) -> tuple[Restore, ...]:
    """List every restore in the run records, oldest first, also those without detail."""
    found: dict[str, Restore] = {}
    signed = reviews_of(evidence)
    for end in evidence.run_ends:
        units = [o for o in end.outcomes if o.unit in ("restore", "restore-points")]
        for n, outcome in enumerate(units):
            d = outcome.detail if isinstance(outcome.detail, Restored) else None
            name = d.restore_id if d else f"{end.start.run_id}-{n}"
            name = f"{name}-{n}" if name in found else name  # one that was resumed by this run
            found[name] = Restore(name, end, outcome, signed.get(end.start.run_id))
    return tuple(sorted(found.values(), key=lambda r: (r.outcome.started_at, r.restore_id)))
