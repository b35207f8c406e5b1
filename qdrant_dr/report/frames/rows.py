"""Rows of drills, restores, sizes and forecasts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from typing import Any

from qdrant_dr.config import Config
from qdrant_dr.report.evidence.drills import Drill
from qdrant_dr.report.evidence.forecast import Interval
from qdrant_dr.report.evidence.restores import Restore
from qdrant_dr.report.evidence.sizes import Series


def seconds(span: timedelta | None) -> float | None:
    """Convert to seconds; None (not measured) stays None."""
    return None if span is None else span.total_seconds()


def drill_row(config: Config, d: Drill) -> dict[str, Any]:
    """Build a row of the frame `drills`."""
    o, detail, played = d.outcome, d.detail, d.played
    own = config.collections.override(o.collection).objectives
    rto, rpo = own.rto or config.objectives.rto, own.rpo or config.objectives.rpo
    age = o.started_at - detail.captured_at if detail else None
    signed = d.signature
    return {
        "cluster": d.run.start.cluster,
        "source_kind": d.run.source_kind,
        "drill_id": d.drill_id,
        "backup_id": o.backup_id,
        "collection": o.collection,
        "repository": o.repository,
        "server_version": detail.server_version if detail else None,
        "engine": detail.engine if detail else None,
        "pick": detail.pick if detail else None,
        "verdict": d.verdict,
        "seed": detail.seed if detail else None,
        "backup_age_seconds": seconds(age),
        "points_expected_count": detail.points_expected if detail else None,
        "points_restored_count": detail.points_restored if detail else None,
        "size_bytes": detail.size_bytes if detail else None,
        "fingerprint_equal": detail.fingerprint_equal if detail else None,
        "rto_met": None if d.rto is None else d.rto <= rto,
        "restore_seconds": seconds(d.restore),
        "readback_seconds": seconds(d.readback),
        "rto_seconds": seconds(d.rto),
        "rto_objective_seconds": seconds(rto),
        "scenario": d.scenario,
        "rpo_met": d.rpo_met(rpo),
        "rpo_seconds": seconds(d.rpo),
        "rpo_objective_seconds": seconds(rpo) if d.scenario else None,
        "copies_left_count": played.copies_left if played else None,
        "domains_left_count": played.domains_left if played else None,
        "ran_by": d.ran_by,
        "reviewed_by": signed.reviewer if signed else None,
        "reviewed_at": signed.at if signed else None,
        "accepted": signed.accepted and signed.holds if signed else None,
        "same_person": signed.same_person if signed else None,
        "review_signature": signed.proof if signed else None,
        "review_key": signed.key if signed else None,
        "isolation_declared": detail.isolation if detail else None,
        "teardown": detail.teardown if detail else None,
        "error_code": o.error.code if o.error else None,
    }


def phase_rows(d: Drill) -> Iterator[dict[str, Any]]:
    """Build rows of the frame `drill_phases`."""
    for phase in d.detail.phases if d.detail else ():
        yield {
            "cluster": d.run.start.cluster,
            "source_kind": d.run.source_kind,
            "drill_id": d.drill_id,
            "phase": phase.name,
            "started_at": phase.started_at,
            "duration_seconds": phase.duration_us / 1e6,
            "size_bytes": phase.size_bytes,
        }


def restore_row(r: Restore) -> dict[str, Any]:
    """Build a row of the frame `restores`."""
    o, detail, about = r.outcome, r.detail, r.about
    return {
        "cluster": r.run.start.cluster,
        "source_kind": r.run.source_kind,
        "restore_id": r.restore_id,
        "backup_id": o.backup_id,
        "collection": o.collection,
        "name": about.name if about else None,
        "target": about.target if about else None,
        "target_kind": about.target_kind if about else None,
        "server_version": about.server_version if about else None,
        "repositories": ", ".join(detail.sources) if detail else o.repository,
        "route": r.route,
        "way": detail.way if detail else None,
        "verdict": r.verdict,
        "resumed": about.resumed if about else None,
        "started_at": o.started_at,
        "ended_at": o.ended_at,
        "restore_seconds": seconds(r.spent),
        "rto_seconds": seconds(r.rto),
        "size_bytes": detail.size_bytes if detail else None,
        "sent_bytes": about.sent_bytes if about else None,
        "points_expected_count": r.expected_points,
        "points_restored_count": r.restored_points,
        "points_lost_count": r.lost,
        "fingerprint_equal": detail.fingerprint_equal if detail else None,
        "aliases_set": ", ".join(detail.aliases_set) if detail else None,
        "aliases_left": ", ".join(detail.aliases_left) if detail else None,
        "requester": r.requester,
        "approved_by": r.approver,
        "same_person": r.same_person,
        "approval_signature": (r.approval.proof if r.approval else "typed") if r.approver else None,
        "approval_key": r.approval.key if r.approval else None,
        "ticket": (about.ticket or None) if about else None,
        "error_code": o.error.code if o.error else None,
    }


def size_rows(s: Series) -> Iterator[dict[str, Any]]:
    """Build rows of the frame `sizes`, without cluster and source."""
    for d in s.days:
        yield {
            "kind": s.kind,
            "subject": s.subject,
            "day": datetime.combine(d.day, time(tzinfo=UTC)),
            "measured_at": d.measured.at,
            "backup_id": d.backup_id,
            "size_bytes": d.measured.size_bytes,
        }


def forecast_row(s: Series) -> dict[str, Any]:
    """Build a row of the frame `forecasts`, without cluster and source."""
    f = s.forecast
    first, last = (f.measured[0], f.measured[-1]) if f.measured else (None, None)
    return {
        "kind": s.kind,
        "subject": s.subject,
        "measured_count": len(f.measured),
        "since": first.at if first else None,
        "size_bytes": last.size_bytes if last else None,
        **_interval("growth", "growth_bytes_per_day", f.growth),
        **_interval("expected", "expected_bytes", f.ahead),
        "limit_name": s.limit_name,
        "limit_bytes": f.limit,
        **_interval("days_left", "days_left", f.days_left),
        "not_measured": f.why,
    }


def _interval(name: str, estimate: str, of: Interval | None) -> dict[str, float | None]:
    """Round to thousandths of a byte or day."""
    values = (of.expected, of.low, of.high) if of else (None, None, None)
    columns = (estimate, f"{name}_low", f"{name}_high")
    return {
        column: None if value is None else round(value, 3)
        for column, value in zip(columns, values, strict=True)
    }
