"""`restore`: for real. Plan every backup, have it approved where that is asked for, do it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from qdrant_dr.cluster import Node, collection_facts
from qdrant_dr.cluster.target import TargetFacts
from qdrant_dr.config import Config
from qdrant_dr.disk import free_below
from qdrant_dr.errors import (
    BackupNotFound,
    DRError,
    NothingSelected,
    PlanRefused,
    RepositoryError,
    UsageError,
)
from qdrant_dr.jobs.restore.journal import unfinished
from qdrant_dr.jobs.restore.options import OnTarget, RestoreRequest
from qdrant_dr.jobs.restore.plan import RestorePlan, plan_restore
from qdrant_dr.jobs.run.acknowledgements import acknowledgements_of
from qdrant_dr.jobs.run.approval import Approval
from qdrant_dr.jobs.run.backup_selector import LATEST_PROVEN, doubted_before, skipped, split
from qdrant_dr.jobs.run.run import Run, utc_now
from qdrant_dr.jobs.run.scope import selected_backups, selected_repositories
from qdrant_dr.jobs.run.units import Perform
from qdrant_dr.jobs.target.open_target import facts_of, open_target
from qdrant_dr.layout import time_of
from qdrant_dr.records import Outcome, RunEnd
from qdrant_dr.repository import Backup, Catalog, Repository, accepts, newest, newest_proven

SIGN_SECONDS = 60
"""Of the URL that only shows whether a repository can sign one."""


Approve = Callable[[Sequence[RestorePlan]], Approval]


def approved_by_execute(_plans: Sequence[RestorePlan]) -> Approval:
    """Approve: whoever types `--execute` has said so."""
    return Approval(given=True)


def plans_of(config: Config, request: RestoreRequest, run: Run) -> tuple[RestorePlan, ...]:
    """Plan the restore of every backup that is asked for. This asks the target and the catalog and
    changes nothing.

    Raise UsageError, NothingSelected, BackupNotFound, NodeUnreachable, AccessDenied or PlanRefused
    if there is nothing to plan.
    """
    if request.every == bool(request.backups):
        raise UsageError("name backups, or say `--all`: one of them")
    if request.name is not None and (request.every or len(request.backups) != 1):
        raise UsageError("`--as` gives one backup another name; restore them one by one")
    if request.of_run is not None and not request.every:
        raise UsageError("`--run` belongs to `--all`")
    if request.server_file is not None and (request.every or len(request.backups) != 1):
        raise UsageError("`--server-file` is the archive of one backup")
    places = selected_repositories(config, (request.repository,) if request.repository else None)
    now = utc_now()
    with open_target(config, request.to, request.to_key) as node:
        facts = facts_of(config, node)  # the target first: it is the quicker to say no
        catalog = run.read_catalog(config)
        backups = _backups(config, request, run, catalog, now=now)
        run.note_source(backups)
        ends = run.past_ends(config, now)
        known = acknowledgements_of(config, run.repositories, now=now, lost=run.unreachable)
        proven = config.objectives.proven
        return tuple(
            plan_restore(
                config,
                backup,
                _on_target(config, request, run.repositories, node, facts, backup),
                request,
                repositories=[p for p in places if p in run.repositories],
                ends=ends,
                now=now,
                accepted=any(accepts(a, backup) for a in known),
                remarks=[
                    *(skipped(backup, catalog, proven=proven, now=now) if newest_asked else ()),
                    *doubted_before(backup, catalog, known),
                ],
            )
            for backup, newest_asked in zip(backups, chosen_by_age(request, backups), strict=True)
        )


def restore(
    config: Config,
    request: RestoreRequest,
    run: Run,
    perform: Perform,
    approve: Approve = approved_by_execute,
) -> RunEnd:
    """Plan, ask, restore, conclude. One plan that is refused refuses all: nothing is changed."""
    outcomes: list[Outcome] = []
    try:
        plans = plans_of(config, request, run)
        if refused := refusal(plans):
            raise refused
        units = [p.unit for p in plans if p.unit is not None]
        if request.dry_run:
            return run.preview(config, units)
        approval = approve(plans)
        if not approval.given:
            raise PlanRefused(
                f"not approved: {approval.reason or 'no reason was given'}",
                "nothing was changed; run it again when it is to be done.",
            )
        changes = {
            "approved_by": approval.by,
            "ticket": approval.ticket or request.ticket,
            "note": "; ".join(filter(None, [request.note, approval.note])),
        }
        outcomes += perform([u.model_copy(update=changes) for u in units])
    except DRError as e:
        return run.finish(config, outcomes=outcomes, error=e)
    return run.finish(config, outcomes=outcomes)


def chosen_by_age(request: RestoreRequest, backups: Sequence[Backup]) -> list[bool]:
    """Say of each backup whether it was asked for as the newest proven one, whichever that is."""
    if request.every:
        return [True] * len(backups)
    return [split(selector)[1] == LATEST_PROVEN for selector in request.backups]


def refusal(plans: Sequence[RestorePlan]) -> PlanRefused | None:
    """Return one error with every reason of every plan; None if all of them can be done."""
    reasons = [f"{p.key}: {r}" for p in plans for r in p.refusals]
    if not reasons:
        return None
    return PlanRefused("; ".join(reasons))


def newest_inventory(ends: Sequence[RunEnd], of_run: str | None) -> RunEnd:
    """Return the backup run whose inventory is restored. Pure. Raise BackupNotFound."""
    runs = [e for e in ends if e.start.job == "backup" and e.seen]
    if of_run is not None:
        runs = [e for e in runs if e.start.run_id == of_run]
    if not runs:
        which = f"backup run {of_run}" if of_run else "backup run with an inventory"
        raise BackupNotFound(
            f"no {which} is on record", "name the backups; `qdrant-dr list` has them."
        )
    return max(runs, key=lambda e: e.start.started_at)


def _backups(
    config: Config, request: RestoreRequest, run: Run, catalog: Catalog, *, now: datetime
) -> tuple[Backup, ...]:
    if not request.every:
        chosen = selected_backups(catalog, config, request.backups, None, now=now)
        if len({b.manifest.collection for b in chosen}) < len(chosen):
            raise UsageError("two of these backups are of one collection", "restore them apart.")
        return chosen
    end = newest_inventory(_ends(config, request, run, now), request.of_run)
    names = [s.collection for s in end.seen if s.status in ("included", "not-selected", "missing")]
    if not names:
        raise NothingSelected(
            f"the inventory of {end.start.run_id} has no collection that is to be backed up",
            "name another run with `--run`, or the backups.",
        )
    return _newest_of(config, request, catalog, names, now=now)


def _newest_of(
    config: Config,
    request: RestoreRequest,
    catalog: Catalog,
    names: Sequence[str],
    *,
    now: datetime,
) -> tuple[Backup, ...]:
    """The newest proven backup of each; all names without one are refused together."""
    proven = config.objectives.proven
    found: list[Backup] = []
    without: list[str] = []
    for name in names:
        of_name = catalog.of(name)
        backup = newest_proven(of_name, depth=proven.depth, max_age=proven.max_age, now=now)
        if backup is None and request.allow_unproven:
            backup = newest(of_name, now=now)
        if backup is None:
            what = "proven backup" if of_name else "backup"
            without.append(f"{name} has no {what}")
        else:
            found.append(backup)
    if without:
        raise PlanRefused(
            "; ".join(without),
            "decide: prove them (`qdrant-dr verify`), name the backups instead of `--all`, or take "
            "what there is with `--allow-unproven`.",
        )
    return tuple(found)


def _ends(config: Config, request: RestoreRequest, run: Run, now: datetime) -> tuple[RunEnd, ...]:
    if request.of_run is None:
        return run.past_ends(config, now)
    try:
        began = time_of(request.of_run)
    except ValueError:
        raise UsageError(f"{request.of_run!r} is no id of a run") from None
    return run.ends_between(began - timedelta(days=1), began + timedelta(days=1))


def _on_target(
    config: Config,
    request: RestoreRequest,
    repositories: Mapping[str, Repository],
    node: Node,
    facts: TargetFacts,
    backup: Backup,
) -> OnTarget:
    """What a plan needs to know of the name on the target, and of the way there."""
    name = request.name or backup.manifest.collection
    existing = None
    if request.into_existing and name in facts.collections and name not in facts.broken:
        existing = collection_facts(node, name)
    unsigned: dict[str, str] = {}
    if request.way == "url":
        for where, repository in repositories.items():
            try:
                repository.presigned(backup.key, backup.manifest.parts[0], SIGN_SECONDS)
            except RepositoryError as e:
                unsigned[where] = f"{e.message}: {e.hint}"
    left = unfinished(config.capture.spool.path, node.url, name)
    room = free_below(config.capture.spool.path)
    return OnTarget(facts, existing, left, unsigned, room)
