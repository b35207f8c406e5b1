"""From a unit to its outcome: the one place that knows which function does which unit."""

from __future__ import annotations

from datetime import datetime

from qdrant_dr.config import Config
from qdrant_dr.jobs.run.error_facts import error_facts
from qdrant_dr.jobs.run.units import (
    CaptureUnit,
    CompareUnit,
    DiffUnit,
    DrillUnit,
    ExpireUnit,
    ExportUnit,
    FullUnit,
    HealUnit,
    ReportUnit,
    RestorePointsUnit,
    RestoreUnit,
    SweepUnit,
    Unit,
    VerifyUnit,
    WatchUnit,
)
from qdrant_dr.log_context import unit_context
from qdrant_dr.records import Outcome
from qdrant_dr.repository.changes import noting_changes


def execute(config: Config, unit: Unit, run_id: str) -> Outcome:
    """Do one unit. Raise an error of the tree if it fails; its outcome says anything less."""
    with unit_context(run_id, unit) as told, noting_changes() as changes:
        outcome = _execute(config, unit, run_id)
        told(outcome)
        return outcome.model_copy(update={"written": tuple(changes)})


def _execute(config: Config, unit: Unit, run_id: str) -> Outcome:
    if isinstance(unit, CaptureUnit):
        from qdrant_dr.jobs.backup.capture import capture

        return capture(config, unit, run_id)
    if isinstance(unit, FullUnit):
        from qdrant_dr.jobs.backup.full_snapshot import capture_full

        return capture_full(config, unit, run_id)
    if isinstance(unit, VerifyUnit):
        from qdrant_dr.jobs.verify.job import verify_copy

        return verify_copy(config, unit, run_id)
    if isinstance(unit, CompareUnit | DiffUnit):
        return _compare(config, unit)
    if isinstance(unit, HealUnit):
        from qdrant_dr.jobs.replicate.job import heal_copy

        return heal_copy(config, unit, run_id)
    if isinstance(unit, DrillUnit):
        from qdrant_dr.jobs.drill.scenario import apply_scenario
        from qdrant_dr.jobs.drill.unit import drill_copy

        return drill_copy(apply_scenario(config, unit.scenario), unit, run_id)
    if isinstance(unit, RestoreUnit | RestorePointsUnit | ExportUnit):
        return _bring_out(config, unit, run_id)
    if isinstance(unit, ExpireUnit):
        from qdrant_dr.jobs.expire.expire_copy import expire_copy

        return expire_copy(config, unit, run_id)
    if isinstance(unit, SweepUnit):
        from qdrant_dr.jobs.sweep.job import sweep

        return sweep(config, unit, run_id)
    return _judge(config, unit)


def _compare(config: Config, unit: CompareUnit | DiffUnit) -> Outcome:
    if isinstance(unit, DiffUnit):
        from qdrant_dr.jobs.compare_points.last_two import compare_backups

        return compare_backups(config, unit)
    from qdrant_dr.jobs.check.replicas import compare_replicas

    return compare_replicas(config, unit)


def _bring_out(
    config: Config, unit: RestoreUnit | RestorePointsUnit | ExportUnit, run_id: str
) -> Outcome:
    if isinstance(unit, ExportUnit):
        from qdrant_dr.jobs.export.unit import export_backup

        return export_backup(config, unit, run_id)
    if isinstance(unit, RestorePointsUnit):
        from qdrant_dr.jobs.restore_points.unit import restore_points

        return restore_points(config, unit, run_id)
    from qdrant_dr.jobs.restore.unit import restore_backup

    return restore_backup(config, unit, run_id)


def _judge(config: Config, unit: ReportUnit | WatchUnit) -> Outcome:
    if isinstance(unit, WatchUnit):
        from qdrant_dr.report.watch.job import find_problems

        return find_problems(config, unit)
    if isinstance(unit, ReportUnit):
        from qdrant_dr.report.job import compile_report

        return compile_report(config, unit)
    raise TypeError(f"no such unit: {unit!r}")


def failed_outcome(
    unit: Unit, error: BaseException, *, started_at: datetime, ended_at: datetime
) -> Outcome:
    """Build the outcome of a unit that raised."""
    key = getattr(unit, "key", None)
    repository = getattr(unit, "repository", None)
    return Outcome(
        unit=unit.unit,
        collection=unit.collection,
        repository=repository,
        backup_id=key.backup_id if key else None,
        verdict="failed",
        started_at=started_at,
        ended_at=ended_at,
        error=error_facts(error, repository=repository, collection=unit.collection, backup=key),
    )
