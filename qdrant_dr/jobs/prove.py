"""Prove one copy, seal its backup the first time, and turn what was found into a record."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from qdrant_dr.cluster import collection_facts, sample_points
from qdrant_dr.config import Config
from qdrant_dr.errors import CatalogIncomplete, DRError, ProofError, RepositoryError
from qdrant_dr.jobs.capture import node_of
from qdrant_dr.jobs.copies import Found, previous_seal
from qdrant_dr.jobs.progress import watched
from qdrant_dr.jobs.run import utc_now
from qdrant_dr.jobs.scratch import scratch_folder
from qdrant_dr.jobs.stop import stoppable
from qdrant_dr.jobs.units import VerifyUnit
from qdrant_dr.proof import (
    EngineLimits,
    Examination,
    LiveSample,
    ProofLimits,
    SampleRequest,
    compare_with_seal,
    digest_point,
    engine_version,
    plan_seal,
    prove,
)
from qdrant_dr.records import (
    DEPTHS,
    Depth,
    ErrorFacts,
    Finding,
    Manifest,
    Part,
    Proof,
    Seal,
)
from qdrant_dr.repository import Backup, Copy, Repository, new_id, open_failures

LIVE_SAMPLE = 64
"""Points of the source that are compared with the archive, where nothing is being written."""

MadeBy = Literal["backup", "verify", "drill", "replicate"]


@dataclass(frozen=True, slots=True)
class ProvedCopy:
    """The proof, the first thing that is wrong, what is doubtful, and whether this sealed it."""

    proof: Proof
    error: ErrorFacts | None
    notes: tuple[str, ...]
    sealed: bool


@dataclass(frozen=True, slots=True)
class CopyReader:
    """The bytes of one copy, for the proof layer."""

    repository: Repository
    backup: Backup

    def sizes(self, part: Part) -> int | None:
        return self.repository.part_size(self.backup.key, part)

    def blocks(self, part: Part, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        read = self.repository.read_part(self.backup.key, part, start, end)
        return stoppable(watched(read, (end or part.size_bytes) - start))


def prove_copy(
    config: Config, found: Found, unit: VerifyUnit, run_id: str, *, made_by: MadeBy | None = None
) -> ProvedCopy:
    """Examine one copy; if the backup has no seal yet and the depth allows, make it.

    Raise what kept us from looking at all; what is wrong with the copy is in the result.
    """
    started_at = utc_now()
    backup, manifest = found.backup, found.manifest
    sealing = backup.seal is None and DEPTHS.index(unit.depth) >= DEPTHS.index("content")
    live = _live_sample(config, manifest) if sealing else None
    sample = None
    if unit.sample_per_mille is not None:
        seed = unit.seed if unit.seed is not None else secrets.randbelow(2**31)
        sample = SampleRequest(unit.sample_per_mille, seed)
    with scratch_folder(config.capture.spool.path, f"proof-{secrets.token_hex(6)}") as folder:
        exam = prove(
            manifest,
            CopyReader(found.repository, backup),
            depth=unit.depth,
            folder=folder,
            seal=backup.seal,
            sample=sample,
            sampled_ids=list(live.points) if live else (),
            limits=proof_limits(config),
        )
    findings = list(exam.findings)
    seal, sealed = backup.seal, False
    hidden = found.may_seal() if sealing and (made_by or unit.made_by) != "backup" else None
    if hidden is not None:  # of a backup made in this very run nobody else can have a seal
        findings.append(Finding(code=CatalogIncomplete.code, message=hidden))
    if sealing and exam.read_back is not None and not findings:
        try:
            planned = plan_seal(
                manifest,
                exam.read_back,
                live,
                previous_seal(config, found.opened, manifest),
                drift_limit=config.objectives.drift_limit,
                now=utc_now(),
            )
            seal = found.share_seal(planned)
            sealed = seal == planned
            if not sealed:  # another proof was first: what we read must be what it sealed
                faults = compare_with_seal(exam.read_back, seal, manifest).faults
                findings += [Finding(code=f.code, message=f.message) for f in faults]
        except (ProofError, RepositoryError) as e:
            seal = None
            findings.append(Finding(code=e.code, message=e.message))
    elif sealing and not findings:
        findings.append(Finding(code="nothing-checked", message="no point was read for a seal"))
    proof = _proof(
        found, exam, seal, findings,
        depth=unit.depth, run_id=run_id, made_by=made_by or unit.made_by, started_at=started_at,
    )  # fmt: skip
    notes = [f"suspect: {reason}" for reason in (seal.suspect if seal else ())]
    return ProvedCopy(proof, _first(findings, unit, seal=backup.seal), tuple(notes), sealed)


def proof_limits(config: Config) -> ProofLimits:
    """What a proof may use of this machine, as configured."""
    return ProofLimits(
        spool_bytes=config.capture.spool.max,
        engine=EngineLimits(config.proof.memory, config.proof.stall_timeout),
    )


UNSEALABLE = ("operation-behind", "count-differs", "content-differs", "nothing-checked")
"""What is wrong with an archive itself where there is no seal yet: every copy of it has it."""


def _first(
    findings: Sequence[Finding], unit: VerifyUnit, *, seal: Seal | None
) -> ErrorFacts | None:
    if not findings:
        return None
    hint = f"run `qdrant-dr replicate {unit.key}` to heal it from a proven copy."
    if findings[0].code == CatalogIncomplete.code:
        hint = "run it again when everything named can be read: see `qdrant-dr check`."
    elif seal is None and findings[0].code in UNSEALABLE:
        hint = f"no other copy is better: run `qdrant-dr backup {unit.collection}` again."
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    return ErrorFacts(
        code=findings[0].code,
        message=f"{unit.key} in {unit.repository}: {findings[0].message}{more}",
        hint=hint,
    )


def _proof(
    found: Found,
    exam: Examination,
    seal: Seal | None,
    findings: Sequence[Finding],
    *,
    depth: Depth,
    run_id: str,
    made_by: MadeBy,
    started_at: datetime,
) -> Proof:
    passed = exam.passed and not findings
    reached = exam.reached
    if findings and reached == depth:  # what failed is the sealing: content is not reached
        reached = DEPTHS[DEPTHS.index(depth) - 1]
    copy = found.backup.copy(found.repository.name)
    content = DEPTHS.index(depth) >= DEPTHS.index("content")
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
        findings=tuple(findings),
        clears=cleared(copy, depth, passed=passed and exam.sample is None),
    )


def cleared(copy: Copy, depth: Depth, *, passed: bool) -> tuple[str, ...]:
    """What a passing full proof of this depth supersedes: open failures that were no deeper, and,
    if it compared content, proofs that cannot be read any more. Pure."""
    if not passed:
        return ()
    failures = [
        f for f in open_failures(copy.proofs) if DEPTHS.index(f.depth) <= DEPTHS.index(depth)
    ]
    content = DEPTHS.index(depth) >= DEPTHS.index("content")
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
    """A proof of what a transfer saw of one copy: every byte good, or what was wrong. Pure."""
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
        findings=(Finding(code=error.code, message=error.message),) if error else (),
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


def _live_sample(config: Config, manifest: Manifest) -> LiveSample | None:
    """Seeded points of the source, if nothing was written since the capture; else None.

    A source that cannot be asked makes a weaker seal (`reference: self`), never a failed one.
    """
    node_url = manifest.parts[0].node
    if not manifest.quiet or node_url not in config.cluster.nodes:
        return None  # a key goes to configured addresses only: manifests come out of buckets
    after = {s.shard: s.operation_after for s in manifest.shards}
    try:
        with node_of(config, node_url) as node:
            before = collection_facts(node, manifest.collection)
            if before.operations != after or before.deferred_points:
                return None
            points = sample_points(
                node, manifest.collection, count=LIVE_SAMPLE, seed=manifest.backup_id,
                limit=before.max_query_limit,
            )  # fmt: skip
            if collection_facts(node, manifest.collection).operations != after:
                return None
    except DRError:
        return None
    return LiveSample({p["id"]: digest_point(p) for p in points})
