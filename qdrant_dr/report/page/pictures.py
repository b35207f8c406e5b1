"""Choose what the charts show from the assessment: worst first, never more than fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from zoneinfo import ZoneInfo

from markupsafe import Markup

from qdrant_dr.quantities import format_size, how_long
from qdrant_dr.records.proof import reaches
from qdrant_dr.report.evidence.collection_status import Standing, best_proof
from qdrant_dr.report.evidence.drills import Drill
from qdrant_dr.report.evidence.forecast import DAY, HORIZON
from qdrant_dr.report.evidence.restores import Restore
from qdrant_dr.report.evidence.sizes import KINDS, WARN_DAYS, Series
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.page import charts
from qdrant_dr.repository import is_proven, proof_of
from qdrant_dr.text import count

PANELS = 12


@dataclass(frozen=True)
class Picture:
    """A chart and how much of the whole it shows; without a chart, the reason."""

    svg: Markup | None
    note: str


def draw(
    assessment: Assessment, ranked: Sequence[Standing], zone: ZoneInfo, most: int
) -> dict[str, Picture]:
    """Draw the charts by name: restores, sizes, forecasts, ages. `ranked` is worst first."""
    wanted = [s for s in ranked if s.exclusion is None]
    return {
        "restores": _restores(assessment, wanted, zone, most),
        "sizes": _sizes(wanted),
        "forecasts": _forecasts(assessment),
        "ages": _ages(assessment, wanted, most),
    }


def _restores(
    assessment: Assessment, wanted: Sequence[Standing], zone: ZoneInfo, most: int
) -> Picture:
    strips = []
    for s in wanted:
        drills = [d for d in assessment.drills if d.outcome.collection == s.collection]
        real = [r for r in assessment.restores if r.outcome.collection == s.collection]
        every: list[Drill | Restore] = [*drills, *real]
        dots = [dot for m in every if (dot := _dot(m, zone))]
        if dots:
            failed = sum(d.verdict == "failed" for d in drills)
            note = count(len(drills), "drill") + (f", {failed} failed" if failed else "")
            note += f", {count(len(real), 'restore')}" if real else ""
            strips.append(
                charts.Strip(s.collection, s.rto_objective.total_seconds(), tuple(dots), note)
            )
    if not strips:
        return Picture(None, "No restore into a server was measured in this period.")
    strips.sort(key=lambda t: -max(d.seconds for d in t.dots) / t.objective)
    return Picture(charts.restores(strips[:most]), _of(len(strips[:most]), len(wanted)))


def _dot(of: Drill | Restore, zone: ZoneInfo) -> charts.Dot | None:
    """Return the dot of a drill, or of a real restore that counts as a recovery time."""
    if of.rto is not None:
        measured = of.rto
        kind, words = (
            ("real", "a real restore, from decision to end")
            if isinstance(of, Restore)
            else ("rto", "decision to verified, on a real server")
        )
    elif isinstance(of, Drill) and of.restore is not None:
        measured, kind, words = of.restore, "restore", "recover and ready, on a sandbox"
    else:
        return None
    at = f"{of.outcome.started_at.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"
    return charts.Dot(measured.total_seconds(), kind, f"{at}: {how_long(measured)}, {words}")


def _sizes(wanted: Sequence[Standing]) -> Picture:
    lines = [
        charts.Line(
            s.collection, tuple((b.manifest.captured_at, b.manifest.size_bytes) for b in s.backups)
        )
        for s in wanted
        if s.backups
    ]
    if not lines:
        return Picture(None, "There is no backup to measure.")
    lines.sort(key=lambda line: (-line.points[-1][1], line.label))
    begin = min(line.points[0][0] for line in lines)
    end = max(line.points[-1][0] for line in lines)
    return Picture(
        charts.sizes(lines[:PANELS], begin, end), _of(min(len(lines), PANELS), len(wanted))
    )


TRENDS = 9
NEAR_DAYS = 365
STEPS = 24


def _forecasts(assessment: Assessment) -> Picture:
    """Draw the forecasts: those that are full soonest first, then the largest growth."""
    told = [s for s in assessment.series if s.forecast.line]
    mute = len(assessment.series) - len(told)
    rest = f"For {mute} more, too few days were measured." if mute else ""
    if not told:
        return Picture(None, "No size was measured on enough days: five, over at least three days.")
    told.sort(key=_urgency)
    shown = told[:TRENDS]
    now = assessment.evidence.as_of
    begin = min(s.forecast.measured[0].at for s in shown)
    left_out = f"{len(shown)} of {len(told)} shown." if len(shown) < len(told) else ""
    return Picture(
        charts.forecasts([_trend(s, assessment) for s in shown], begin, now, now + HORIZON * DAY),
        " ".join(filter(None, (left_out, rest))),
    )


def _urgency(s: Series) -> tuple[float, int, float, str]:
    left, growth = s.forecast.days_left, s.forecast.growth
    soonest = left.low if left and left.low is not None else float("inf")
    return soonest, KINDS.index(s.kind), -((growth.expected if growth else None) or 0), s.subject


def _trend(s: Series, assessment: Assessment) -> charts.Trend:
    f, now = s.forecast, assessment.evidence.as_of
    assert f.line is not None, "only what has a line is drawn"
    first, line = f.measured[0].at, f.line
    length = (now - first) / DAY + HORIZON
    days = [length * n / STEPS for n in range(STEPS + 1)]
    moments = [(first + d * DAY, line.at(d), line.margin(d)) for d in days]
    left = f.days_left
    note, tone = f"{format_size(f.measured[-1].size_bytes)} now", ""
    if f.growth and f.growth.expected is not None:
        sign = "+" if f.growth.expected >= 0 else "-"
        note += f", {sign}{format_size(abs(f.growth.expected))} a day"
    if left is not None and left.low is not None and left.low <= NEAR_DAYS:
        tone = "bad" if left.low < WARN_DAYS else ""
        note += f"; full in {_days(left.low)} to {_days(left.high)}"
    where = {"collection": "", "node": " on a node", "repository": " (repository)"}[s.kind]
    return charts.Trend(
        label=s.subject + where,
        note=note,
        tone=tone,
        points=tuple((m.at, m.size_bytes) for m in f.measured),
        line=tuple((at, size) for at, size, _ in moments),
        band=tuple((at, size - margin, size + margin) for at, size, margin in moments),
        limit=f.limit,
    )


def _days(days: float | None) -> str:
    return "ten years or more" if days is None else how_long(timedelta(days=int(days)))


def _ages(assessment: Assessment, wanted: Sequence[Standing], most: int) -> Picture:
    repositories = assessment.evidence.repositories
    if not wanted:
        return Picture(None, "There is no collection to show.")
    rows = [
        (s.collection, [_cell(assessment, s, n) for n in range(len(repositories))])
        for s in wanted[:most]
    ]
    columns = [(r.name, r.domain) for r in repositories]
    return Picture(charts.proof_ages(columns, rows), _of(len(rows), len(wanted)))


def _cell(assessment: Assessment, s: Standing, n: int) -> charts.Cell:
    """Return the most urgent state: unreachable, damaged, missing, never proven, then the age."""
    evidence = assessment.evidence
    repository, promise, at = (
        evidence.repositories[n],
        evidence.config.objectives.proven,
        evidence.as_of,
    )
    if repository.error is not None:
        return charts.Cell("unreachable", "bad", "could not be read: nothing is known")
    here = [(b, b.copy(repository.name)) for b in s.backups]
    if damaged := sum(c.state == "damaged" for _, c in here):
        return charts.Cell("damaged", "bad", f"{count(damaged, 'copy')} damaged")
    if s.newest is None:
        return charts.Cell("no backup", "none", "nothing was ever stored")
    latest = s.newest.copy(repository.name)
    if latest.state not in ("present", "archived"):
        return charts.Cell(latest.state, "bad", f"the newest backup is {latest.state} here")
    if not latest.within_reach:
        return charts.Cell("archived", "bad", "the newest backup is in an archive: not readable")
    proofs = [
        p
        for b, c in here
        if is_proven(b, c, depth=promise.depth, max_age=promise.max_age, now=at)
        and (p := proof_of(c, depth=promise.depth, now=at))
    ]
    if not proofs:
        best = best_proof(latest)
        due = s.backups[0].manifest.captured_at + promise.max_age
        if best and best.full and at <= due and reaches(best.depth, "bytes"):
            # one copy a night is proven to content; the others have their turn later
            said = f"every byte proven; {promise.depth} is due by {due:%Y-%m-%d}"
            return charts.Cell(f"{best.depth}, in time", "due", said)
        shallow = f"{best.depth} only" if best and best.full else "sample" if best else "unproven"
        return charts.Cell(shallow, "late", f"no proof to {promise.depth} within the required age")
    age = at - max(p.ended_at for p in proofs)
    level = min(int(4 * (age / promise.max_age)), 3)
    return charts.Cell(
        how_long(age),
        str(level),
        f"proven to {promise.depth} {how_long(age)} ago",
    )


def _of(shown: int, total: int) -> str:
    return "" if shown == total else f"{shown} of {count(total, 'collection')} shown."
