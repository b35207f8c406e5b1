"""Findings about runs that ended badly, until a later run of at least their scope settles them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import TypeAlias

from qdrant_dr.config import Config
from qdrant_dr.hints import DECIDE, command, split_hint
from qdrant_dr.jobs.run.backup_selector import LATEST, LATEST_PROVEN
from qdrant_dr.quantities import how_long
from qdrant_dr.records import DEPTHS, Outcome, Proved, RunEnd, RunStart
from qdrant_dr.records.proof import depth_rank
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.finding import Problem
from qdrant_dr.text import count

ON_DEMAND = ("restore", "startup", "export", "sign", "diff")
"""Jobs that somebody requested once; a refused one changed nothing."""
MISASKED = frozenset({"usage-error", "nothing-selected", "backup-not-found"})
PEOPLE = frozenset({"cli", "manual"})
NAMES = (
    "backups", "backup", "collections", "collection", "repositories", "repository", "scenario",
)  # fmt: skip
"""Parameters of requests and flows that name something."""


def is_misasked(end: RunEnd) -> bool:
    """Say whether a person named something that does not exist and was told at once: nothing was
    done, so the run says nothing about its job. A scheduled run is still reported, because nobody
    reads its output; so is a run that named nothing and found nothing."""
    start, error = end.start, end.error
    slip = error is not None and error.code in MISASKED and not end.outcomes
    named = start.job in ON_DEMAND or any(start.parameters.get(key) for key in NAMES)
    return slip and named and start.trigger in PEOPLE


@dataclass(frozen=True)
class Scope:
    """What a run covered; None means everything. `reach` orders runs of which a deeper one settles
    a shallower one: the depth of a verification."""

    job: str
    collections: frozenset[str] | None = None
    backups: frozenset[str] | None = None
    repositories: frozenset[str] | None = None
    scenario: str | None = None
    every_backup: bool = True
    reach: int = 0
    sample: int | None = None

    @classmethod
    def of(cls, config: Config, start: RunStart) -> Scope:
        """Read the scope from the parameters of a request or a flow."""
        given = start.parameters
        backups = _names(given, "backups", "backup")
        collections = _names(given, "collections", "collection")
        if backups is not None:
            collections = frozenset(b.rpartition("@")[0] for b in backups)
        scope = cls(
            job=start.job,
            collections=collections,
            backups=backups,
            repositories=_names(given, "repositories", "repository"),
            scenario=str(given["scenario"]) if given.get("scenario") else None,
        )
        if start.job != "verify":
            return scope
        sample = given.get("sample_per_mille") or given.get("sample_percent")
        depth = given.get("depth") or ("bytes" if sample else config.objectives.proven.depth)
        return replace(
            scope,
            every_backup=given.get("which") == "all",
            reach=depth_rank(depth) if depth in DEPTHS else 0,
            sample=sample if isinstance(sample, int) else None,
        )

    def covers(self, other: Scope) -> bool:
        """Say whether this scope is the same or wider, so that this run's result settles the
        other."""
        return (
            (self.job, self.scenario) == (other.job, other.scenario)
            and _within(other.collections, self.collections)
            and _within(other.repositories, self.repositories)
            and self._reaches_backups(other)
            and self.reach >= other.reach
            and (self.sample is None or self.sample == other.sample)
        )

    def _reaches_backups(self, other: Scope) -> bool:
        if self.backups is not None:
            return other.backups is not None and other.backups <= self.backups
        newest = all(b.endswith((f"@{LATEST}", f"@{LATEST_PROVEN}")) for b in other.backups or ())
        return self.every_backup or (newest and not other.every_backup)

    @cached_property
    def words(self) -> str:
        """Write ` of movies, users in aws`; empty for a run of everything."""
        names = self.backups if self.backups is not None else self.collections
        said = f" of {', '.join(sorted(names))}" if names is not None else ""
        said += f" in {', '.join(sorted(self.repositories))}" if self.repositories else ""
        said += f" under {self.scenario}" if self.scenario else ""
        return said


def run_problems(evidence: Evidence) -> Iterator[Problem]:
    """Report runs that crashed or ended badly and were not settled, and missing backup runs."""
    settled = settlements(evidence)
    yield from _crashed(evidence, settled)
    yield from _bad(evidence, settled)
    yield from _absent(evidence)


@dataclass(frozen=True)
class Settlement:
    """The first later run that settles one that crashed or ended badly. If not `good`, it ended
    badly itself, and the trouble may persist."""

    by: RunEnd
    good: bool


def settlements(evidence: Evidence) -> dict[str, Settlement]:
    """Return the settlement of each run that crashed or ended badly and has one, by run id.

    A crashed run needs a later run that was ok. A run that ended badly needs a run of the same or a
    wider scope, or later runs that did well everything it did badly.
    """
    found = {}
    for start in evidence.crashed:
        scope = Scope.of(evidence.config, start)
        later = (
            e for e in evidence.run_ends
            if e.verdict == "ok" and e.start.job == start.job
            and e.start.started_at > start.started_at
            and Scope.of(evidence.config, e.start).covers(scope)
        )  # fmt: skip
        if first := min(later, key=_began, default=None):
            found[start.run_id] = Settlement(first, good=True)
    ended = sorted((e for e in evidence.run_ends if not is_misasked(e)), key=_began)
    scopes = [Scope.of(evidence.config, e.start) for e in ended]
    of_job: dict[str, list[int]] = {}
    redone: dict[_Unit, list[tuple[int, int]]] = {}
    for at in reversed(range(len(ended))):  # so that lists hold later runs only, the nearest last
        end, job = ended[at], ended[at].start.job
        if end.verdict != "ok":
            left = _left_of(scopes[at], end)
            covering = (n for n in reversed(of_job.get(job, ())) if scopes[n].covers(left))
            again = _redone_at(end, redone)
            if settled := [n for n in (next(covering, None), again) if n is not None]:
                by = ended[min(settled)]
                good = by.verdict == "ok" or min(settled) == again
                found[end.start.run_id] = Settlement(by, good)
        of_job.setdefault(job, []).append(at)
        if scopes[at].sample is None:  # a sample of the bytes settles nothing
            for outcome in (o for o in end.outcomes if o.verdict == "ok"):
                redone.setdefault(_unit(outcome), []).append((at, _reach(outcome)))
    return found


def _began(end: RunEnd) -> tuple[datetime, str]:
    return end.start.started_at, end.start.run_id


def _crashed(evidence: Evidence, settled: Mapping[str, Settlement]) -> Iterator[Problem]:
    for start in evidence.crashed:
        recovered = start.run_id in settled
        yield Problem(
            "notice" if recovered else "critical",
            "run-crashed",
            f"{start.job} run {start.run_id}",
            "began but never ended: it was killed, or its machine died"
            + ("; a later run was ok" if recovered else ""),
            start.started_at,
            "whatever it was doing",
            _run_again(evidence.config, start),
        )


def _bad(evidence: Evidence, settled: Mapping[str, Settlement]) -> Iterator[Problem]:
    jobs: set[str] = set()
    for end in sorted(evidence.run_ends, key=_began, reverse=True):
        if is_misasked(end):
            continue
        job = end.start.job
        scope, first = Scope.of(evidence.config, end.start), job not in jobs
        jobs.add(job)
        if end.start.run_id in settled or _told_elsewhere(end):
            continue
        why = (
            end.error.message if end.error else "; ".join(split_hint(r)[0] for r in end.reasons[:2])
        )
        failed = sum(o.verdict == "failed" for o in end.outcomes)
        refused = job in ON_DEMAND and end.error is not None and not end.outcomes
        if refused and not first:
            continue  # nothing was changed, and something else was requested since
        state = "was refused" if refused else "failed" if end.verdict == "failed" else "is degraded"
        yield Problem(
            "notice" if refused else "critical" if end.verdict == "failed" else "warning",
            "run-bad",
            f"last {job} run{scope.words}",
            f"the last {job} run{scope.words} ({end.start.run_id}) {state}: {why}",
            end.ended_at,
            f"{failed} of {count(len(end.outcomes), 'unit')}" if end.outcomes else "the whole run",
            _run_again(evidence.config, end.start),
            facts=end.start.run_id,
        )


def _told_elsewhere(end: RunEnd) -> bool:
    """Say whether other findings cover this run: what made a report red is found here again, and
    each restore is reported with its collection."""
    quiet = end.start.job == "report" and end.error is None
    return end.verdict == "ok" or quiet or (end.start.job == "restore" and bool(end.outcomes))


def _left_of(scope: Scope, end: RunEnd) -> Scope:
    """Return what a later run must cover to settle this one: the collections that it did badly, or
    all of its scope if the run as a whole failed."""
    blamed = _blamed(end)
    bad = {o.collection for o in blamed}
    if not bad or "*" in bad:
        return scope
    places = {o.repository for o in blamed}
    named = frozenset(p for p in places if p is not None)
    where = named if named and None not in places else scope.repositories
    return replace(scope, collections=frozenset(bad), repositories=where)


def _blamed(end: RunEnd) -> list[Outcome]:
    """Return the units that alone made a run end badly. Empty if anything else did: an error, an
    unreachable repository, an expected collection that was missing."""
    bad = [o for o in end.outcomes if o.verdict in ("failed", "degraded")]
    explained = tuple(f"{o.about}: " for o in bad)
    alone = end.error is None and all(r.startswith(explained) for r in end.reasons)
    return bad if alone else []


_Unit: TypeAlias = tuple[str, str, str | None, str | None]


def _unit(outcome: Outcome) -> _Unit:
    return outcome.unit, outcome.collection, outcome.repository, outcome.backup_id


def _reach(outcome: Outcome) -> int:
    """Return how deep a proof went; 0 for anything else."""
    return depth_rank(outcome.detail.depth) if isinstance(outcome.detail, Proved) else 0


def _redone_at(end: RunEnd, redone: Mapping[_Unit, list[tuple[int, int]]]) -> int | None:
    """Return the position of the run by which everything this run did badly had been done well, by
    any runs: the same copy of the same backup, at least as deep. None while there is none."""
    bad = _blamed(end)
    if not bad or any(o.backup_id is None for o in bad):
        return None
    places = [
        next((at for at, reach in reversed(redone.get(_unit(o), ())) if reach >= _reach(o)), None)
        for o in bad
    ]
    known = [at for at in places if at is not None]
    return max(known) if len(known) == len(places) else None


def _absent(evidence: Evidence) -> Iterator[Problem]:
    nothing = {e.start.run_id for e in evidence.run_ends if is_misasked(e)}
    began = [
        s.started_at for s in evidence.run_starts if s.job == "backup" and s.run_id not in nothing
    ]
    rpo = evidence.config.objectives.rpo
    if not began or evidence.as_of - max(began) > rpo:
        yield Problem(
            "critical",
            "no-backup-run",
            "cluster",
            f"no backup run began in the last {how_long(rpo)}",
            max(began) + rpo if began else None,
            "every collection; check that the schedule still exists",
            command("backup"),
        )


def _run_again(config: Config, start: RunStart) -> str:
    """Return a command that settles this run; a one-time request is repeated only by a person."""
    job, given = start.job, start.parameters
    if job in ON_DEMAND:
        verb = "startup-archive" if job == "startup" else job
        return f"{DECIDE}is it still wanted? See `{command(verb, '--help')}`."
    if job == "expire":  # no hint deletes anything: first a dry run of the same scope
        again = command("expire", *_scope_words(given))
        return f"{DECIDE}are the copies that `{again}` lists to be deleted? Then add --execute."
    words: list[str] = []
    if given.get("scenario"):
        words += ["--scenario", str(given["scenario"])]
    if job == "verify":
        scope, names = Scope.of(config, start), _names(given, "backups", "backup")
        words += sorted(names or ()) + ["--all"] * (scope.every_backup and not names)
        if scope.reach > depth_rank(config.objectives.proven.depth):
            words += ["--depth", DEPTHS[scope.reach]]
    return command(job, *words)


def _scope_words(given: dict[str, object] | object) -> list[str]:
    """Return the backups, collections and repositories of a run as options."""
    words = sorted(_names(given, "backups", "backup") or ())
    for option, key in (("--collection", "collections"), ("-r", "repositories")):
        for name in sorted(_names(given, key) or ()):
            words += [option, name]
    return words


def _names(given: dict[str, object] | object, *keys: str) -> frozenset[str] | None:
    """Return the names under the first of these parameters that has any."""
    assert isinstance(given, dict)
    for key in keys:
        value = given.get(key)
        if isinstance(value, str) and value:
            return frozenset({value})
        if isinstance(value, tuple | list) and value:
            return frozenset(map(str, value))
    return None


def _within(one: frozenset[str] | None, other: frozenset[str] | None) -> bool:
    return other is None or (one is not None and one <= other)
