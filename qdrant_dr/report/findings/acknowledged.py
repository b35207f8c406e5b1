"""Findings that somebody knows of: shown with who and why, quiet as long as that holds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from qdrant_dr.records import Acknowledged, Acknowledgement, Found
from qdrant_dr.report.finding import Problem


def quieted(problems: Iterable[Problem], records: Sequence[Acknowledgement]) -> tuple[Problem, ...]:
    """The problems, those that are acknowledged as notices. An acknowledgement is of one instance:
    another of the same kind, with other facts, is as loud as ever."""
    known = {(a.code, a.scope, a.facts): a for a in records}
    return tuple(
        by(p, known[key]) if (key := (p.code, p.scope, p.pin)) in known else p for p in problems
    )


def by(problem: Problem, record: Acknowledgement) -> Problem:
    """The problem as acknowledged by this record; once is enough."""
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
    """A finding of a look before whose acknowledgement is over since."""
    known = f.acknowledged
    if known is None or known.until is None or known.until > now:
        return f
    return f.model_copy(update={"severity": known.severity, "acknowledged": None})


def words(known: Acknowledged) -> str:
    """`acknowledged by ana until 2027-01-31: the rewrite was meant`."""
    until = f" until {known.until:%Y-%m-%d %H:%M:%S} UTC" if known.until else ""
    return f"acknowledged by {known.by}{until}: {known.reason}"


def ended(f: Found) -> str:
    """What is told of a finding that is an alarm no more: it is over, or somebody knows of it."""
    if f.acknowledged is None:
        return f"over: {f.scope}: {f.what}"
    return f"{f.scope}: {f.what}; {words(f.acknowledged)}"
