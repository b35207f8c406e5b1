"""From what was taken of a collection to its manifest. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from qdrant_dr.cluster import CollectionFacts
from qdrant_dr.cluster.source_nodes import AnsweringNode
from qdrant_dr.config import Config
from qdrant_dr.jobs.run.run_identity import versions
from qdrant_dr.jobs.run.units import CaptureUnit
from qdrant_dr.records import BackupKey, Manifest, Part, ShardFacts, SourceNode
from qdrant_dr.records.manifest import ReplicaCount
from qdrant_dr.version import __version__

_WORST_LAST = ("green", "grey", "yellow", "red")


@dataclass(frozen=True, slots=True)
class Taken:
    """The parts from one node, and the facts around them, of the very replicas they are of."""

    source: AnsweringNode
    parts: tuple[Part, ...]
    before: CollectionFacts
    after: CollectionFacts
    answered_at: datetime
    transferred_at: datetime
    uuid: str | None = None
    doubts: tuple[str, ...] = ()


def manifest_of(
    config: Config,
    unit: CaptureUnit,
    run_id: str,
    key: BackupKey,
    taken: Sequence[Taken],
    *,
    captured_at: datetime,
    incarnation: str,
    doubts: tuple[str, ...],
    apart: tuple[ReplicaCount, ...],
) -> Manifest:
    """Build the record of one capture, once all of it was taken."""
    taken = sorted(taken, key=lambda t: t.parts[0].shards)
    before = taken[0].before
    # in the middle of an upgrade: what reads or restores all parts must cover the newest
    newest = max((t.source.about for t in taken), key=lambda about: _numbers(about.version))
    sources = tuple(_source_node(t) for t in taken)
    sandbox = any(t.source.about.source_kind == "sandbox" for t in taken)
    return Manifest(
        backup_id=key.backup_id,
        run_id=run_id,
        cluster=key.cluster,
        collection=key.collection,
        incarnation=incarnation,
        source_kind="sandbox" if sandbox else "server",
        method=unit.method,
        method_reason=unit.method_reason,
        captured_at=captured_at,
        answered_at=max(t.answered_at for t in taken),
        transferred_at=max(t.transferred_at for t in taken),
        clock_offset_ms=sources[0].clock_offset_ms,
        server_version=newest.version,
        server_commit=newest.commit,
        engine_version=versions()["qdrant-edge-py"],
        tool_version=__version__,
        config_sha256=config.sha256,
        parts=tuple(sorted((p for t in taken for p in t.parts), key=lambda p: p.shards)),
        shards=tuple(sorted((s for t in taken for s in _shard_facts(t)), key=lambda s: s.shard)),
        aliases=before.aliases,
        status=max((t.before.status for t in taken), key=_badness),
        doubts=doubts,
        note=unit.note,
        collection_info=json.dumps(before.info, ensure_ascii=False, separators=(",", ":")),
        collection_cluster=before.cluster_json,
        shard_keys=before.shard_keys_json,
        sources=sources if len(sources) > 1 else (),
        apart=apart,
    )


def counted_points(manifest: Manifest) -> int | None:
    """Return the exact number of points right after the capture; None if a shard could not be
    counted."""
    counts = [s.count_after for s in manifest.shards]
    return None if None in counts else sum(c for c in counts if c is not None)


def _source_node(taken: Taken) -> SourceNode:
    about = taken.source.about
    return SourceNode(
        url=about.url,
        peer_id=about.peer_id,
        version=about.version,
        clock_offset_ms=about.clock.offset_ms if about.clock else None,
    )


def _shard_facts(taken: Taken) -> list[ShardFacts]:
    operations, counts = taken.after.operations, taken.after.counts
    return [
        ShardFacts(
            shard=s.shard,
            shard_key=s.shard_key,
            operation_before=s.operation,
            operation_after=operations.get(s.shard),
            count_before=s.count,
            count_after=counts.get(s.shard),
        )
        for s in taken.before.shards
    ]


def _numbers(version: str) -> list[int]:
    """A version as it is ordered."""
    return [int(n) for n in re.findall(r"\d+", version)[:3]]


def _badness(status: str) -> int:
    return _WORST_LAST.index(status) if status in _WORST_LAST else len(_WORST_LAST)
