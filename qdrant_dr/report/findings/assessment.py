"""Derive everything from the evidence once, without pandas, so that `status` is quick."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from qdrant_dr.records.manifest import SourceKind
from qdrant_dr.report.evidence.collection_status import Standing
from qdrant_dr.report.evidence.differences import Difference, differences_of
from qdrant_dr.report.evidence.drills import Drill, drills_of
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.ledger import LedgerState, ledger_states
from qdrant_dr.report.evidence.restores import Restore, restores_of
from qdrant_dr.report.evidence.sizes import Series, sizes_of
from qdrant_dr.report.finding import Problem
from qdrant_dr.report.findings.acknowledged import quieted
from qdrant_dr.report.findings.all_findings import findings, worst_first
from qdrant_dr.report.findings.collections import assess
from qdrant_dr.report.findings.ledgers import entry_problems


@dataclass(frozen=True)
class Assessment:
    """Everything derived from the evidence; frames and page only present it."""

    evidence: Evidence
    standings: tuple[Standing, ...]
    problems: tuple[Problem, ...]
    drills: tuple[Drill, ...]
    restores: tuple[Restore, ...]
    series: tuple[Series, ...]
    _ledgers: tuple[LedgerState, ...] | None

    @classmethod
    def of(cls, evidence: Evidence) -> Assessment:
        known = evidence.acknowledgements
        standings = tuple(replace(s, problems=quieted(s.problems, known)) for s in assess(evidence))
        since = evidence.since
        restores = tuple(r for r in restores_of(evidence) if r.outcome.started_at >= since)
        drills = tuple(d for d in drills_of(evidence) if d.outcome.started_at >= since)
        series = sizes_of(evidence, standings)
        ledgers = None if evidence.ledgers is None else ledger_states(evidence, evidence.ledgers)
        problems = findings(evidence, standings, drills, restores, series)
        return cls(
            evidence,
            standings,
            worst_first(quieted((*problems, *entry_problems(ledgers or (), evidence)), known)),
            drills,
            restores,
            series,
            ledgers,
        )

    @property
    def ledgers(self) -> tuple[LedgerState, ...]:
        """Return the ledgers, each signature checked once. Raise ValueError if nobody read them:
        frames, pages and controls without them would look complete."""
        if self._ledgers is None:
            raise ValueError("this evidence has no ledgers: gather it without `ledgers=False`")
        return self._ledgers

    @property
    def verdict(self) -> Literal["ok", "degraded", "failed"]:
        """Return the verdict of the worst finding."""
        worst = {p.severity for p in self.problems}
        return "failed" if "critical" in worst else "degraded" if "warning" in worst else "ok"

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Return what changed between two backups, by the last comparison of each collection."""
        since = self.evidence.since
        return tuple(d for d in differences_of(self.evidence) if d.outcome.started_at >= since)

    @property
    def source_kind(self) -> SourceKind | None:
        """Return the kind of source in the newest record that has one, so that a sandbox is never
        taken for a server."""
        kinds = [s.source_kind for s in self.standings if s.source_kind]
        return "sandbox" if "sandbox" in kinds else ("server" if kinds else None)
