"""`restore --points` and `--undo`: plan, have it approved where that is asked for, do it."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from qdrant_dr.cluster import Node
from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, PlanRefused
from qdrant_dr.jobs.read_points.in_clear import undo_in_clear
from qdrant_dr.jobs.read_points.opened_backup import check_filter
from qdrant_dr.jobs.restore_points.compare_with_live import compare_with_live
from qdrant_dr.jobs.restore_points.decide_change import Change
from qdrant_dr.jobs.restore_points.journal import unfinished_points
from qdrant_dr.jobs.restore_points.look import (
    look_at,
    unlike_backup,
    unlike_then,
    without_the_run,
)
from qdrant_dr.jobs.restore_points.options import PointsRequest, ids_of, parsed_filter
from qdrant_dr.jobs.restore_points.plan import PointsPlan, room_reasons
from qdrant_dr.jobs.restore_points.state import PointsWork, asked, found_backup
from qdrant_dr.jobs.restore_points.undo import stored_undo
from qdrant_dr.jobs.run.acknowledgements import acknowledgements_of
from qdrant_dr.jobs.run.approval import Approval
from qdrant_dr.jobs.run.run import Run, utc_now
from qdrant_dr.jobs.run.run_identity import new_run_id
from qdrant_dr.jobs.run.scope import selected_backups, selected_repositories
from qdrant_dr.jobs.run.scratch_dir import scratch_folder
from qdrant_dr.jobs.run.trust import trust_reasons
from qdrant_dr.jobs.run.units import Perform, PointsOptions, RestorePointsUnit
from qdrant_dr.jobs.target.open_target import is_scratch, open_target
from qdrant_dr.records import Outcome, RunEnd
from qdrant_dr.repository import Backup, accepts, rank_sources

Approve = Callable[[Sequence[PointsPlan]], Approval]


def restore_points_job(
    config: Config,
    request: PointsRequest,
    run: Run,
    perform: Perform,
    approve: Approve | None = None,
) -> RunEnd:
    """Plan, ask, restore, conclude. Without `approve` the points are compared once, by the unit:
    whoever types `--execute` has said so."""
    outcomes: list[Outcome] = []
    try:
        compare = request.dry_run or approve is not None
        plan = plan_of(config, request, run, compare=compare)
        if plan.refusals:
            raise PlanRefused("; ".join(plan.refusals))
        if request.dry_run:
            run.remarks += [*plan.steps, *plan.remarks]
            return run.preview(config, [plan.unit])
        unit = plan.unit
        if approve is not None:
            approval = approve([plan])
            if not approval.given:
                raise PlanRefused(
                    f"not approved: {approval.reason or 'no reason was given'}",
                    "nothing was changed; run it again when it is to be done.",
                )
            unit = unit.model_copy(
                update={
                    "approved_by": approval.by,
                    "ticket": approval.ticket or request.ticket,
                    "note": "; ".join(filter(None, [request.note, approval.note])),
                }
            )
        outcomes += perform([unit])
    except DRError as e:
        return run.finish(config, outcomes=outcomes, error=e)
    return run.finish(config, outcomes=outcomes)


def plan_of(config: Config, request: PointsRequest, run: Run, *, compare: bool) -> PointsPlan:
    """Plan the restore; with `compare` every point is compared, so that the plan can say what would
    be written. This changes nothing.

    Raise UsageError, NothingSelected, BackupNotFound, NodeUnreachable, AccessDenied or PlanRefused
    if there is nothing to plan.
    """
    _must_be_readable(config, request)
    target = (request.to or config.cluster.nodes[0]).rstrip("/")
    given = selected_repositories(config, (request.repository,) if request.repository else None)
    places = given if request.repository else ()
    options = PointsOptions.among(dict(request))
    now = utc_now()
    with open_target(config, target, request.to_key) as node:
        if request.undo is not None:
            plan, backup = _undo_plan(config, request, run, target, options), None
        else:
            backup = _backup(config, request, run, now)
            unit = RestorePointsUnit(
                key=backup.key, name=backup.manifest.collection, repositories=places,
                target=target, target_key=request.to_key, **options,
            )  # fmt: skip
            plan = _backup_plan(config, backup, unit, run, now)
        return _compared(config, plan, backup, run, node, compare=compare)


def _must_be_readable(config: Config, request: PointsRequest) -> None:
    """Raise UsageError for ids or a filter that nobody can read, before anything is asked."""
    if request.ids is not None:
        ids_of(request.ids)
    where = parsed_filter(request.where)
    if where is not None:
        spool = config.capture.spool.path
        with scratch_folder(spool, f"filter-{new_run_id(utc_now()).lower()}") as folder:
            check_filter(config, where, Path(folder))


def _backup(config: Config, request: PointsRequest, run: Run, now: datetime) -> Backup:
    assert request.backup is not None
    catalog = run.read_catalog(config)
    (backup,) = selected_backups(catalog, config, (request.backup,), None, now=now)
    run.note_source([backup])
    return backup


def _backup_plan(
    config: Config, backup: Backup, unit: RestorePointsUnit, run: Run, now: datetime
) -> PointsPlan:
    known = acknowledgements_of(config, run.repositories, now=now, lost=run.unreachable)
    sources = [s.copy for s in rank_sources(backup, now=now) if s.complete]
    refusals, warnings = trust_reasons(
        config, backup, sources, allow_unproven=unit.allow_unproven, now=now,
        accepted=any(accepts(a, backup) for a in known),
    )  # fmt: skip
    return PointsPlan(
        str(backup.key), unit, tuple(refusals), tuple(warnings),
        repositories=tuple(run.repositories),
    )  # fmt: skip


def _undo_plan(
    config: Config,
    request: PointsRequest,
    run: Run,
    target: str,
    options: dict[str, object],
) -> PointsPlan:
    assert request.undo is not None
    stored = stored_undo(run.repositories, config.cluster.name, request.undo)
    record = stored.record
    unit = RestorePointsUnit.model_validate(
        {
            **options, "undoes": request.undo, "name": record.collection, "repositories": (),
            "target": target if request.to else record.target, "target_key": request.to_key,
        }
    )  # fmt: skip
    said = f"the undo of {request.undo}, which wrote {record.points} points of {record.source}"
    return PointsPlan(said, unit, repositories=tuple(run.repositories))


def _compared(
    config: Config,
    plan: PointsPlan,
    backup: Backup | None,
    run: Run,
    node: Node,
    *,
    compare: bool,
) -> PointsPlan:
    """Look at the target; and compare every point, if asked and nothing speaks against it."""
    unit = plan.unit
    if node.url != unit.target.rstrip("/"):
        with open_target(config, unit.target, unit.target_key) as other:
            return _compared(config, plan, backup, run, other, compare=compare)
    live = look_at(config, node, unit.name)
    refusals, warnings = (
        list(plan.refusals),
        [*plan.warnings, *live.warnings, *undo_in_clear(run.repositories)],
    )
    stored = None
    if backup is not None:
        refusals += unlike_backup(
            live, backup.manifest, another_incarnation=unit.another_incarnation
        )
    else:
        assert unit.undoes is not None
        stored = stored_undo(run.repositories, config.cluster.name, unit.undoes)
        refusals += unlike_then(live, stored.record, another_incarnation=unit.another_incarnation)
    left = unfinished_points(config.capture.spool.path, node.url, unit.name)
    if left is not None and left.undo_id != unit.undoes:
        began = f"{left.began_at:%Y-%m-%d %H:%M:%S} UTC"
        if left.asked == asked(unit):
            warnings.append(f"it continues the restore of points that began {began}")
        else:
            refusals.append(
                f"a restore of points into {unit.name!r} that began {began} did not end: run that "
                f"command again, or take it back: `qdrant-dr restore --undo {left.undo_id} "
                "--execute`"
            )
    if refusals or not compare:
        return PointsPlan(plan.source, unit, tuple(refusals), tuple(warnings))
    size = 0

    def weigh(change: Change, _there: dict[str, object] | None) -> None:
        nonlocal size
        size += len(json.dumps(change.after)) if change.after else 0

    spool = config.capture.spool.path
    with scratch_folder(spool, f"plan-{new_run_id(utc_now()).lower()}") as folder:
        found = found_backup(config, backup, unit.repositories) if backup is not None else None
        work = PointsWork(config, unit, node, Path(folder), live, found, stored)
        with work.opened() as source:
            surveyed = compare_with_live(
                node, unit.name, source, only=work.only, missing=unit.missing,
                cosine=live.cosine, limit=live.facts.max_query_limit, keys=live.facts.shard_keys,
                take=weigh,
            )  # fmt: skip
    if stored is not None and surveyed.to_write and not unit.another_incarnation:
        refusals += filter(None, [without_the_run(live, stored.record)])
    space = config.cluster.node_space if node.url in config.cluster.nodes else None
    refusals += room_reasons(unit, size, space)
    return PointsPlan(
        plan.source, unit, tuple(refusals), (*warnings, *work.notes), surveyed, size,
        plan.repositories,
    )  # fmt: skip


def needs_no_approval(config: Config, request: PointsRequest) -> bool:
    """Say whether this is the configured scratch, on which everything may be lost."""
    return request.to is not None and is_scratch(config, request.to)
