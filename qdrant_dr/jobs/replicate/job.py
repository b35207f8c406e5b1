"""`replicate`: bring back copies that are missing, behind or proven damaged, then prove them."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from qdrant_dr import layout
from qdrant_dr.config import Config
from qdrant_dr.errors import BytesDiffer, DRError, ObjectMissing
from qdrant_dr.hints import told_with
from qdrant_dr.jobs.replicate.by_blocks import PartCopy
from qdrant_dr.jobs.replicate.mend_packs import mend_packs, nowhere, to_replace
from qdrant_dr.jobs.run.acknowledgements import acknowledgements_of
from qdrant_dr.jobs.run.clocks import clocks_of
from qdrant_dr.jobs.run.healing_steps import (
    DAMAGED,
    damage,
    damage_scope,
    doubt_step,
    heal_step,
)
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.prove import bytes_proof
from qdrant_dr.jobs.run.run import Run, utc_now
from qdrant_dr.jobs.run.scope import selected_backups, selected_repositories
from qdrant_dr.jobs.run.units import HealUnit, Perform, SweepUnit, VerifyUnit
from qdrant_dr.records import BackupKey, Depth, Healed, Outcome, RunEnd
from qdrant_dr.records.base import Frozen
from qdrant_dr.records.proof import depth_rank
from qdrant_dr.repository import (
    Backup,
    Catalog,
    Copy,
    healing_sources,
    newest_proven,
    open_failures,
)


class ReplicateRequest(Frozen):
    """What this run is asked for; None = all. `backups` are selectors like `movies@latest`.

    `vouch`: somebody knows that these backups are ours, though one repository alone names them.
    """

    collections: tuple[str, ...] | None = None
    backups: tuple[str, ...] | None = None
    repositories: tuple[str, ...] | None = None
    vouch: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class Unhealed:
    """A copy that nothing heals."""

    key: BackupKey
    repository: str
    why: str


@dataclass(frozen=True, slots=True)
class HealPlan:
    """What can be healed, what cannot and why, and how many copies were looked at. `known` cannot
    be healed, and somebody has acknowledged it."""

    heals: tuple[HealUnit, ...]
    objections: tuple[str, ...]
    looked_at: int
    known: tuple[Unhealed, ...] = ()


def plan_heals(
    backups: Sequence[Backup],
    repositories: Sequence[str],
    *,
    now: datetime,
    vouched: bool = False,
    proven: Mapping[str, Backup] = MappingProxyType({}),
    quiet: Container[tuple[str, str]] = (),
) -> HealPlan:
    """Plan one unit for each copy that is not whole, with its sources in order of what is known of
    them.

    What one repository alone tells of is not carried into the others, unless it is vouched for.
    `proven` are the newest proven backups of collections; `quiet` what is acknowledged of damaged
    copies, by scope and damage: that nothing heals them is known.
    """
    heals: list[HealUnit] = []
    known: list[Unhealed] = []
    objections: list[str] = []
    looked_at = 0
    for backup in backups:
        if backup.conflict is not None:
            objections.append(told_with(backup.conflict.message, doubt_step(backup) or ""))
            continue
        unknown = backup.witness != "named" and not vouched
        good = healing_sources(backup, now)
        for copy in backup.copies:
            if copy.repository not in repositories or copy.state in ("unreachable", "expired"):
                continue
            looked_at += 1
            if copy.state in ("present", "archived") or (unknown and not copy.committed):
                continue
            others = tuple(s for s in good if s != copy.repository)
            why = _why(copy)
            if not others:
                what = (
                    f"{backup.key} in {copy.repository} is {why}, and no other good copy "
                    + out_of_reach(backup, but=copy.repository)
                )
                last = proven.get(backup.key.collection)
                step = heal_step(backup, copy, now=now, proven=last)
                if (damage_scope(backup, copy), damage(copy)) in quiet:
                    known.append(Unhealed(backup.key, copy.repository, why))
                else:
                    objections.append(told_with(what, step))
                continue
            heals.append(
                HealUnit(key=backup.key, repository=copy.repository, sources=others, why=why)
            )
    return HealPlan(tuple(heals), tuple(objections), looked_at, tuple(known))


def out_of_reach(backup: Backup, *, but: str) -> str:
    """Say which other copies cannot be read now; the next step says what to do then."""
    frozen = [c.repository for c in backup.copies if c.archived and c.repository != but]
    if not frozen:
        return "is left"
    return f"can be read: {', '.join(frozen)} holds one in an archive"


def _why(copy: Copy) -> str:
    failures = open_failures(copy.proofs)
    if failures:
        return f"proven damaged ({failures[-1].findings[0].code if failures[-1].findings else '?'})"
    return copy.state + (f" (lacks {', '.join(copy.lacks)})" if copy.lacks else "")


def plan_reproofs(
    catalog: Catalog, healed: Sequence[Outcome], heals: Sequence[HealUnit]
) -> tuple[VerifyUnit, ...]:
    """Prove what was healed, at least as deep as the failures it must clear."""
    units = []
    for outcome, heal in zip(healed, heals, strict=True):
        if outcome.verdict == "failed":
            continue
        backup = catalog.find(heal.key)
        failures = open_failures(backup.copy(heal.repository).proofs) if backup else ()
        deepest: Depth = max(("bytes", *(f.depth for f in failures)), key=depth_rank)
        units.append(
            VerifyUnit(key=heal.key, repository=heal.repository, depth=deepest, made_by="replicate")
        )
    return tuple(units)


def replicate(config: Config, request: ReplicateRequest, run: Run, perform: Perform) -> RunEnd:
    """Check every copy, heal what can be healed, prove it, sweep, conclude."""
    outcomes: list[Outcome] = []
    try:
        repositories = selected_repositories(config, request.repositories)
        catalog = run.read_catalog(config)
        now = utc_now()
        backups = selected_backups(catalog, config, request.backups, request.collections, now=now)
        opened, away = run.repositories, run.unreachable
        known = acknowledgements_of(config, opened, now=now, lost=away)
        plan = plan_heals(
            backups, repositories, now=now, vouched=request.vouch,
            proven=_newest_proven(config, catalog, now),
            quiet={(a.scope, a.facts) for a in known if a.code == DAMAGED},
        )  # fmt: skip
        run.note_source(backups)
        if request.dry_run:
            return run.preview(config, plan.heals, objections=plan.objections)
        healed = perform(plan.heals)
        outcomes += [*healed, *(_left_as_it_is(u, now) for u in plan.known)]
        run.settle(plan.heals, healed)
        outcomes += perform(plan_reproofs(catalog, healed, plan.heals))
        clocks = clocks_of(config, run, {})
        if clocks.apart is None:
            sweeps = [SweepUnit(repository=n, now=clocks.earliest) for n in run.repositories]
            outcomes += perform(sweeps)
    except DRError as e:
        return run.finish(config, outcomes=outcomes, error=e)
    objections = [*plan.objections, *run.damaged_records(_repaired(plan.heals, healed))]
    if not plan.looked_at:
        objections.append("no copy of any backup could be looked at")
    unswept = (f"nothing was swept: {clocks.apart}",) if clocks.apart else ()
    return run.finish(config, outcomes=outcomes, objections=objections, doubts=unswept)


def _newest_proven(config: Config, catalog: Catalog, now: datetime) -> dict[str, Backup]:
    """By collection."""
    promise = config.objectives.proven
    found = {
        name: newest_proven(catalog.of(name), depth=promise.depth, max_age=promise.max_age, now=now)
        for name in catalog.collections
    }
    return {name: backup for name, backup in found.items() if backup is not None}


def _left_as_it_is(copy: Unhealed, now: datetime) -> Outcome:
    """Of damage that nothing heals and that somebody has acknowledged: told, and no alarm."""
    return Outcome(
        unit="heal",
        collection=copy.key.collection,
        repository=copy.repository,
        backup_id=copy.key.backup_id,
        verdict="skipped",
        started_at=now,
        ended_at=now,
        notes=(f"it is {copy.why}, no other good copy is left, and that is acknowledged",),
    )


def _repaired(heals: Sequence[HealUnit], healed: Sequence[Outcome]) -> frozenset[str]:
    """Records that a heal has put right: the manifest and the seal of the copy."""
    return frozenset(
        f"{unit.repository}/{layout.in_backup(unit.key, file)}"
        for unit, outcome in zip(heals, healed, strict=True)
        if outcome.verdict == "ok"
        for file in (layout.MANIFEST, layout.SEAL)
    )


def heal_copy(config: Config, unit: HealUnit, run_id: str) -> Outcome:
    """Complete one copy from the first source whose bytes equal the manifest's.

    The manifest comes last, as in a backup, behind the seal. A source that gives other bytes gets
    a failed proof and the next one is tried. Raise what the last one raised if none is good.
    """
    started_at = utc_now()
    found = Found(config, unit.key, unit.repository)
    target, manifest = found.repository, found.manifest
    copy = found.backup.copy(unit.repository)
    distrusted = bool(open_failures(copy.proofs))
    repair = mend_packs(config, found, run_id, distrusted=distrusted)
    parts = to_replace(target, found, repair, distrusted=distrusted)
    last: DRError = ObjectMissing(f"none of {', '.join(unit.sources)} can be read now")
    bad = True
    for name in unit.sources:
        source = found.opened.get(name)
        if source is None:
            last = found.failed.get(name, last)
            bad = False
            continue
        copies: list[PartCopy] = []
        try:
            for part in parts:
                copies.append(PartCopy(found, source, part))
                copies[-1].run()
            # the seal first: a copy that has its manifest must not look unsealed
            if found.backup.seal is not None:
                target.repair_seal(found.backup.seal)
            target.repair_manifest(unit.key, manifest.to_bytes())
        except (BytesDiffer, ObjectMissing) as e:
            if not copies or e is not copies[-1].fault:
                raise  # the target's: no proof of the source
            last = e
            proof = bytes_proof(
                found.backup, source, e, bytes_checked=0, run_id=run_id,
                made_by="replicate", started_at=started_at, ended_at=utc_now(),
            )  # fmt: skip
            source.add_proof(proof)
            continue
        return Outcome(
            unit="heal",
            collection=unit.collection,
            repository=unit.repository,
            backup_id=unit.key.backup_id,
            verdict="ok",
            started_at=started_at,
            ended_at=utc_now(),
            detail=Healed(
                source=name,
                parts=len(parts),
                size_bytes=sum(p.size_bytes for p in parts) + repair.stored_bytes,
                why=unit.why,
                packs=len(repair.repaired),
                bytes_read=sum(c.bytes_read for c in copies),
            ),
        )
    if bad:  # known only now: what was to be the source of this copy is as bad
        none = replace(found.backup, copies=(copy,))
        message = last.message + nowhere(repair, found)
        raise type(last)(message, heal_step(none, copy, now=utc_now()))
    raise last
