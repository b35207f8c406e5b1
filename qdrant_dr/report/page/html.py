"""Render the page: what the evidence says, worst first, to be printed and signed."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from qdrant_dr.hints import step_of
from qdrant_dr.jobs.drill.scenario import words
from qdrant_dr.quantities import cost_a_month, format_share, format_size, how_long
from qdrant_dr.report.evidence.collection_status import Standing, Status, best_proof
from qdrant_dr.report.evidence.drills import Drill
from qdrant_dr.report.evidence.sizes import Series
from qdrant_dr.report.findings.acknowledged import words as words_of
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.findings.scenarios import outcome_of
from qdrant_dr.report.findings.settled_runs import afterwards
from qdrant_dr.report.frames.csv_table import csv_bytes
from qdrant_dr.report.page import pictures
from qdrant_dr.report.page.evidence_sections import control_section, ledger_section
from qdrant_dr.text import count, visible

WORST_FIRST: tuple[Status, ...] = (
    "unprotected", "gone", "unproven", "degraded", "protected", "excluded",
)  # fmt: skip
SHOWN = 25
"""Limit for rows of long lists; the page says how many it leaves out."""

DRILLS = 10
YEAR = 365


@dataclass(frozen=True)
class Tile:
    """One figure of the summary. `tone` is good, warn, bad or plain; `figure` is what `report
    --explain` knows it by."""

    figure: str
    name: str
    value: str
    note: str
    tone: str


def render(
    assessment: Assessment, frames: Mapping[str, pd.DataFrame], tables: Sequence[str] = ()
) -> bytes:
    """Render the whole page as UTF-8. `tables` are files beside it to which it links."""
    evidence = assessment.evidence
    zone = ZoneInfo(evidence.config.report.timezone)
    environment = Environment(
        loader=PackageLoader("qdrant_dr.report.page", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "time": partial(format_moment, zone=zone),
        "day": partial(format_day, zone=zone),
        "span": how_long,
        "size": format_size,
        "cost": cost_a_month,
        "count": count,
        "points": lambda n: Markup("&ndash;") if n is None else f"{n:,}",
        "days_left": days_left,
        "share": lambda part: Markup("&ndash;") if part is None else format_share(part),
        "acknowledged": words_of,
    }
    environment.tests["command"] = lambda line: "`" not in line and step_of(line).kind == "run"
    ranked = sorted(assessment.standings, key=lambda s: (WORST_FIRST.index(s.status), s.collection))
    page = environment.get_template("template.html.j2").render(
        evidence=evidence,
        config=evidence.config,
        zone=str(zone),
        sandbox=assessment.source_kind == "sandbox",
        headline=headline(assessment),
        tiles=tiles(assessment, zone),
        problems=assessment.problems,
        standings=[s for s in ranked if s.exclusion is None],
        excluded=[s for s in ranked if s.exclusion is not None],
        pictures=pictures.draw(assessment, ranked, zone, SHOWN),
        drills=assessment.drills[::-1][:DRILLS],
        games=_games(assessment),
        drills_count=len(assessment.drills),
        restores=assessment.restores[::-1][:SHOWN],
        stored={s.repository: s for s in evidence.stored},
        restores_count=len(assessment.restores),
        differences=assessment.differences,
        forecasts=_forecasts(assessment),
        runs=_runs(assessment),
        scope=_scope(assessment),
        controls=control_section(frames),
        ledgers=ledger_section(assessment.ledgers),
        digest=frames_digest(frames),
        shown=SHOWN,
        tables=tables,
    )
    return visible(page).encode()


def frames_digest(frames: Mapping[str, pd.DataFrame]) -> str:
    """Return the SHA-256 over the CSV of all frames: equal for reports of the same evidence."""
    total = hashlib.sha256()
    for name, frame in frames.items():
        total.update(name.encode() + b"\0" + csv_bytes(frame) + b"\0")
    return total.hexdigest()


def headline(assessment: Assessment) -> str:
    """Write one sentence. What could not be checked comes before what is fine."""
    evidence = assessment.evidence
    promise = evidence.config.objectives.proven
    wanted = [s for s in assessment.standings if s.exclusion is None]
    restorable = sum(s.restorable for s in wanted)
    action = sum(s.status != "protected" for s in wanted)
    first = (
        f"{restorable} of {count(len(wanted), 'collection')} restorable, "
        f"proven within {how_long(promise.max_age)}"
    )
    rest = [f"{action} {'needs' if action == 1 else 'need'} action" if action else ""]
    if evidence.unreachable:
        lost = len(evidence.unreachable)
        rest.append(
            f"{lost} of {count(len(evidence.repositories), 'repository')} could not be read"
        )
    if evidence.unreadable:
        rest.append(f"{count(len(evidence.unreadable), 'record')} could not be read")
    wide = [p for p in assessment.problems if p.worth == "critical"]
    if wide and not any(rest):
        rest.append(count(len(wide), "critical finding"))
    return "; ".join([first, *filter(None, rest)])


def tiles(assessment: Assessment, zone: ZoneInfo) -> tuple[Tile, ...]:
    """Return the tiles: protected of total, worst RPO, worst measured RTO, copies below quorum."""
    wanted = [s for s in assessment.standings if s.exclusion is None]
    protected = sum(s.status == "protected" for s in wanted)
    return (
        Tile(
            "protected",
            "Protected",
            f"{protected} of {len(wanted)}",
            "collections with every objective met",
            "good" if wanted and protected == len(wanted) else "bad",
        ),
        _worst_rpo(wanted),
        _worst_rto(wanted, assessment, zone),
        _quorum(wanted, assessment),
    )


def _worst_rpo(wanted: list[Standing]) -> Tile:
    known = [(s.rpo, s) for s in wanted if s.rpo is not None]
    none = len(wanted) - len(known)
    if not known:
        return Tile("rpo", "Worst recovery point", "none", "no backup is proven", "bad")
    rpo, s = max(known, key=lambda pair: (pair[0] / pair[1].rpo_objective, pair[1].collection))
    note = f"{s.collection}; promised {how_long(s.rpo_objective)}"
    if none:
        note = f"for {count(none, 'collection')}; for the others {how_long(rpo)} ({note})"
        return Tile("rpo", "Worst recovery point", "none", note, "bad")
    return Tile(
        "rpo",
        "Worst recovery point",
        how_long(rpo),
        note,
        "bad" if rpo > s.rpo_objective else "good",
    )


def _worst_rto(wanted: list[Standing], assessment: Assessment, zone: ZoneInfo) -> Tile:
    name = "Worst recovery time"
    measured = [(s.rto.rto, s.rto, s) for s in wanted if s.rto and s.rto.rto is not None]
    if not measured:
        other = sum(d.verdict == "passed" for d in assessment.drills)
        words = f"{count(other, 'drill')} passed, none into a real server" if other else "no drill"
        never = assessment.source_kind == "sandbox"  # it cannot measure a recovery time
        return Tile("rto", name, "not measured", words, "plain" if never and other else "warn")
    rto, by, s = max(measured, key=lambda m: (m[0] / m[2].rto_objective, m[2].collection))
    note = (
        f"{s.collection}, {by.kind} of {format_day(by.outcome.started_at, zone)}; promised "
        f"{how_long(s.rto_objective)}; measured for {len(measured)} of {len(wanted)}"
    )
    tone = "bad" if rto > s.rto_objective else "good" if len(measured) == len(wanted) else "warn"
    return Tile("rto", name, how_long(rto), note, tone)


def _quorum(wanted: list[Standing], assessment: Assessment) -> Tile:
    copies = assessment.evidence.config.copies
    short = sum(bool(s.short_of(copies)) for s in wanted)
    promised = f"{count(copies.quorum, 'copy')} in {count(copies.domains, 'failure domain')}"
    return Tile(
        "quorum",
        "Below quorum",
        str(short),
        f"of {count(len(wanted), 'collection')}; promised {promised}",
        "bad" if short or not wanted else "good",
    )


def _runs(assessment: Assessment) -> dict[str, Any]:
    """Return run counts of the period, runs that did not end well, and times without a backup
    run."""
    evidence = assessment.evidence
    ends = {e.start.run_id: e for e in evidence.run_ends}
    crashed = {s.run_id for s in evidence.crashed}
    starts = sorted(
        (s for s in evidence.run_starts if s.started_at >= evidence.since),
        key=lambda s: s.started_at,
        reverse=True,
    )
    verdicts = Counter(
        ends[s.run_id].verdict if s.run_id in ends else "crashed" if s.run_id in crashed else "open"
        for s in starts
    )
    later = afterwards(evidence)
    bad = [
        (s, ends.get(s.run_id), later[s.run_id]) for s in starts
        if s.run_id in crashed or (s.run_id in ends and ends[s.run_id].verdict != "ok")
    ]  # fmt: skip
    settled = {run_id for run_id, a in later.items() if a.settled}
    return {
        "total": len(starts),
        "verdicts": [(v, verdicts[v]) for v in ("ok", "degraded", "failed", "crashed", "open")],
        "bad": bad[:SHOWN],
        "bad_count": len(bad),
        "open": {p.facts for p in assessment.problems if p.code == "run-bad"} | crashed - settled,
        "gaps": _gaps(assessment),
    }


def _games(assessment: Assessment) -> list[tuple[Drill, bool | None, str, str]]:
    """Return drills under a scenario and signed runs: whether the objectives were met, why, and
    what was not used."""
    config = assessment.evidence.config
    found = []
    for d in assessment.drills[::-1]:
        if d.scenario is not None or d.signature is not None:
            met, why = outcome_of(config, d) if d.scenario else (None, "no scenario")
            lost = words(d.scenario, d.played.unused if d.played else ()) if d.scenario else ""
            found.append((d, met, why, lost))
    return found[:SHOWN]


def _forecasts(assessment: Assessment) -> list[Series]:
    """Return series whose limit may be reached within a year, soonest first."""
    near = [
        (left.low, s.subject, s)
        for s in assessment.series
        if (left := s.forecast.days_left) and left.low is not None and left.low <= YEAR
    ]
    return [s for _, _, s in sorted(near, key=lambda n: n[:2])][:SHOWN]


def _gaps(assessment: Assessment) -> list[tuple[datetime, datetime, timedelta]]:
    """Return the parts of the period in which no backup run began although one was due."""
    evidence = assessment.evidence
    began = sorted(s.started_at for s in evidence.run_starts if s.job == "backup")
    if not began:
        return []
    edges = [*began, evidence.as_of]
    return [
        (a, b, b - a)
        for a, b in pairwise(edges)
        if b - a > evidence.config.objectives.rpo and b >= evidence.since
    ]


def _scope(assessment: Assessment) -> dict[str, Any]:
    evidence = assessment.evidence
    backups = evidence.catalog.backups
    copies = [c for b in backups for c in b.copies]
    best = [best_proof(c) for c in copies]
    sampled = [p.sample for p in best if p and p.sample]
    starts = evidence.run_starts
    return {
        "backups": len(backups),
        "proofs": sum(len(c.proofs) for c in copies),
        "inherited": sum(len(c.inherited) for c in copies),
        "copies": len(copies),
        "full": sum(p is not None and p.full for p in best),
        "sampled": len(sampled),
        "least_detection": min((s.detection_ppm / 1e6 for s in sampled), default=None),
        "unlooked": sum(p is None for p in best),
        "inventory": evidence.inventory,
        "held": Counter(c.repository for c in copies if c.committed),
        "servers": sorted({b.manifest.server_version for b in backups}),
        "engines": sorted({p.engine for c in copies for p in c.proofs}),
        "tools": sorted({s.tool_version for s in starts}),
        "configs": sorted({s.config_sha256[:12] for s in starts}),
    }


def days_left(days: float | None) -> str:
    """Format whole days, rounded down, so as never to promise a day too many."""
    return "not within ten years" if days is None else f"{int(days)} d"


def format_moment(at: datetime | None, zone: ZoneInfo) -> str | Markup:
    """Format `2026-11-22 13:00:07 CET`; a dash for None."""
    return Markup("&ndash;") if at is None else f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"


def format_day(at: datetime | None, zone: ZoneInfo) -> str | Markup:
    return Markup("&ndash;") if at is None else f"{at.astimezone(zone):%Y-%m-%d}"
