"""Prove one copy, seal its backup the first time, and turn what was found into a record."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from qdrant_dr.config import Config
from qdrant_dr.errors import (
    CatalogIncomplete,
    DRError,
    ProofError,
    RecordError,
    RepositoryError,
    SearchDiffers,
)
from qdrant_dr.hints import command, filled
from qdrant_dr.jobs.run.agree_on_seal import agree_on_seal, seal_may_be_hidden
from qdrant_dr.jobs.run.examine import Examined, examine
from qdrant_dr.jobs.run.live_sample import live_sample
from qdrant_dr.jobs.run.load_backup import Found, sealed_before
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.units import VerifyUnit
from qdrant_dr.proof import (
    SampleRequest,
    compare_with_seal,
    engine_version,
    plan_seal,
)
from qdrant_dr.proof.findings import finding, findings
from qdrant_dr.proof.seal import fallen_indexes, unasked
from qdrant_dr.records import Depth, ErrorFacts, Finding, Proof, Seal, Searched
from qdrant_dr.records.proof import reaches
from qdrant_dr.repository import Backup, Copy, Repository, healing_sources, new_id, open_failures

MadeBy = Literal["backup", "verify", "drill", "replicate", "restore"]


@dataclass(frozen=True, slots=True)
class ProvedCopy:
    """The proof, the first thing that is wrong, what is doubtful, and whether this sealed it.

    `remarks` are no doubts: what is true of the source as well. `unasked` says why the proof is
    less deep than it was to be; that is our trouble, not the copy's. `seal` is the one it was
    compared with, `replayed_points` what `keep_replayed` asked for.
    """

    proof: Proof
    error: ErrorFacts | None
    notes: tuple[str, ...]
    sealed: bool
    seal: Seal | None = None
    replayed_points: tuple[Mapping[str, Any], ...] = ()
    remarks: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()


def prove_copy(
    config: Config,
    found: Found,
    unit: VerifyUnit,
    run_id: str,
    *,
    made_by: MadeBy | None = None,
    keep_replayed: bool = False,
) -> ProvedCopy:
    """Examine one copy; if the backup has no seal yet and the depth allows one, make it.

    Raise what kept us from looking, or from sealing: of that there is no proof. What is wrong with
    the copy is in the result.
    """
    started_at = utc_now()
    backup, manifest = found.backup, found.manifest
    sealing = backup.seal is None and reaches(unit.depth, "content")
    live = live_sample(config, manifest) if sealing else None
    sample = None
    if unit.sample_per_mille is not None:
        seed = unit.seed if unit.seed is not None else secrets.randbelow(2**31)
        sample = SampleRequest(unit.sample_per_mille, seed)
    wanted = list(dict.fromkeys(i for _, i in live.points)) if live else []
    examined = examine(config, found, unit, run_id, sample, wanted, keep_replayed)
    exam = examined.exam
    wrong = list(exam.findings)
    seal, sealed, notes = backup.seal, False, list(exam.defects)
    held = exam.reached is not None and reaches(exam.reached, "content")
    if sealing and held and exam.read_back is not None:
        # of a backup made in this very run nobody else can have a seal
        if (made_by or unit.made_by) != "backup" and (hidden := seal_may_be_hidden(found)):
            raise CatalogIncomplete(
                f"{unit.key} in {unit.repository} was not sealed: {hidden}",
                "run it again when everything named can be read: see `qdrant-dr check`.",
            )
        try:
            before = sealed_before(config, found.opened, manifest, now=utc_now())
            planned = plan_seal(
                manifest,
                exam.read_back,
                live,
                before.previous,
                drift_limit=config.drift_limit_of(manifest.collection),
                now=utc_now(),
                baseline=before.baseline,
            )
            seal = agree_on_seal(found, planned)
            sealed = seal == planned
            if sealed:
                notes += (f"sealed without questions: {why}" for why in unasked(exam.read_back))
                # told once, like all that the source is reproached with
                notes += fallen_indexes(exam.read_back, before.previous)
            else:  # another proof was first: what we read must be what it sealed
                faults = compare_with_seal(exam.read_back, seal, manifest).faults
                wrong += findings(faults)
        except (ProofError, RepositoryError, RecordError) as e:
            seal = None
            wrong.append(finding(e))
    proof = _proof(
        found, examined, seal, wrong,
        depth="content" if exam.unasked and not wrong else unit.depth,
        run_id=run_id, made_by=made_by or unit.made_by, started_at=started_at,
    )  # fmt: skip
    # told once, by whoever seals it: from then on it is a finding of the report, until accepted
    notes += (f"suspect: {reason}" for reason in (seal.suspect if seal and sealed else ()))
    remarks = dict.fromkeys((*exam.remarks, *(seal.remarks if seal else ())))
    return ProvedCopy(
        proof, _first(wrong, unit, found, exam.reached), tuple(notes), sealed, seal,
        exam.read_back.replayed_points if exam.read_back else (),
        remarks=tuple(r for r in remarks if r not in {*notes, *exam.unasked}),
        unasked=exam.unasked,
    )  # fmt: skip


def _first(
    wrong: Sequence[Finding], unit: VerifyUnit, found: Found, reached: Depth | None
) -> ErrorFacts | None:
    """The first finding, and how it goes on: from another copy, unless that has the same bytes and
    what is wrong is in them."""
    if not wrong:
        return None
    others = [s for s in healing_sources(found.backup, utc_now()) if s != unit.repository]
    as_captured = reached is not None and reaches(reached, "bytes")
    sealed = found.backup.seal is not None and unit.made_by != "replicate"
    if wrong[0].code == SearchDiffers.code:
        hint = filled(SearchDiffers.default_hint, backup=str(unit.key))
    elif others and (sealed or not as_captured):
        hint = f"run `{command('replicate', str(unit.key))}` to heal it from another copy."
    else:
        hint = f"run `{command('backup', unit.collection)}`: no other copy is better."
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return ErrorFacts(
        code=wrong[0].code,
        message=f"{unit.key} in {unit.repository}: {wrong[0].message}{more}",
        hint=hint,
    )


def _proof(
    found: Found,
    examined: Examined,
    seal: Seal | None,
    wrong: Sequence[Finding],
    *,
    depth: Depth,
    run_id: str,
    made_by: MadeBy,
    started_at: datetime,
) -> Proof:
    exam = examined.exam
    reached = exam.reached
    if len(wrong) > len(exam.findings):  # what failed is the sealing: content is not reached
        reached = "load"
    passed = not wrong and reached == depth
    copy = found.backup.copy(found.repository.name)
    content = reaches(depth, "content")
    ended_at = utc_now()
    return Proof(
        proof_id=new_id(ended_at),
        run_id=run_id,
        made_by=made_by,
        **_about(found.backup, found.repository),
        started_at=started_at,
        ended_at=ended_at,
        depth=depth,
        reached=reached,
        passed=passed,
        sample=exam.sample,
        bytes_expected=exam.bytes_expected,
        bytes_checked=exam.bytes_checked,
        points_expected=seal.points if seal and content else exam.points_expected,
        points_checked=exam.points_checked,
        replayed_within_tolerance=exam.within_tolerance,
        seal_sha256=seal.sha256 if seal and content else None,
        engine=exam.engine,
        findings=tuple(wrong),
        clears=cleared(copy, depth, passed=passed and exam.sample is None),
        searched=exam.searched,
        made_of=examined.made_of if passed else (),
        bytes_read=examined.bytes_read,
    )


def restore_proof(
    found: Found,
    seal: Seal,
    faults: Sequence[DRError],
    searched: Searched | None,
    *,
    reached: Depth,
    points: int,
    within_tolerance: int,
    server_version: str,
    run_id: str,
    made_by: MadeBy,
    started_at: datetime,
) -> Proof:
    """Build a proof of depth `restore`: what a running server made of a copy whose bytes were all
    read.

    `reached` is the depth that was proven without the server, and holds if there are `faults`.
    Raise the first of them if none blames the copy.
    """
    wrong = findings(faults)
    copy = found.backup.copy(found.repository.name)
    ended_at = utc_now()
    return Proof(
        proof_id=new_id(ended_at),
        run_id=run_id,
        made_by=made_by,
        **_about(found.backup, found.repository),
        started_at=started_at,
        ended_at=ended_at,
        depth="restore",
        reached=reached if wrong else "restore",
        passed=not wrong,
        bytes_expected=found.manifest.size_bytes,
        bytes_checked=found.manifest.size_bytes,
        points_expected=seal.points,
        points_checked=points,
        replayed_within_tolerance=within_tolerance,
        seal_sha256=seal.sha256,
        engine=engine_version(),
        findings=wrong,
        clears=cleared(copy, "restore", passed=not wrong),
        searched=searched,
        server_version=server_version,
    )


def cleared(copy: Copy, depth: Depth, *, passed: bool) -> tuple[str, ...]:
    """Return what a passing full proof of this depth supersedes: open failures that were no deeper
    and, if it compared content, proofs that cannot be read any more. Pure."""
    if not passed:
        return ()
    failures = [f for f in open_failures(copy.proofs) if reaches(depth, f.depth)]
    content = reaches(depth, "content")
    return (*(f.proof_id for f in failures), *(copy.unread if content else ()))


def bytes_proof(
    backup: Backup,
    repository: Repository,
    error: DRError | None,
    *,
    bytes_checked: int,
    run_id: str,
    made_by: MadeBy,
    started_at: datetime,
    ended_at: datetime,
) -> Proof:
    """Build a proof of what a transfer saw of one copy: every byte good, or what was wrong. Pure.

    Raise the error itself if it only kept the transfer from looking.
    """
    return Proof(
        proof_id=new_id(ended_at),
        run_id=run_id,
        made_by=made_by,
        **_about(backup, repository),
        started_at=started_at,
        ended_at=ended_at,
        depth="bytes",
        reached="presence" if error else "bytes",
        passed=error is None,
        bytes_expected=backup.manifest.size_bytes,
        bytes_checked=min(bytes_checked, backup.manifest.size_bytes),
        engine=engine_version(),
        findings=(finding(error),) if error else (),
        clears=cleared(backup.copy(repository.name), "bytes", passed=error is None),
    )


def _about(backup: Backup, repository: Repository) -> dict[str, object]:
    manifest = backup.manifest
    return {
        "backup_id": manifest.backup_id,
        "cluster": manifest.cluster,
        "collection": manifest.collection,
        "captured_at": manifest.captured_at,
        "size_bytes": manifest.size_bytes,
        "manifest_sha256": manifest.sha256,
        "repository_id": repository.id,
        "location": repository.location,
    }
