"""Is what a server restored what was backed up? Every point of it, and its payload indexes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from qdrant_dr.cluster import Node, collection_facts, differences, scroll_points
from qdrant_dr.config import Config
from qdrant_dr.errors import ContentDiffers
from qdrant_dr.jobs.copies import Found
from qdrant_dr.jobs.prove import proof_limits
from qdrant_dr.proof import Comparison, compare_served, prove
from qdrant_dr.records import Part


@dataclass(frozen=True, slots=True)
class FileReader:
    """The bytes of a backup that was fetched into a folder, for the proof layer."""

    archives: Path

    def sizes(self, part: Part) -> int | None:
        return (self.archives / part.file).stat().st_size

    def blocks(self, part: Part, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        with (self.archives / part.file).open("rb") as data:
            data.seek(start)
            left = (end if end is not None else part.size_bytes) - start
            while left > 0 and (block := data.read(min(left, 2**20))):
                left -= len(block)
                yield block


def compare_restored(
    config: Config, found: Found, target: Node, name: str, folder: Path, archives: Path
) -> Comparison:
    """Every point that the target serves against the seal, and its payload indexes.

    Vectors that a server replayed from the log may differ in the last bits from what sealed the
    backup: then they are held against this machine's own reading of the same bytes.
    """
    seal, manifest = found.backup.seal, found.manifest
    assert seal is not None
    facts = collection_facts(target, name)
    limit = facts.max_query_limit
    comparison = compare_served(scroll_points(target, name, limit=limit), seal.shards)
    if comparison.faults and any(s.replayed_ids for s in seal.shards):
        reading = prove(
            manifest, FileReader(archives), depth="content", folder=folder, seal=seal,
            keep_replayed=True,
            limits=proof_limits(config),
        )  # fmt: skip
        if reading.passed and reading.read_back is not None:
            comparison = compare_served(
                scroll_points(target, name, limit=limit),
                seal.shards,
                reading.read_back.replayed_points,
            )
    unlike = differences(json.loads(manifest.collection_info), facts.info)
    lost = tuple(ContentDiffers(words) for words in unlike if words.startswith("payload index "))
    return replace(comparison, faults=(*comparison.faults, *lost))
