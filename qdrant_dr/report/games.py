"""What is wrong with drills beyond one collection: games that were lost, signatures, places that
nobody drilled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

from qdrant_dr.config import Config
from qdrant_dr.report.drills import Drill
from qdrant_dr.report.evidence import Evidence
from qdrant_dr.report.problems import Problem, command, count, span
from qdrant_dr.report.standing import Standing

NAMED = 3
"""Names of a list that a sentence can hold."""


def drill_problems(
    evidence: Evidence, standings: Sequence[Standing], drills: Sequence[Drill]
) -> Iterator[Problem]:
    """Everything about drills that no collection tells by itself. `drills` are of the period."""
    yield from _lost_games(evidence.config, drills)
    yield from _signatures(drills)
    yield from _undrilled(evidence, standings)


def outcome_of(config: Config, d: Drill) -> tuple[bool | None, str]:
    """Whether the objectives would have been met under the scenario of a drill, and in words.

    None: it was not shown. A recovery time counts only where a real server was restored.
    """
    if d.verdict != "passed" or d.played is None:
        return (None if d.verdict == "not run" else False), f"the drill {d.verdict}"
    own = config.collections.override(d.outcome.collection).objectives
    rpo, rto = own.rpo or config.objectives.rpo, own.rto or config.objectives.rto
    back = "nothing was proven" if d.rpo is None else f"{span(d.rpo)} old"
    met = bool(d.rpo_met(rpo))
    said = f"recovery point {'kept' if met else 'missed'}: {back}, promised {span(rpo)}"
    if d.rto is None:
        return met, f"{said}; recovery time not measured"
    kept = d.rto <= rto
    took = f"recovery time {'kept' if kept else 'missed'}: {span(d.rto)}, promised {span(rto)}"
    return met and kept, f"{said}; {took}"


def _lost_games(config: Config, drills: Sequence[Drill]) -> Iterator[Problem]:
    """Of the last run of each scenario."""
    last: dict[str, list[Drill]] = defaultdict(list)
    for d in sorted(drills, key=lambda d: (d.run.start.started_at, d.run.start.run_id)):
        if d.scenario is None:
            continue
        if last[d.scenario] and last[d.scenario][0].run.start.run_id != d.run.start.run_id:
            last[d.scenario].clear()
        last[d.scenario].append(d)
    for scenario, game in last.items():
        lost = [(d, why) for d in game for met, why in [outcome_of(config, d)] if met is not True]
        if not lost:
            continue
        first, why = lost[0]
        yield Problem(
            "warning",
            "game-lost",
            scenario,
            f"the last drill under {scenario} did not keep what is promised: "
            f"{first.outcome.collection}: {why}",
            first.outcome.started_at,
            f"{count(len({d.outcome.collection for d, _ in lost}), 'collection')} if that happens",
            command("drill", "--scenario", scenario),
        )


def _signatures(drills: Sequence[Drill]) -> Iterator[Problem]:
    for d in {d.run.start.run_id: d for d in drills}.values():
        if (s := d.signature) is None:
            continue
        run_id = d.run.start.run_id
        scope, again = f"drill run {run_id}", command("sign", run_id)
        if not s.holds:
            yield Problem(
                "critical", "signature-differs", scope,
                f"what {s.reviewer} signed is not the record of this run that lies here",
                s.at, "the review of this run", again,
            )  # fmt: skip
        elif not s.accepted:
            yield Problem(
                "warning", "drill-rejected", scope, f"reviewed and not accepted by {s.reviewer}",
                s.at, "what that run is to show", command("drill"),
            )  # fmt: skip
        if s.same_person:
            yield Problem(
                "notice", "self-reviewed", scope, f"reviewed by {s.reviewer}, who ran it",
                s.at, "the review of this run", again,
            )  # fmt: skip


def _undrilled(evidence: Evidence, standings: Sequence[Standing]) -> Iterator[Problem]:
    """Places that no passed drill read within the period, of collections that were drilled from
    elsewhere; the others are told of by themselves."""
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
            f"{count(len(late), 'copy')} not drilled within {span(every)}: {named}",
            min(late.values()),
            f"restoring from there; {len(late)} of {places} places",
            command("drill", "--pick", "coverage"),
        )
