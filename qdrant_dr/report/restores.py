"""What each restore for real brought back, who let it happen, and what it says of recovery."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Literal

from qdrant_dr.hints import DECIDE, command
from qdrant_dr.records import Outcome, Restored, RunEnd
from qdrant_dr.records.run import is_same_person
from qdrant_dr.report.evidence import Evidence
from qdrant_dr.report.problems import Problem, count

Result = Literal["failed", "not run", "partial", "passed"]


@dataclass(frozen=True)
class Restore:
    """One restore unit of one run. `requester` started the run, `approver` let it go on."""

    restore_id: str
    run: RunEnd
    outcome: Outcome
    kind: ClassVar[str] = "restore"

    @property
    def detail(self) -> Restored | None:
        return self.outcome.detail if isinstance(self.outcome.detail, Restored) else None

    @property
    def requester(self) -> str:
        return self.run.start.actor

    @property
    def approver(self) -> str | None:
        return (self.detail.approved_by or None) if self.detail else None

    @property
    def same_person(self) -> bool | None:
        """Approved by who asked for it; None where no approval was recorded."""
        return is_same_person(self.requester, self.approver) if self.approver else None

    @property
    def lost(self) -> int | None:
        """Points that should be there and are not: those a salvage names, or the difference."""
        d = self.detail
        if d is None or d.points_expected is None or d.points_restored is None:
            return len(d.lost_ids) if d and d.lost_ids else None
        return max(len(d.lost_ids), d.points_expected - d.points_restored)

    @property
    def verdict(self) -> Result:
        """Passed needs evidence: an equal fingerprint and every point, whatever the unit says.

        `partial`: something is there, but not all of it, or nobody compared it.
        """
        if self.outcome.verdict == "skipped":
            return "not run"
        d = self.detail
        if self.outcome.verdict == "failed" or d is None:
            return "failed"
        whole = d.points_expected is not None and d.points_expected == d.points_restored
        return "passed" if d.fingerprint_equal is True and whole and not d.lost_ids else "partial"

    @property
    def spent(self) -> timedelta | None:
        """What its phases took together; of a resumed one, since it was taken up again."""
        if self.detail is None or not self.detail.phases:
            return None
        return timedelta(microseconds=sum(p.duration_us for p in self.detail.phases))

    @property
    def rto(self) -> timedelta | None:
        """From the decision to the verified target, all of it: only where nothing is left out.

        A real server, every point proven equal, by one uninterrupted restore of archives: what a
        salvage or a resumed restore took says nothing of the next recovery.
        """
        d = self.detail
        real = d is not None and d.target_kind == "server" and d.route != "salvage"
        whole = self.verdict == "passed" and d is not None and not d.resumed
        return timedelta(microseconds=d.total_us) if d and real and whole else None


def restores_of(evidence: Evidence) -> tuple[Restore, ...]:
    """Every restore that the run records tell of, oldest first; those without detail too."""
    found: dict[str, Restore] = {}
    for end in evidence.run_ends:
        units = [o for o in end.outcomes if o.unit == "restore"]
        for n, outcome in enumerate(units):
            d = outcome.detail if isinstance(outcome.detail, Restored) else None
            name = d.restore_id if d else f"{end.start.run_id}-{n}"
            name = f"{name}-{n}" if name in found else name  # one that was resumed by this run
            found[name] = Restore(name, end, outcome)
    return tuple(sorted(found.values(), key=lambda r: (r.outcome.started_at, r.restore_id)))


def restore_problems(restores: Sequence[Restore]) -> Iterator[Problem]:
    """What the last restore of each collection to each place lacked."""
    last: dict[tuple[str, str, str], Restore] = {}
    for r in restores:
        last[r.outcome.collection, *place_of(r)] = r
    for r in last.values():
        if (wrong := _wrong_with(r)) is not None:
            yield wrong


def place_of(r: Restore) -> tuple[str, str]:
    """URL and name that it was to be restored to; of one that failed early, as was asked for."""
    if r.detail is not None:
        return r.detail.target.rstrip("/"), r.detail.name
    given = r.run.start.parameters
    return str(given.get("to") or "").rstrip("/"), str(given.get("name") or r.outcome.collection)


def approval_problems(restores: Sequence[Restore]) -> Iterator[Problem]:
    """Who let their own restore into a real server go on."""
    for r in restores:
        if r.same_person and r.detail and r.detail.target_kind == "server":
            yield Problem(
                "warning",
                "self-approved",
                f"restore {r.restore_id}",
                f"approved by {r.approver}, who asked for it",
                r.outcome.started_at,
                f"{r.detail.name} on {r.detail.target}",
                _look(r),
            )


def _wrong_with(r: Restore) -> Problem | None:
    d, error = r.detail, r.outcome.error
    if r.verdict not in ("failed", "partial"):
        return None
    target, name = place_of(r)
    where = f"{name} on {target}" if target else r.outcome.collection
    if r.verdict == "failed":
        why = f"{error.code}: {error.message}" if error else "not equal"
        return Problem(
            "critical", "restore-failed", f"restore {r.restore_id}",
            f"the last restore of {where} failed: {why}",
            r.outcome.started_at, "restoring this collection", _again(r),
        )  # fmt: skip
    salvaged = d is not None and d.route == "salvage"
    lost = f"{count(r.lost, 'point')} lost" if r.lost else "it was not proven equal"
    return Problem(
        "warning" if salvaged else "critical",
        "restore-partial",
        f"restore {r.restore_id}",
        f"{'salvaged' if salvaged else 'restored'} {where}: {lost}",
        r.outcome.started_at,
        f"{r.lost} of {count(d.points_expected, 'point')}"
        if d and d.points_expected and r.lost
        else where,
        _look(r),
    )


def _key(r: Restore) -> str:
    return f"{r.outcome.collection}@{r.outcome.backup_id or 'latest-proven'}"


def _look(r: Restore) -> str:
    """What came back, and whether that will do."""
    show = command("show", _key(r), "--proofs")
    return f"{DECIDE}is that good enough? `{show}` says what the backup holds."


def _again(r: Restore) -> str:
    """Prints the plan, and stops: nothing is restored by pasting it."""
    if r.detail is None:
        return f"{DECIDE}is it to be restored still? see `{command('restore', '--help')}`."
    again = command("restore", _key(r), "--to", r.detail.target, "--as", r.detail.name)
    return f"{DECIDE}is it to be restored still? `{again}` prints the plan."
