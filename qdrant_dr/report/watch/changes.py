"""Find what is new and what is over since the previous watch. Pure; nothing is announced twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from qdrant_dr.records import Found
from qdrant_dr.report.finding import RANK, Problem
from qdrant_dr.report.findings.acknowledged import loud_again
from qdrant_dr.report.kinds import Half, kind_of


@dataclass(frozen=True)
class Changes:
    """`standing` is all that is wrong; `appeared` and `cleared` are what must be announced."""

    standing: tuple[Found, ...]
    appeared: tuple[Found, ...]
    cleared: tuple[Found, ...]


def changes(
    before: Sequence[Found] | None,
    now: Sequence[Found],
    *,
    at: datetime | None = None,
    unseen: Collection[Half] = (),
    doubted: Callable[[Found], bool] = lambda _: False,
) -> Changes:
    """Compare with the findings of the previous watch; None: they are not known.

    A finding that could not be checked is not over: it stands as it was; `doubted` says what an
    unreadable record may still show. Notices are never announced, so a notice that becomes more
    severe appears, and an alarm that becomes a notice is over, with the acknowledgement if there is
    one. A finding that became critical appears again, and so does one whose acknowledgement has
    ended before `at`.
    """
    known = {f.identity: f for f in before or ()}
    seen = {f.identity for f in now}
    kept = [
        loud_again(f, at) if at is not None else f
        for f in known.values()
        if f.identity not in seen and (_hidden(f, unseen, seen) or doubted(f))
    ]
    standing = sorted([*now, *kept], key=_order)
    is_loud = {f.identity for f in standing if _loud(f)}
    quiet = {f.identity: f for f in standing if f.acknowledged is not None}
    return Changes(
        standing=tuple(standing),
        appeared=tuple(f for f in standing if _loud(f) and _is_worse(f, known.get(f.identity))),
        cleared=tuple(
            sorted(
                (
                    quiet.get(f.identity, f)
                    for f in known.values()
                    if _loud(f) and f.identity not in is_loud
                ),
                key=_order,
            )
        ),
    )


def found(problem: Problem, before: Sequence[Found] | None, at: datetime) -> Found:
    """Return a problem as a watch records it; without another source, `since` is when it was first
    seen."""
    known = {f.identity: f for f in before or ()}
    since = problem.since
    if since is None:
        since = known[problem.identity].since if problem.identity in known else at
    return Found(
        severity=problem.severity,
        code=problem.code,
        scope=problem.scope,
        what=problem.what,
        since=since,
        blast_radius=problem.blast_radius,
        next_command=problem.next_command,
        facts=problem.pin,
        acknowledged=problem.acknowledged,
    )


def _hidden(f: Found, unseen: Collection[Half], seen: Collection[tuple[str, str]]) -> bool:
    """Say whether the half that would show its end was not checked; `seen` are the present
    findings."""
    hidden_by = kind_of(f.code).hidden_by
    return any(half in unseen for half in hidden_by) or any(
        code in hidden_by and _speaks_of(code, scope, f) for code, scope in seen
    )


def _speaks_of(code: str, scope: str, f: Found) -> bool:
    """Say whether a finding of something unchecked is about `f`: unchecked space is not
    reported place by place, and without any node nobody knows which nodes are away."""
    return code == "space-unseen" or scope == ("cluster" if code == "cluster-unseen" else f.scope)


def _loud(f: Found) -> bool:
    return f.severity != "notice"


def _is_worse(f: Found, known: Found | None) -> bool:
    return known is None or RANK[f.severity] < RANK[known.severity]


def _order(f: Found) -> tuple[int, float, str, str]:
    return RANK[f.severity], f.since.timestamp(), f.scope, f.code
