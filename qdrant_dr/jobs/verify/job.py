"""`verify`: read copies and prove them to a depth."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from qdrant_dr import layout
from qdrant_dr.config import Config
from qdrant_dr.errors import DRError
from qdrant_dr.hints import told_with
from qdrant_dr.jobs.run.backup_selector import FIRST
from qdrant_dr.jobs.run.healing_steps import doubt_step, heal_step
from qdrant_dr.jobs.run.load_backup import Found, archive_skip
from qdrant_dr.jobs.run.prove import prove_copy
from qdrant_dr.jobs.run.run import Run, utc_now
from qdrant_dr.jobs.run.scope import selected_backups, selected_repositories
from qdrant_dr.jobs.run.units import Perform, VerifyUnit
from qdrant_dr.jobs.verify.on_server import prove_restored
from qdrant_dr.records import Depth, Outcome, Proved, RunEnd
from qdrant_dr.records.base import Frozen
from qdrant_dr.repository import Backup, Copy, newest, proof_of, sound
from qdrant_dr.repository.catalog import by_collection
from qdrant_dr.repository.proven import needs_seal


class VerifyRequest(Frozen):
    """What this run is asked for; None = as configured, or all.

    `sample_per_mille` looks at a seeded part of the bytes: quick, and never `proven`.
    `not_proven_since_hours` leaves out copies with a full proof of this depth younger than that.
    """

    collections: tuple[str, ...] | None = None
    backups: tuple[str, ...] | None = None
    repositories: tuple[str, ...] | None = None
    which: Literal["latest", "all"] = "latest"
    depth: Depth | None = None
    sample_per_mille: int | None = Field(None, gt=0, lt=1000)
    seed: int | None = None
    not_proven_since_hours: int | None = Field(None, ge=0)
    dry_run: bool = False


def plan_verify(
    config: Config, request: VerifyRequest, backups: Sequence[Backup], *, now: datetime
) -> tuple[tuple[VerifyUnit, ...], tuple[str, ...], int]:
    """Return the units, longest unproven first; objections; and how many copies were left out as
    fresh.

    A copy that cannot be verified because it is missing or its backup is in conflict is an
    objection: silence would read as health.
    """
    repositories = selected_repositories(config, request.repositories)
    depth = request.depth or ("bytes" if request.sample_per_mille else _configured(config))
    ranked: list[tuple[datetime, VerifyUnit]] = []
    objections: list[str] = []
    fresh = 0
    for backup in _chosen(request, backups, now):
        if backup.conflict is not None:
            objections.append(told_with(backup.conflict.message, doubt_step(backup) or ""))
            continue
        for copy in backup.copies:
            if copy.repository not in repositories or copy.state in ("unreachable", "expired"):
                continue
            if only_archived(copy):
                continue  # told apart: it is not there to be read, and nothing is wrong with it
            if not copy.committed or copy.archived:
                what = f"{backup.key} in {copy.repository} is {copy.state}"
                objections.append(told_with(what, heal_step(backup, copy, now=now)))
                continue
            proof = proof_of(copy, depth=depth, now=now)
            if proof and sound(backup, copy) and _younger(proof.ended_at, request, now):
                fresh += 1
                continue
            unit = VerifyUnit(
                key=backup.key,
                repository=copy.repository,
                depth=depth,
                sample_per_mille=request.sample_per_mille,
                seed=request.seed,
                unread=copy.unread,
            )
            last = proof.ended_at if proof else backup.manifest.captured_at - timedelta(days=36500)
            ranked.append((last, unit))
    ranked.sort(key=lambda pair: (pair[0], pair[1].label))
    return tuple(unit for _, unit in ranked), tuple(objections), fresh


def only_archived(copy: Copy) -> bool:
    """Say whether a copy cannot be read and nothing else is wrong with it. A seal that is still
    missing does not count: `replicate` brings it."""
    if copy.state == "behind" and copy.committed:
        return bool(copy.archived) and set(copy.lacks) <= {"seal"}
    return copy.state == "archived"


def unread(
    config: Config, request: VerifyRequest, backups: Sequence[Backup], *, now: datetime
) -> tuple[tuple[Outcome, ...], tuple[str, ...]]:
    """Skip the chosen copies that lie in an archive, each with the reason, and report a doubt for
    those of which nobody knows when they can be read. Meanwhile their last proof grows old."""
    repositories = selected_repositories(config, request.repositories)
    skipped, doubts = [], []
    for backup in _chosen(request, backups, now):
        for copy in backup.copies:
            if not only_archived(copy) or copy.repository not in repositories:
                continue
            skipped.append(archive_skip("verify", backup, copy, now))
            if not copy.within_reach:
                doubts.append(f"{backup.key} in {copy.repository} was not verified: {copy.archive}")
    return tuple(skipped), tuple(doubts)


def _chosen(request: VerifyRequest, backups: Sequence[Backup], now: datetime) -> Sequence[Backup]:
    if request.which != "latest" or request.backups is not None:
        return backups
    found = (newest(of_it, now=now) for _, of_it in sorted(by_collection(backups).items()))
    return [b for b in found if b is not None]


def _configured(config: Config) -> Depth:
    return config.objectives.proven.depth


def _younger(proved_at: datetime, request: VerifyRequest, now: datetime) -> bool:
    if request.not_proven_since_hours is None:
        return False
    return now - proved_at < timedelta(hours=request.not_proven_since_hours)


def verify(config: Config, request: VerifyRequest, run: Run, perform: Perform) -> RunEnd:
    """Prove the chosen copies and conclude: one that fails makes the run fail."""
    outcomes: list[Outcome] = []
    try:
        catalog = run.read_catalog(config)
        now = utc_now()
        backups = selected_backups(catalog, config, request.backups, request.collections, now=now)
        units, objections, fresh = plan_verify(config, request, backups, now=now)
        archived, doubts = unread(config, request, backups, now=now)
        run.note_source(backups)
        if request.dry_run:
            return run.preview(config, units, objections=objections, doubts=doubts)
        # of an unsealed backup one copy goes first: its seal is what the others are compared with
        unsealed = {b.key for b in backups if b.seal is None}
        first = {u.key: u for u in reversed(units) if u.key in unsealed}
        ahead = [u for u in units if first.get(u.key) is u]
        then = [u for u in units if u not in ahead]
        outcomes += perform(ahead)
        outcomes += perform(then)
    except DRError as e:
        return run.finish(config, outcomes=outcomes, error=e)
    objections = (*objections, *run.damaged_records(_made_up_for([*ahead, *then], outcomes)))
    if not outcomes and not fresh:
        nothing = (
            "no copy was there to verify"
            if backups
            else told_with("there is nothing to verify", FIRST)
        )
        objections = (*objections, nothing)
    return run.finish(config, outcomes=[*outcomes, *archived], objections=objections, doubts=doubts)


def _made_up_for(units: Sequence[VerifyUnit], outcomes: Sequence[Outcome]) -> frozenset[str]:
    """Proofs that could not be read, of copies whose content was proven as a whole by this run: it
    names them, and they stand against nothing any more."""
    return frozenset(
        f"{unit.repository}/{layout.PROOFS}/{unit.key.folder}/{proof_id}.json"
        for unit, outcome in zip(units, outcomes, strict=True)
        if isinstance(d := outcome.detail, Proved)
        and d.passed
        and unit.sample_per_mille is None
        and needs_seal(d.depth)
        for proof_id in unit.unread
    )


def verify_copy(config: Config, unit: VerifyUnit, run_id: str) -> Outcome:
    """Prove one copy, keep the proof beside it, seal the backup if this is its first content proof.

    A copy that fails is a failed outcome with its proof written; raise only what kept us from
    looking at all.
    """
    started_at = utc_now()
    found = Found(config, unit.key, unit.repository, unread=unit.unread)
    prove = prove_restored if unit.depth == "restore" else prove_copy
    proved = prove(config, found, unit, run_id)
    proof = proved.proof
    found.repository.add_proof(proof)
    notes = list(proved.notes)
    if proof.passed and not proved.sealed:
        notes += [
            f"{words}: that says nothing of the copy; ask a server with "
            f"`qdrant-dr verify {unit.key} --depth restore`"
            for words in proved.unasked
        ]
    return Outcome(
        unit="verify",
        collection=unit.collection,
        repository=unit.repository,
        backup_id=unit.key.backup_id,
        verdict="failed" if not proof.passed else "degraded" if notes else "ok",
        started_at=started_at,
        ended_at=utc_now(),
        error=proved.error,
        notes=(*notes, *proved.remarks),
        detail=Proved(
            proof_id=proof.proof_id,
            depth=proof.depth,
            reached=proof.reached,
            passed=proof.passed,
            bytes_checked=proof.bytes_checked,
            points_checked=proof.points_checked,
            sealed=proved.sealed,
        ),
    )
