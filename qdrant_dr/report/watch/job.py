"""`watch`: check records and cluster, compare with the previous watch, say what is new and over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice

from qdrant_dr.cluster import ClockOffset
from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, Interrupted
from qdrant_dr.hints import command
from qdrant_dr.jobs.check.space import Size, check_space
from qdrant_dr.jobs.run.archive_size import GROWTH
from qdrant_dr.jobs.run.catalogs import bundle_all, open_all
from qdrant_dr.jobs.run.clocks import clock_text
from qdrant_dr.jobs.run.run import Run, utc_now
from qdrant_dr.jobs.run.units import Perform, WatchUnit
from qdrant_dr.records import Found, Outcome, RunEnd, Watched
from qdrant_dr.records.base import Frozen
from qdrant_dr.report.evidence.gather import gather
from qdrant_dr.report.finding import Problem
from qdrant_dr.report.findings.acknowledged import quieted
from qdrant_dr.report.findings.all_findings import LEFTOVER
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.findings.cluster import Live, ask_cluster
from qdrant_dr.report.kinds import Half, kind_of
from qdrant_dr.report.outputs.heartbeat import signal
from qdrant_dr.report.watch.changes import changes, found
from qdrant_dr.report.watch.unreadable import in_doubt
from qdrant_dr.repository import Repository, Stat, written_by_last

PERIOD = timedelta(days=30)
RECORDED_EVERY = timedelta(minutes=55)
"""A watch without changes is recorded once an hour; 5 min are allowed for inexact schedules."""
WRITTEN_WITHIN = timedelta(seconds=30)
"""A record reaches its store within this time after its end time was written into it."""

Announce = Callable[[RunEnd, Watched], bool]
"""Announce a watch; False: nobody could be told, so the next watch must try again."""


class WatchRequest(Frozen):
    """`record`: record the findings, so that what was announced is not announced again."""

    record: bool = True


def find_problems(config: Config, unit: WatchUnit) -> Outcome:
    """Check everything, reading only; with `bundle`, keep what was read in bundles. The verdict is
    that of the worst finding.

    A part that cannot be checked is a finding, and none of its findings count as over.
    """
    now = unit.now
    opened, failed = open_all(config, remember=True)
    last = _last_watches(opened, config.cluster.name, now)
    newest = max((end for end, _ in last.values()), key=lambda e: e.ended_at, default=None)
    before = _watched(newest)
    assessed = Assessment.of(
        gather(config, now, PERIOD, packs=False, ledgers=False, among=(opened, failed))
    )
    live = ask_cluster(
        assessed.evidence, assessed.standings, opened, before.waiting if before else {}
    )
    problems = [
        *_from_records(assessed, live),
        *live.problems,
        *_space(config, assessed, opened),
        *_store_clocks(config, opened, last),
    ]
    problems = list(quieted(problems, assessed.evidence.acknowledgements))
    known = before.findings if before else None
    unique = {f.identity: f for f in (found(p, known, now) for p in reversed(problems))}
    unseen: list[Half] = ["records"] if assessed.evidence.unreachable else []
    unseen += [] if live.whole else ["cluster"]
    doubted = in_doubt([u.path for u in assessed.evidence.unreadable])
    change = changes(known, list(unique.values()), at=now, unseen=unseen, doubted=doubted)
    loud = [f for f in change.standing if f.severity != "notice"]
    judged = replace(assessed, problems=tuple(Problem(**dict(f)) for f in change.standing))
    unsent = signal(config, judged)
    if unit.bundle:
        bundle_all(opened)
    return Outcome(
        unit="watch",
        collection="*",
        verdict=judged.verdict,
        started_at=now,
        ended_at=utc_now(),
        notes=tuple(f"{f.severity}: {f.scope}: {f.what}" for f in loud),
        detail=Watched(
            findings=change.standing,
            appeared=change.appeared,
            cleared=change.cleared,
            compared_with=newest.ended_at if newest else None,
            unseen=tuple(unseen),
            waiting=live.waiting,
            unsent=unsent,
        ),
    )


def watch(
    config: Config,
    request: WatchRequest,
    run: Run,
    perform: Perform,
    *,
    announce: Announce = lambda _end, _watched: True,
) -> RunEnd:
    """Check, announce, and record the watch if something changed or the last record is an hour old.

    It announces first and records afterwards: if nobody could be told, the next watch tries again.
    """
    try:
        (outcome,) = perform([WatchUnit(now=run.start.started_at, bundle=request.record)])
    except Interrupted as e:
        return run.finish(config, outcomes=(), error=e)
    end = run.concluded(config, [outcome])
    if (watched := _watched(end)) is None:
        return end  # it checked nothing: the previous findings stay the reference
    announced = announce(end, watched)
    changed = bool(watched.appeared or watched.cleared)
    at = watched.compared_with
    due = changed or at is None or end.ended_at - at >= RECORDED_EVERY
    if request.record and due and (announced or not changed):
        # the end time is when the record is written; the stores' clocks are compared with it
        end = run.concluded(config, [outcome])
        run.write_everywhere(end)
        if run.unwritten:
            return run.concluded(config, [outcome])
    return end


def last_findings(
    opened: Mapping[str, Repository], cluster: str, now: datetime
) -> tuple[Found, ...]:
    """Return the findings of the last recorded watch that only the cluster, or the space and clocks
    of stores, can show."""
    looks = _last_watches(opened, cluster, now)
    newest = max((end for end, _ in looks.values()), key=lambda e: e.ended_at, default=None)
    watched = _watched(newest)
    return (
        tuple(f for f in watched.findings if kind_of(f.code).seen_by != "records")
        if watched
        else ()
    )


def _watched(end: RunEnd | None) -> Watched | None:
    details = [o.detail for o in end.outcomes] if end else []
    return next((d for d in details if isinstance(d, Watched)), None)


def _last_watches(
    opened: Mapping[str, Repository], cluster: str, now: datetime
) -> dict[str, tuple[RunEnd, Stat]]:
    """Return the newest watch that each repository has; None for one that cannot be read."""
    last = {}
    for name, repository in opened.items():
        try:
            there = repository.last_watch(cluster, now)
        except DRError:
            continue  # the evidence reports that it cannot be read
        if there is not None and _watched(there[0]) is not None:
            last[name] = there
    return last


def _from_records(assessed: Assessment, live: Live) -> Iterator[Problem]:
    """Return the findings of the records, except those that the live cluster shows better: a
    leftover snapshot may be gone since, and a vanished collection may be back."""
    for problem in assessed.problems:
        back = live.names is not None and problem.scope in live.names
        if problem.code != LEFTOVER and not (problem.code == "collection-missing" and back):
            yield problem


def _space(
    config: Config, assessed: Assessment, opened: Mapping[str, Repository]
) -> Iterator[Problem]:
    """Check the space for the next backups, by the sizes of the last ones."""
    sizes = {
        s.collection: Size(round(s.newest.manifest.size_bytes * GROWTH))
        for s in assessed.standings
        if s.newest is not None and s.exclusion is None and s.gone_since is None
    }
    lost = {r.name for r in assessed.evidence.unreachable}
    written = written_by_last(assessed.evidence.catalog, assessed.evidence.as_of)
    asked = [(f"repository {n}", [r]) for n, r in opened.items() if n not in lost]
    for scope, repositories in [*asked, ("spool", [])]:
        try:
            # each repository separately, its row is the first; nodes and spool once, separately
            rows = check_space(config, sizes, repositories, written)
            for row in islice(rows, 1 if repositories else None):
                if row.state in ("failed", "degraded"):
                    yield Problem(
                        "critical" if row.state == "failed" else "warning", "space-low", row.scope,
                        row.found, None, "the next backups and their proofs", command("check"),
                    )  # fmt: skip
        except (DRError, OSError) as e:
            why = e.message if isinstance(e, DRError) else str(e)
            yield Problem(
                "warning", "space-unseen", scope, f"its space could not be checked: {why}", None,
                "the next backups", command("check"),
            )  # fmt: skip


def _store_clocks(
    config: Config, opened: Mapping[str, Repository], last: Mapping[str, tuple[RunEnd, Stat]]
) -> Iterator[Problem]:
    """Compare the store's time of the last watch record with the time in it, without writing."""
    ms = timedelta(milliseconds=1)
    for name, (end, file) in last.items():
        if opened[name].id not in {seen.repository_id for seen in end.repositories}:
            continue  # it came with an adopted copy, so it has the time of the copy
        half = WRITTEN_WITHIN / 2
        clock = ClockOffset(round((file.modified_at - end.ended_at - half) / ms), round(half / ms))
        if clock.exceeds(config.cluster.clock_skew_limit):
            yield Problem(
                "warning", "store-clock-skew", f"repository {name}",
                f"its clock is {clock_text(clock)} from ours", None,
                "what is swept and expired there, and when", command("check", "-r", name),
            )  # fmt: skip
