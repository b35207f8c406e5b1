"""Acknowledged findings: shown with who and why, and silent while that is in force. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from qdrant_dr.records import Acknowledged, Acknowledgement, Found
from qdrant_dr.report.finding import Problem


def quieted(problems: Iterable[Problem], records: Sequence[Acknowledgement]) -> tuple[Problem, ...]:
    """Turn acknowledged problems into notices. An acknowledgement covers one instance: another one
    of the same kind, with other facts, raises its alarm as before."""
    known = {(a.code, a.scope, a.facts): a for a in records}
    return tuple(
        by(p, known[key]) if (key := (p.code, p.scope, p.pin)) in known else p for p in problems
    )


def by(problem: Problem, record: Acknowledgement) -> Problem:
    """Return the problem as acknowledged by this record; a further record changes nothing."""
    if problem.acknowledged is not None or problem.severity == "notice":
        return problem
    about = Acknowledged(
        by=record.made_by,
        at=record.made_at,
        reason=record.reason,
        until=record.until,
        severity=problem.severity,
    )
    return replace(problem, severity="notice", acknowledged=about)


def loud_again(f: Found, now: datetime) -> Found:
    """Return a finding of an earlier watch whose acknowledgement has since ended."""
    known = f.acknowledged
    if known is None or known.until is None or known.until > now:
        return f
    return f.model_copy(update={"severity": known.severity, "acknowledged": None})


def words(known: Acknowledged) -> str:
    """Write `acknowledged by ana until 2027-01-31: the rewrite was meant`."""
    until = f" until {known.until:%Y-%m-%d %H:%M:%S} UTC" if known.until else ""
    return f"acknowledged by {known.by}{until}: {known.reason}"


def ended(f: Found) -> str:
    """Say why a finding no longer raises an alarm: it is over, or it was acknowledged."""
    if f.acknowledged is None:
        return f"over: {f.scope}: {f.what}"
    return f"{f.scope}: {f.what}; {words(f.acknowledged)}"
