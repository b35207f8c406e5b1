"""Findings about drills beyond one collection: failed scenarios, signatures, undrilled places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from qdrant_dr.config import Config
from qdrant_dr.errors import UsageError
from qdrant_dr.hints import DECIDE, command
from qdrant_dr.jobs.drill.scenario import unused
from qdrant_dr.quantities import how_long
from qdrant_dr.records import RunEnd
from qdrant_dr.report.evidence.collection_status import Standing
from qdrant_dr.report.evidence.drills import Drill
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.finding import Problem
from qdrant_dr.report.findings.runs import is_misasked
from qdrant_dr.text import count, digest

NAMED = 3
"""How many names one sentence lists."""


def drill_problems(
    evidence: Evidence, standings: Sequence[Standing], drills: Sequence[Drill]
) -> Iterator[Problem]:
    """Report findings about drills that belong to no single collection. `drills` are of the
    period."""
    yield from _lost_games(evidence, drills)
    yield from _signatures(drills)
    yield from _undrilled(evidence, standings)


def outcome_of(config: Config, d: Drill) -> tuple[bool | None, str]:
    """Say whether the objectives would have been met under the scenario of a drill, also in words.

    None: it was not shown. A recovery time counts only where a real server was restored.
    """
    if d.verdict != "passed":
        return (None if d.verdict == "not run" else False), f"the drill {d.verdict}"
    if d.played is None:  # the run was cut short before it judged
        return None, "the drill passed; what the scenario leaves was not examined"
    own = config.collections.override(d.outcome.collection).objectives
    rpo, rto = own.rpo or config.objectives.rpo, own.rto or config.objectives.rto
    back = "nothing was proven" if d.rpo is None else f"{how_long(d.rpo)} old"
    met = bool(d.rpo_met(rpo))
    said = f"recovery point {'kept' if met else 'missed'}: {back}, promised {how_long(rpo)}"
    if d.rto is None:
        return met, f"{said}; recovery time not measured"
    kept = d.rto <= rto
    took = (
        f"recovery time {'kept' if kept else 'missed'}: {how_long(d.rto)}, promised {how_long(rto)}"
    )
    return met and kept, f"{said}; {took}"


def _lost_games(evidence: Evidence, drills: Sequence[Drill]) -> Iterator[Problem]:
    """Report failures of the last complete run of each scenario, and of single collections
    since."""
    of_run: dict[str, list[Drill]] = defaultdict(list)
    for d in drills:
        of_run[d.run.start.run_id].append(d)
    games: dict[str, list[RunEnd]] = defaultdict(list)
    for end in sorted(evidence.run_ends, key=lambda e: (e.start.started_at, e.start.run_id)):
        scenario = end.start.parameters.get("scenario")
        if end.start.started_at < evidence.since or is_misasked(end):
            continue
        if end.start.job == "drill" and scenario and _can_be_played(evidence.config, str(scenario)):
            games[str(scenario)].append(end)
    for scenario, ends in games.items():
        lost = _lost(evidence.config, ends, of_run)
        if not lost:
            continue
        collection, why, since = lost[0]
        yield Problem(
            "warning",
            "game-lost",
            scenario,
            f"the last drill under {scenario} did not meet the objectives: "
            + (f"{collection}: {why}" if collection else why),
            since,
            f"{count(max(1, len({c for c, _, _ in lost if c})), 'collection')} if that happens",
            command("drill", "--scenario", scenario),
        )


def _can_be_played(config: Config, scenario: str) -> bool:
    """Say whether a scenario can be repeated: not if its cloud is no longer configured."""
    try:
        unused(config, scenario)
    except UsageError:
        return False
    return True


def _lost(
    config: Config, ends: Sequence[RunEnd], of_run: Mapping[str, Sequence[Drill]]
) -> list[tuple[str, str, datetime]]:
    """Return collection, reason and time of failures, in order. A run may fail without a drill,
    because none is begun for a collection without a copy; then the collection is empty."""
    lost: list[tuple[str, str, datetime]] = []
    settled: set[str] = set()
    for end in reversed(ends):
        judged = [(d, *outcome_of(config, d)) for d in of_run.get(end.start.run_id, ())]
        bad = [(d.outcome.collection, why, d.outcome.started_at)
               for d, met, why in judged if met is not True]  # fmt: skip
        lost += [x for x in bad if x[0] not in settled]
        settled |= {d.outcome.collection for d, _, _ in judged}
        if end.verdict == "failed" and not bad:
            lost.append(("", "; ".join(end.reasons) or "it failed", end.start.started_at))
        if not end.start.parameters.get("collection"):
            break
    return lost


def _signatures(drills: Sequence[Drill]) -> Iterator[Problem]:
    for d in {d.run.start.run_id: d for d in drills}.values():
        if (s := d.signature) is None:
            continue
        run_id = d.run.start.run_id
        scope, again = f"drill run {run_id}", _sign_again(run_id)
        if not s.holds:
            yield Problem(
                "critical", "signature-differs", scope,
                f"what {s.reviewer} signed is not the record of this run found here",
                s.at, "the review of this run", again,
            )  # fmt: skip
        elif not s.accepted:
            yield Problem(
                "warning", "drill-rejected", scope, f"reviewed and not accepted by {s.reviewer}",
                s.at, "the evidence of that run", command("drill"),
            )  # fmt: skip
        if s.same_person:
            yield Problem(
                "notice", "self-reviewed", scope, f"reviewed by {s.reviewer}, who ran it",
                s.at, "the review of this run", again,
            )  # fmt: skip


def _sign_again(run_id: str) -> str:
    """Return the next step: only a person can sign."""
    return (
        f"{DECIDE}who has reviewed that run? They sign with "
        f"`{command('sign', run_id, '--as', 'NAME')}`."
    )


def _undrilled(evidence: Evidence, standings: Sequence[Standing]) -> Iterator[Problem]:
    """Report places that no passed drill read within the period, for collections that were drilled
    from another place; a collection that was not drilled at all has its own finding."""
    at, every = evidence.as_of, evidence.config.objectives.drill_every
    late: dict[str, datetime] = {}
    places = 0
    for s in standings:
        if s.exclusion is not None or s.gone_since is not None:
            continue
        passed = [(d.outcome.repository, d.outcome.started_at) for d in s.drills
                  if d.verdict == "passed"]  # fmt: skip
        fresh = any(at - t <= every for _, t in passed)
        for repository in (r.name for r in evidence.repositories if r.error is None):
            held = [b.manifest.captured_at for b in s.backups if b.copy(repository).committed]
            since = max((t for r, t in passed if r == repository), default=min(held, default=at))
            places += bool(held)
            if held and fresh and at - since > every:
                late[f"{s.collection} in {repository}"] = since + every
    if late:
        named = ", ".join(list(late)[:NAMED]) + ", ..." * (len(late) > NAMED)
        yield Problem(
            "warning",
            "copies-undrilled",
            "cluster",
            f"{count(len(late), 'copy')} not drilled within {how_long(every)}: {named}",
            min(late.values()),
            f"restoring from there; {len(late)} of {places} places",
            command("drill", "--pick", "coverage"),
            facts=digest(late),
        )
