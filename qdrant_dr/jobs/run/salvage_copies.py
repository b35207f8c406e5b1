"""Unpack the copies of a part as far as possible: the first whose bytes are right, or all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from qdrant_dr.cancel import stoppable
from qdrant_dr.errors import DRError, Interrupted
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.proof import lay_out
from qdrant_dr.proof.unpack import LaidOut, Limits
from qdrant_dr.quantities import format_size
from qdrant_dr.records import Part
from qdrant_dr.repository import Repository, rank_sources
from qdrant_dr.verified_read import Tally


def laid_copies(
    found: Found, part: Part, folder: Path, notes: list[str], used: dict[str, None]
) -> list[LaidOut]:
    """Unpack a part below `folder`: from one copy whose bytes are the manifest's, else from all.

    Copies with the right bytes are all alike; damaged ones may hold what another has lost. What was
    wrong is added to `notes`, whose copies are read to `used`. Raise StorageFull or Interrupted.
    """
    damaged: list[LaidOut] = []
    for repository in _copies(found):
        where = folder / f"{part.name}-{repository.name}"
        laid, whole = _lay_out(found, repository, part, where, notes)
        used[repository.name] = None
        if whole:
            return [laid]
        damaged.append(laid)
    notes.append(f"no copy of {part.file} has the bytes of its manifest")
    return damaged


def _copies(found: Found) -> list[Repository]:
    first = found.repository
    ranked = [s.copy.repository for s in rank_sources(found.backup, now=utc_now()) if s.readable]
    return [first, *(found.opened[n] for n in ranked if n != first.name and n in found.opened)]


def _lay_out(
    found: Found, repository: Repository, part: Part, where: Path, notes: list[str]
) -> tuple[LaidOut, bool]:
    """Unpack what one copy yields, and say whether its bytes are those of the manifest."""
    where.mkdir(parents=True, exist_ok=True)
    tally = Tally(part.size_bytes, part.sha256)
    fault: list[DRError] = []

    gone: list[tuple[DRError, int]] = []

    def lost(error: DRError, size: int) -> None:
        gone.append((error, size))

    def blocks() -> Iterator[bytes]:
        try:
            yield from stoppable(repository.read_damaged(found.backup.key, part, lost))
        except Interrupted:
            raise
        except DRError as e:  # a copy that ends early is read up to there
            fault.append(e)

    passing = tally.watch(blocks())
    limits = Limits.of_part(part.size_bytes, shutil.disk_usage(where).free)
    laid = lay_out(
        passing, where, kind=part.kind, shard=part.shards[0], limits=limits,
        name=f"{part.file} of {repository.name}", salvage=True,
    )  # fmt: skip
    for _ in passing:
        pass  # the hash is of all bytes, also behind a fault
    if gone:
        size = format_size(sum(size for _, size in gone))
        notes.append(f"{part.file} of {repository.name} lacks {size}: {gone[0][0].message}")
    notes += [error.message for error in (*fault, *laid.faults)]
    return laid, tally.whole
