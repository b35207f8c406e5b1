"""Read one copy to a depth, and say what was found and of what it is made."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from qdrant_dr.cancel import stoppable
from qdrant_dr.config import Config
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.progress import points_told, watched
from qdrant_dr.jobs.run.prove_packs import made_of, prove_by_packs
from qdrant_dr.jobs.run.scratch_dir import scratch_folder
from qdrant_dr.jobs.run.units import VerifyUnit
from qdrant_dr.proof import EngineLimits, Examination, ProofLimits, SampleRequest, prove
from qdrant_dr.records import Part
from qdrant_dr.records.proof import MadeOf, reaches
from qdrant_dr.repository import Backup, Repository
from qdrant_dr.repository.pack_verdicts import verdicts_of


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


@dataclass(frozen=True, slots=True)
class Examined:
    """What was found of a copy, of what its parts were made while it was read, and what was read of
    it where that is less than all."""

    exam: Examination
    made_of: tuple[MadeOf, ...] = ()
    bytes_read: int | None = None


def examine(
    config: Config,
    found: Found,
    unit: VerifyUnit,
    run_id: str,
    sample: SampleRequest | None,
    sampled_ids: Sequence[Any],
    keep_replayed: bool,
) -> Examined:
    """Read the copy; only its packs, if that says the same, and all other packs of this run not
    again."""
    made = made_of(found) if sample is None and reaches(unit.depth, "bytes") else None
    if unit.depth == "bytes" and (seen := prove_by_packs(found, made, verdicts_of(run_id))):
        return Examined(seen[0], made.of if made else (), seen[1])
    with scratch_folder(config.capture.spool.path, f"proof-{secrets.token_hex(6)}") as folder:
        exam = prove(
            found.manifest,
            CopyReader(found.repository, found.backup),
            depth=unit.depth,
            folder=folder,
            seal=found.backup.seal,
            sample=sample,
            sampled_ids=sampled_ids,
            keep_replayed=keep_replayed,
            limits=proof_limits(config),
            told=points_told(),
        )
    after = made_of(found) if made is not None and not exam.findings else None
    return Examined(exam, made.of if made and after and made.of == after.of else ())


def proof_limits(config: Config) -> ProofLimits:
    """Return what a proof may use of this machine, as configured."""
    return ProofLimits(
        spool_bytes=config.capture.spool.max,
        engine=EngineLimits(config.proof.memory, config.proof.stall_timeout),
    )
