"""Is what a server restored what was backed up? Every point of it, and its payload indexes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qdrant_dr.cluster import Node, collection_facts, scroll_points
from qdrant_dr.config import Config
from qdrant_dr.errors import ContentDiffers
from qdrant_dr.jobs.copies import Found
from qdrant_dr.jobs.prove import proof_limits
from qdrant_dr.proof import Comparison, compare_served, prove
from qdrant_dr.records import Part


@dataclass(frozen=True, slots=True)
class FileReader:
    """The bytes of an archive that was fetched, for the proof layer."""

    archive: Path

    def sizes(self, _part: Part) -> int | None:
        return self.archive.stat().st_size

    def blocks(self, part: Part, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        with self.archive.open("rb") as data:
            data.seek(start)
            left = (end if end is not None else part.size_bytes) - start
            while left > 0 and (block := data.read(min(left, 2**20))):
                left -= len(block)
                yield block


def compare_restored(
    config: Config, found: Found, target: Node, name: str, folder: Path, archive: Path
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
            manifest, FileReader(archive), depth="content", folder=folder, seal=seal,
            keep_replayed=True,
            limits=proof_limits(config),
        )  # fmt: skip
        if reading.passed and reading.read_back is not None:
            comparison = compare_served(
                scroll_points(target, name, limit=limit),
                seal.shards,
                reading.read_back.replayed_points,
            )
    lost = _lost_indexes(json.loads(manifest.collection_info), facts.info)
    if not lost:
        return comparison
    fault = ContentDiffers(f"payload indexes are not restored: {', '.join(lost)}")
    return Comparison((*comparison.faults, fault), comparison.points, comparison.within_tolerance)


def _lost_indexes(source: dict[str, object], restored: dict[str, object]) -> list[str]:
    """Indexed fields of the source that the target does not index alike: a restore can lose them
    and still answer 200 (measured on 1.18.3 with an archive cut before its last member)."""

    def schema(info: dict[str, object]) -> dict[str, object]:
        found = info.get("payload_schema")
        entries = found if isinstance(found, dict) else {}
        return {
            name: (field.get("data_type"), json.dumps(field.get("params"), sort_keys=True))
            for name, field in entries.items()
        }

    wanted, there = schema(source), schema(restored)
    return sorted(name for name, kind in wanted.items() if there.get(name) != kind)
