"""Prove one copy of a backup to a depth, each depth including the ones before.

    presence    every object exists with its size
    bytes       SHA-256 of every byte, or a seeded sample of blocks
    structure   the archives are complete, and of this collection and these shards
    load        the engine opens every shard, replays its log, and counts exactly
    content     fingerprints of every point equal the seal; without a seal they are read to make one
    search      the archive's own indexes find what they found when it was sealed

Bytes are read once: hashed, unpacked and checked in one pass. A fault of the copy is a finding; a
fault of this machine or of the way to the copy is raised, unless something was already found. If an
engine crashes over a part without a message, the part is read once more: a crash that happens again
is the part's fault.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

from qdrant_dr.errors import (
    NothingChecked,
    UsageError,
)
from qdrant_dr.proof.blocks import SampleRequest
from qdrant_dr.proof.engine import Engine, require_engine
from qdrant_dr.proof.examiner import Examiner
from qdrant_dr.proof.proof_result import Examination, ProofLimits, Reader
from qdrant_dr.proof.readback import (
    Told,
)
from qdrant_dr.proof.search import unanswerable
from qdrant_dr.records import Depth, Manifest, ProvableDepth, Seal
from qdrant_dr.records.proof import reaches


def prove(
    manifest: Manifest,
    reader: Reader,
    *,
    depth: Depth,
    folder: Path,
    seal: Seal | None = None,
    sample: SampleRequest | None = None,
    sampled_ids: Sequence[int | str] = (),
    keep_replayed: bool = False,
    alone: bool = False,
    limits: ProofLimits | None = None,
    told: Told | None = None,
) -> Examination:
    """Examine one copy to `depth`; scratch files are below `folder` and are removed afterwards.

    `sampled_ids` are points whose digests to return; `keep_replayed` also returns the points that
    the log brought. `alone` checks only what `depth` itself adds, as if the depths before had
    passed. `told` hears how many points of how many are read. Raise EngineTooOld, EngineHindered,
    EngineStalled, StorageFull or RepositoryError if the copy could not be examined here,
    NothingChecked if there was nothing to examine or its seal has no searches."""
    if depth not in get_args(ProvableDepth):
        raise UsageError(f"depth {depth} needs a running server")
    if depth == "search" and seal and (silent := unanswerable(seal, manifest)):
        raise NothingChecked(
            f"the seal of {manifest.key} has {silent}: it was made before this depth existed, or "
            "its "
            "indexes could not be asked",
            "verify it to depth `content`; back up again for a seal that can be searched.",
        )
    if sample and depth != "bytes":
        raise UsageError(f"a sample is possible at depth bytes only, not at {depth}")
    if reaches(depth, "load"):
        require_engine(manifest.server_version)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="proof-", dir=folder) as scratch, ExitStack() as stack:
        work = Examiner(manifest, reader, depth, seal, limits or ProofLimits(), Path(scratch))
        work.sampled_ids, work.keep_replayed, work.alone = sampled_ids, keep_replayed, alone
        work.told = told
        if sample:
            return work.sampled(sample)
        for _ in range(work.engines_wanted()):
            engine = Engine(Path(scratch) / "engine", work.limits.engine)
            work.engines.append(stack.enter_context(engine))
        return work.full()
