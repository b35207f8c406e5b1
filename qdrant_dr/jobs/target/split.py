"""The shards of a node's archive as files of the spool, each with its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from qdrant_dr.cluster.split_archive import ShardSplitter
from qdrant_dr.errors import StorageFull
from qdrant_dr.quantities import format_size
from qdrant_dr.records import Part


@dataclass(frozen=True, slots=True)
class Cut:
    """One shard's archive, laid down in `file`."""

    shard: int
    file: Path
    size_bytes: int
    sha256: str

    def blocks(self) -> Iterator[bytes]:
        with self.file.open("rb") as data:
            while block := data.read(2**20):
                yield block


def cut_shards(blocks: Iterable[bytes], part: Part, folder: Path, *, limit: int) -> list[Cut]:
    """Cut a collection archive into its shards. Raise what the blocks raise, at the latest at
    their end: then none of the pieces is to be believed. Raise ArchiveError, StorageFull.
    """
    if part.size_bytes > limit:
        raise StorageFull(
            f"{part.file} has {format_size(part.size_bytes)}, the spool may hold "
            f"{format_size(limit)}",
            "raise `capture.spool.max`.",
        )
    found: list[Cut] = []
    for shard, archive in ShardSplitter(blocks, part.shards, part.file).shards():
        file, digest, size = folder / f"shard-{shard}.snapshot", hashlib.sha256(), 0
        try:
            with file.open("wb") as out:
                for block in archive:
                    digest.update(block)
                    size += len(block)
                    out.write(block)
        except OSError as e:
            raise StorageFull(
                f"{part.file} cannot be cut at {folder.parent}: {e.strerror}",
                "set `capture.spool.path` to where there is room.",
            ) from None
        found.append(Cut(shard, file, size, digest.hexdigest()))
    return found
