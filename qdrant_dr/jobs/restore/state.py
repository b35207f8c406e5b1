"""One restore at work: what it is to do, with what, and what it has come to so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from qdrant_dr.cluster import Node
from qdrant_dr.cluster.collection_config import creation_body
from qdrant_dr.cluster.target import TargetFacts
from qdrant_dr.config import Config
from qdrant_dr.jobs.restore.journal import Journal, OpenJournal
from qdrant_dr.jobs.restore.next_copy import Sources
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.stopwatch import Stopwatch
from qdrant_dr.jobs.run.units import RestoreUnit
from qdrant_dr.records import Manifest
from qdrant_dr.records.manifest import SourceKind


@dataclass(slots=True)
class Result:
    """What a restore has come to so far; kept if it fails half-way. `whole`: every point is there,
    equal to the seal, or after a salvage, which is never called equal, to what was read."""

    target_kind: SourceKind | None = None
    server_version: str | None = None
    points_restored: int | None = None
    fingerprint_equal: bool | None = None
    whole: bool = False
    lost_ids: tuple[int | str, ...] = ()
    aliases_set: tuple[str, ...] = ()
    aliases_left: tuple[str, ...] = ()
    created: bool = False
    stays: bool = False
    removed: list[str] = field(default_factory=list)
    resumed: bool = False
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Work:
    """All of one restore; the journal is locked, so there is no other into this name."""

    config: Config
    unit: RestoreUnit
    restore_id: str
    found: Found
    sources: Sources
    node: Node
    journal: OpenJournal
    folder: Path
    watch: Stopwatch
    result: Result

    @property
    def manifest(self) -> Manifest:
        return self.found.manifest

    @property
    def begun(self) -> Journal:
        """Return the journal as it is written down now."""
        assert self.journal.now is not None
        return self.journal.now

    def body(self, target: TargetFacts) -> dict[str, object]:
        """Build the body that creates the collection."""
        return creation_body(
            self.manifest.info,
            replication_factor=self.unit.replication_factor,
            clustered=target.clustered,
        )
