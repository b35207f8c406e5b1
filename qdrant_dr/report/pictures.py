"""What the charts show: chosen from the assessment, worst first, never more than fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from markupsafe import Markup

from qdrant_dr.report import charts
from qdrant_dr.report.drills import Drill
from qdrant_dr.report.frames import Assessment
from qdrant_dr.report.problems import count, span
from qdrant_dr.report.standing import Standing, best_proof
from qdrant_dr.repository import is_proven, proof_of

PANELS = 12


@dataclass(frozen=True)
class Picture:
    """A chart and how much of the whole it shows; without a chart, why there is none."""

    svg: Markup | None
    note: str


def draw(
    assessment: Assessment, ranked: Sequence[Standing], zone: ZoneInfo, most: int
) -> dict[str, Picture]:
    """The three charts by name: restores, sizes, ages. `ranked` is worst first."""
    wanted = [s for s in ranked if s.exclusion is None]
    return {
        "restores": _restores(assessment, wanted, zone, most),
        "sizes": _sizes(wanted),
        "ages": _ages(assessment, wanted, most),
    }


def _restores(
    assessment: Assessment, wanted: Sequence[Standing], zone: ZoneInfo, most: int
) -> Picture:
    strips = []
    for s in wanted:
        drills = [d for d in assessment.drills if d.outcome.collection == s.collection]
        if dots := [dot for d in drills if (dot := _dot(d, zone))]:
            failed = sum(d.verdict == "failed" for d in drills)
            note = count(len(drills), "drill") + (f", {failed} failed" if failed else "")
            strips.append(
                charts.Strip(s.collection, s.rto_objective.total_seconds(), tuple(dots), note)
            )
    if not strips:
        return Picture(None, "No restore into a server was measured in this period.")
    strips.sort(key=lambda t: -max(d.seconds for d in t.dots) / t.objective)
    return Picture(charts.restores(strips[:most]), _of(len(strips[:most]), len(wanted)))


def _dot(drill: Drill, zone: ZoneInfo) -> charts.Dot | None:
    measured = drill.rto or drill.restore
    if measured is None:
        return None
    real = drill.rto is not None
    words = "decision to verified, on a real server" if real else "recover and ready, on a sandbox"
    at = f"{drill.outcome.started_at.astimezone(zone):%Y-%m-%d %H:%M}"
    return charts.Dot(
        measured.total_seconds(), "rto" if real else "restore", f"{at}: {span(measured)}, {words}"
    )


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


def _ages(assessment: Assessment, wanted: Sequence[Standing], most: int) -> Picture:
    repositories = assessment.evidence.repositories
    if not wanted:
        return Picture(None, "There is no collection to look at.")
    rows = [
        (s.collection, [_cell(assessment, s, n) for n in range(len(repositories))])
        for s in wanted[:most]
    ]
    columns = [(r.name, r.domain) for r in repositories]
    return Picture(charts.proof_ages(columns, rows), _of(len(rows), len(wanted)))


def _cell(assessment: Assessment, s: Standing, n: int) -> charts.Cell:
    """What most wants a look wins: unreachable, damaged, missing, never proven, then the age."""
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
    if latest.state != "present":
        return charts.Cell(latest.state, "bad", f"the newest backup is {latest.state} here")
    proofs = [
        p
        for b, c in here
        if is_proven(b, c, depth=promise.depth, max_age=promise.max_age, now=at)
        and (p := proof_of(c, depth=promise.depth, now=at))
    ]
    if not proofs:
        best = best_proof(latest)
        shallow = f"{best.depth} only" if best and best.full else "sample" if best else "unproven"
        return charts.Cell(shallow, "late", f"no proof to {promise.depth} within the promised age")
    age = at - max(p.ended_at for p in proofs)
    level = min(int(4 * (age / promise.max_age)), 3)
    return charts.Cell(span(age), str(level), f"proven to {promise.depth} {span(age)} ago")


def _of(shown: int, total: int) -> str:
    return "" if shown == total else f"{shown} of {count(total, 'collection')} shown."
