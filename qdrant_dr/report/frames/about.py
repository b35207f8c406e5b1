"""What findings and sizes were computed from, as far as records tell: by the names they are about.

A finding about what is not there, or could not be read, comes from no record.
"""

from __future__ import annotations

from collections.abc import Iterator

from qdrant_dr.records import Manifest
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.sizes import Series
from qdrant_dr.report.finding import Problem
from qdrant_dr.report.findings.assessment import Assessment


def measured_backups(evidence: Evidence, series: Series) -> tuple[Manifest, ...]:
    """Return the manifests whose bytes a series counts."""
    if series.kind == "repository":
        return tuple(
            b.manifest for b in evidence.catalog.backups if b.copy(series.subject).committed
        )
    measured = {d.backup_id for d in series.days}
    made = evidence.catalog.of(series.subject)
    return tuple(b.manifest for b in made if b.key.backup_id in measured)


def told_by(assessment: Assessment, problem: Problem) -> tuple[object, ...]:
    """Return what a finding is about: the runs, backups and collections that its scope or its facts
    name, and whoever acknowledged it."""
    evidence = assessment.evidence
    known = [a for a in evidence.acknowledgements if (a.code, a.scope) == problem.identity]
    return (*_named(assessment, f"{problem.scope} {problem.facts}"), known)


def _named(assessment: Assessment, words: str) -> Iterator[object]:
    evidence = assessment.evidence
    runs = [e for e in evidence.run_ends if e.start.run_id in words]
    runs_begun = [s for s in evidence.run_starts if s.run_id in words]
    backups = [b for b in evidence.catalog.backups if b.key.backup_id in words]
    yield from runs
    yield from runs_begun
    yield from backups
    if not (runs or runs_begun or backups):
        subject = words.partition(" ")[0].partition("@")[0]
        named = [s for s in assessment.standings if s.collection == subject]
        yield from named
        if not named and words.startswith("cluster "):
            yield (assessment.standings, evidence.inventory)
