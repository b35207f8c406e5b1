"""Build the frames, as pure functions of the evidence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial
from typing import Any

import pandas as pd

from qdrant_dr.config import Config
from qdrant_dr.records import Manifest, Proof, RunEnd, RunStart, Seal, canonical_json
from qdrant_dr.records.manifest import SourceKind
from qdrant_dr.report.evidence.collection_status import Standing, best_proof, last_search
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.ledger import InLedgers, named_in
from qdrant_dr.report.evidence.vaults import monthly_cost
from qdrant_dr.report.finding import Problem
from qdrant_dr.report.findings.assessment import Assessment
from qdrant_dr.report.findings.settled_runs import Afterwards, afterwards
from qdrant_dr.report.frames import schema
from qdrant_dr.report.frames.about import measured_backups, told_by
from qdrant_dr.report.frames.evidence_rows import control_rows, in_ledgers_row, ledger_row
from qdrant_dr.report.frames.provenance import Lazily, Made
from qdrant_dr.report.frames.rows import (
    drill_row,
    forecast_row,
    phase_rows,
    restore_row,
    seconds,
    size_rows,
)
from qdrant_dr.repository import Backup, Copy

NO_END = "no-end"


def build_frames(assessment: Assessment) -> dict[str, pd.DataFrame]:
    """Build all frames by name, in the order of the schema, each with its `as_of` in `attrs`."""
    made, at = build_rows(assessment), assessment.evidence.as_of
    return {f.name: f.build([m.row for m in made[f.name]], as_of=at) for f in schema.FRAMES}


def build_rows(assessment: Assessment) -> dict[str, list[Made]]:
    """Build the rows of all frames, each with what it was made of."""
    evidence = assessment.evidence
    config, catalog = evidence.config, evidence.catalog
    about = {"cluster": config.cluster.name, "source_kind": assessment.source_kind}
    ledgers = assessment.ledgers
    inventory = evidence.inventory
    made = {
        "collections": [Made(_collection(config, s), (s, inventory)) for s in assessment.standings],
        "runs": _runs(evidence, named_in(ledgers, evidence)),
        "backups": [
            Made(_backup(b.manifest, b.seal), (b.manifest, b.seal)) for b in catalog.backups
        ],
        "copies": [
            Made(
                _copy(evidence, b, c),
                (c, b.manifest, b.seal, evidence.key_slots.get(c.repository, ())),
            )
            for b in catalog.backups
            for c in b.copies
        ],
        "drills": [Made(drill_row(config, d), (d,)) for d in assessment.drills],
        "drill_phases": [Made(row, (d,)) for d in assessment.drills for row in phase_rows(d)],
        "restores": [Made(restore_row(r), (r,)) for r in assessment.restores],
        "sizes": [
            Made(about | row, (Lazily(partial(measured_backups, evidence, s)),))
            for s in assessment.series
            for row in size_rows(s)
        ],
        "forecasts": [
            Made(about | forecast_row(s), (Lazily(partial(measured_backups, evidence, s)),))
            for s in assessment.series
        ],
        "findings": [
            Made(
                _finding(config, assessment.source_kind, p),
                (Lazily(partial(told_by, assessment, p)),),
            )
            for p in assessment.problems
        ],
        "ledger": [Made(about | ledger_row(state), (state,)) for state in ledgers],
    }
    made["controls"] = [Made(about | row, of) for row, of in control_rows(evidence, made)]
    return made


def _collection(config: Config, s: Standing) -> dict[str, Any]:
    safe = s.safe_copies
    return {
        "cluster": config.cluster.name,
        "source_kind": s.source_kind,
        "collection": s.collection,
        "status": s.status,
        "exclusion_reason": s.exclusion,
        "owner": s.rules.owner,
        "criticality": s.rules.criticality,
        "newest_backup_id": s.newest.key.backup_id if s.newest else None,
        "newest_captured_at": s.newest.manifest.captured_at if s.newest else None,
        "newest_proven_at": s.proof.ended_at if s.proof else None,
        "proven_depth": s.deepest.reached if s.deepest else None,
        "rpo_seconds": seconds(s.rpo),
        "rpo_objective_seconds": seconds(s.rpo_objective),
        "rto_seconds": seconds(s.rto.rto) if s.rto else None,
        "rto_objective_seconds": seconds(s.rto_objective),
        "rto_measured_at": s.rto.outcome.started_at if s.rto else None,
        "rto_from": s.rto.kind if s.rto else None,
        "copies_proven_count": len(safe) if s.newest else None,
        "domains_proven_count": len(s.domains) if s.newest else None,
        "next_command": s.next_command,
    }


def _runs(evidence: Evidence, ledgers: Mapping[str, InLedgers]) -> list[Made]:
    ends = {e.start.run_id: e for e in evidence.run_ends}
    crashed = {s.run_id for s in evidence.crashed}
    starts = sorted(
        (s for s in evidence.run_starts if s.started_at >= evidence.since),
        key=lambda s: (s.started_at, s.run_id),
    )
    later = afterwards(evidence)
    made = []
    for s in starts:
        end, then = ends.get(s.run_id), later.get(s.run_id)
        healed = [ends.get(h.run_id) for h in then.healings] if then else []
        row = _run(s, end, s.run_id in crashed, then) | in_ledgers_row(ledgers.get(s.run_id))
        made.append(Made(row, (s, end, then, healed)))
    return made


def _run(
    start: RunStart, end: RunEnd | None, crashed: bool, later: Afterwards | None
) -> dict[str, Any]:
    error = end.error.code if end and end.error else None
    settled = later.settled if later else None
    return {
        "cluster": start.cluster,
        "source_kind": (end.source_kind if end else None) or start.source_kind,
        "run_id": start.run_id,
        "kind": start.job,
        "trigger": start.trigger,
        "actor": start.actor,
        "scheduled_for": start.scheduled_for,
        "started_at": start.started_at,
        "ended_at": end.ended_at if end else None,
        "verdict": end.verdict if end else ("failed" if crashed else None),
        "units_count": len(end.outcomes) if end else None,
        "units_failed_count": _failed(end) if end else None,
        "error_code": NO_END if crashed else error,
        "copies_bad_count": later.copies if later and end else None,
        "copies_healed_count": later.healed if later and end else None,
        "healed_by": ", ".join(h.run_id for h in later.healings) or None if later else None,
        "healed_at": later.healed_at if later else None,
        "settled_by": settled.start.run_id if settled else None,
        "settled_at": settled.ended_at if settled else None,
        "config_sha256": start.config_sha256,
        "tool_version": start.tool_version,
    }


def _failed(end: RunEnd) -> int:
    return sum(o.verdict == "failed" for o in end.outcomes)


def _backup(m: Manifest, seal: Seal | None) -> dict[str, Any]:
    transfer = (m.transferred_at - m.answered_at).total_seconds()
    return {
        "cluster": m.cluster,
        "source_kind": m.source_kind,
        "backup_id": m.backup_id,
        "collection": m.collection,
        "captured_at": m.captured_at,
        "committed_at": m.transferred_at,
        "method": m.method,
        "consistency": seal.consistency if seal else None,
        "seal_reference": seal.reference if seal else None,
        "points_count": seal.points if seal else None,
        "parts_count": len(m.parts),
        "nodes_count": len({p.node for p in m.parts}),
        "skew_seconds": seconds(m.skew),
        "size_bytes": m.size_bytes,
        "capture_seconds": (m.answered_at - m.captured_at).total_seconds(),
        "transfer_seconds": transfer,
        "throughput_bytes_per_second": m.size_bytes / transfer if transfer > 0 else None,
        "fingerprint": (
            hashlib.sha256(canonical_json(seal.total.model_dump(mode="json"))).hexdigest()
            if seal
            else None
        ),
        "manifest_sha256": m.sha256,
        "server_version": m.server_version,
    }


def _copy(evidence: Evidence, backup: Backup, copy: Copy) -> dict[str, Any]:
    of = next(r for r in evidence.repositories if r.name == copy.repository)
    used = evidence.packs_used.get((copy.repository, backup.key.folder))
    best = best_proof(copy)
    tried = last_search(copy)
    searched = tried.searched if tried else None
    return {
        "cluster": backup.key.cluster,
        "source_kind": backup.manifest.source_kind,
        "backup_id": backup.key.backup_id,
        "collection": backup.key.collection,
        "repository": copy.repository,
        "domain": copy.domain,
        "state": copy.state,
        "storage": ", ".join(copy.storage) or None,
        "layout": of.layout if of.error is None else None,
        "stored_bytes": copy.written_bytes,
        "shared_bytes": used.shared_bytes if used else None,
        "monthly_cost": monthly_cost(copy.written_bytes, of.price),
        "deepest_proof": best.depth if best else None,
        "proven_at": best.ended_at if best else None,
        "bytes_checked_ratio": (
            best.bytes_checked / best.bytes_expected if best and best.bytes_expected else None
        ),
        "detection_probability": _detection(best) if best else None,
        "searched_at": tried.ended_at if tried else None,
        "recall": _millionths(searched.recall_ppm if searched else None),
        "recall_lowest": _millionths(searched.lowest_recall_ppm if searched else None),
        "search_p95_seconds": _millionths(searched.latency_p95_us if searched else None),
        "filters_count": searched.filters if searched else None,
        "encrypted": of.encrypted if of.error is None else None,
        "key_slots_count": len(slots) if (slots := evidence.key_slots.get(of.name)) else None,
    }


def _detection(proof: Proof) -> float:
    if proof.sample:
        return proof.sample.detection_ppm / 1e6
    return 1.0 if proof.bytes_checked == proof.bytes_expected else 0.0


def _millionths(value: int | None) -> float | None:
    return None if value is None else value / 1e6


def _finding(config: Config, kind: SourceKind | None, p: Problem) -> dict[str, Any]:
    return {
        "cluster": config.cluster.name,
        "source_kind": kind,
        "severity": p.severity,
        "code": p.code,
        "scope": p.scope,
        "what": p.what,
        "since": p.since,
        "blast_radius": p.blast_radius,
        "next_command": p.next_command,
        "facts": p.pin or None,
        "acknowledged_by": p.acknowledged.by if p.acknowledged else None,
        "acknowledged_at": p.acknowledged.at if p.acknowledged else None,
        "acknowledged_reason": p.acknowledged.reason if p.acknowledged else None,
        "acknowledged_until": p.acknowledged.until if p.acknowledged else None,
        "severity_unacknowledged": p.worth,
    }
