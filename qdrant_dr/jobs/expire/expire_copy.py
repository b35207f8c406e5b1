"""Let one copy go: what it was is written down first; a lock or a refusal leaves it as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from qdrant_dr.config import Config
from qdrant_dr.errors import BackupNotFound, CatalogIncomplete, DRError, PlanRefused
from qdrant_dr.jobs.expire.plan import (
    policies,
)
from qdrant_dr.jobs.run.acknowledgements import acknowledgements_of
from qdrant_dr.jobs.run.catalogs import catalog_of, open_all
from qdrant_dr.jobs.run.holds import holds_of
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.units import ExpireUnit
from qdrant_dr.records import (
    BackupKey,
    Captured,
    Deleted,
    Expired,
    Outcome,
)
from qdrant_dr.repository import (
    LONGEST_RUN,
    Backup,
    Catalog,
    ExpirePlan,
    Repository,
    active_holds,
    delete_copy,
    is_refusal,
    may_not_delete,
    plan_expire,
    record_expiry,
    strangers_in_words,
    time_of,
    withdraw,
)


def expire_copy(config: Config, unit: ExpireUnit, run_id: str) -> Outcome:
    """Let one copy go: decide once more from the records of now, write it down, delete.

    What was decided a moment ago may not hold any more: a proof failed, a hold was made, another
    run deleted. Then the copy stays, and the outcome says why. Raise CatalogIncomplete,
    RepositoryDenied (the next run finishes it) or what the stores raise.
    """
    started_at = utc_now()
    opened, failed = open_all(config)
    if unit.repository in failed:
        raise failed[unit.repository]
    repository = opened[unit.repository]
    if repository.only_read is not None:
        raise repository.only_read
    made_at = time_of(unit.key.backup_id)
    catalog = catalog_of(
        config, opened, failed, collection=unit.collection, runs=(made_at - LONGEST_RUN, made_at)
    )
    backup = catalog.find(unit.key)
    if beside := catalog.strangers_beside(unit.repository, unit.key.folder):
        why = f"stays: in its folder {strangers_in_words(beside)}"
        return _outcome(unit, started_at, "skipped", (why,))
    if unit.finish and unit.named:
        _give_up(config, unit, catalog, list(opened.values()), run_id)
    elif not unit.finish:
        stays = _stays_now(config, unit, catalog, opened)
        if stays is not None:
            return _outcome(unit, started_at, "skipped", (f"stays: {stays}",))
        if backup is None:
            raise BackupNotFound(f"{unit.key} is not there any more")
        record_expiry(repository, _tombstone(backup, unit, run_id))
    try:
        calls = _to_remember(repository, unit.key, backup, opened)
        freed = delete_copy(repository, unit.key.folder, remember=calls)
    except DRError as e:
        withdraw(repository, unit.key.folder)
        raise (may_not_delete(repository, e) if is_refusal(e) else e) from None
    notes = list(freed.notes)
    if freed.locked_until is not None:
        notes.append(f"locked until {freed.locked_until:%Y-%m-%d %H:%M:%S} UTC")
    detail = Deleted(
        reason=unit.reason,
        captured_at=backup.manifest.captured_at if backup else None,
        freed_bytes=freed.freed_bytes,
        hidden_bytes=freed.hidden_bytes,
        locked_until=freed.locked_until,
    )
    return _outcome(unit, started_at, "ok", tuple(notes), detail)


def _give_up(
    config: Config,
    unit: ExpireUnit,
    catalog: Catalog,
    repositories: Sequence[Repository],
    run_id: str,
) -> None:
    """Write down that what is left of a backup goes, if it is lost now, too, and nothing holds it.

    Raise BackupNotFound or PlanRefused.
    """
    lost = next((g for g in catalog.lost if g.key == unit.key), None)
    if lost is None or lost.manifest_sha256 is None:
        raise BackupNotFound(f"{unit.key} is not lost any more", "run `qdrant-dr status`.")
    held = active_holds(holds_of(repositories, config.cluster.name), now=unit.decided_at)
    if why := [h.reason for h in held if h.backup_id == unit.key.backup_id]:
        raise PlanRefused(f"{unit.key} stays: it is held ({why[0]})", "`qdrant-dr hold` lists it.")
    proofs = {w.record for w in lost.words if w.kind == "proof" and w.repository == unit.repository}
    place = next(r for r in repositories if r.name == unit.repository)
    record_expiry(
        place,
        Expired(
            backup_id=unit.key.backup_id,
            cluster=unit.key.cluster,
            collection=unit.key.collection,
            incarnation="",
            run_id=run_id,
            decided_at=unit.decided_at,
            reason=unit.reason,
            captured_at=time_of(unit.key.backup_id),
            size_bytes=lost.size_bytes,
            points=None,
            manifest_sha256=lost.manifest_sha256,
            seal_sha256=None,
            proofs=tuple(sorted(proofs)),
        ),
    )


def _stays_now(
    config: Config, unit: ExpireUnit, catalog: Catalog, opened: Mapping[str, Repository]
) -> str | None:
    """Why the copy stays after all; None if it still goes."""
    if not catalog.complete:
        away = [r.name for r in catalog.unreachable] + [u.path for u in catalog.unreadable]
        raise CatalogIncomplete(f"not everything can be read now: {', '.join(away)}")
    now = unit.decided_at
    plan: ExpirePlan = plan_expire(
        catalog,
        policies(config),
        proven=config.objectives.proven,
        holds=holds_of(list(opened.values()), config.cluster.name),
        now=now,
        named=[unit.key.backup_id] if unit.named else (),
        acknowledged=acknowledgements_of(config, opened, now=now),
    )
    if any(e.key == unit.key and e.repository == unit.repository for e in plan.goes):
        return None
    stay = next(
        (s for s in plan.stays if s.key == unit.key and s.repository == unit.repository), None
    )
    return "; ".join(stay.reasons) if stay else plan.refused or "it is gone already"


def _to_remember(
    repository: Repository,
    key: BackupKey,
    backup: Backup | None,
    opened: Mapping[str, Repository],
) -> frozenset[int]:
    """Create calls of this backup whose file may still lie on a node: those without an answer, and
    all where no run says that it deleted them. The sweep of that node needs their records."""
    calls, _ = repository.read_calls(
        repository.find_backups(key.cluster, key.collection, key.backup_id)
    )
    deleted = backup is not None and _said_deleted(backup, opened)
    return frozenset(
        number
        for number, intent, answer in calls
        if not intent.streamed and not (deleted and answer)
    )


def _said_deleted(backup: Backup, opened: Mapping[str, Repository]) -> bool:
    return any(
        outcome.backup_id == backup.key.backup_id
        and isinstance(outcome.detail, Captured)
        and outcome.detail.server_snapshot == "deleted"
        for repository in opened.values()
        for end in repository.read_end(backup.manifest.run_id).records
        for outcome in end.outcomes
    )


def _tombstone(backup: Backup, unit: ExpireUnit, run_id: str) -> Expired:
    manifest, seal = backup.manifest, backup.seal
    return Expired(
        backup_id=manifest.backup_id,
        cluster=manifest.cluster,
        collection=manifest.collection,
        incarnation=manifest.incarnation,
        run_id=run_id,
        decided_at=unit.decided_at,
        reason=unit.reason,
        captured_at=manifest.captured_at,
        size_bytes=manifest.size_bytes,
        points=seal.points if seal else None,
        manifest_sha256=manifest.sha256,
        seal_sha256=seal.sha256 if seal else None,
        proofs=tuple(p.proof_id for p in backup.copy(unit.repository).proofs),
    )


def _outcome(
    unit: ExpireUnit,
    started_at: datetime,
    verdict: str,
    notes: tuple[str, ...],
    detail: Deleted | None = None,
) -> Outcome:
    return Outcome.model_validate(
        {
            "unit": "expire",
            "collection": unit.collection,
            "repository": unit.repository,
            "backup_id": unit.key.backup_id,
            "verdict": verdict,
            "started_at": started_at,
            "ended_at": utc_now(),
            "notes": notes,
            "detail": detail,
        }
    )
