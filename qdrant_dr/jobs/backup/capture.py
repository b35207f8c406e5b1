"""Capture one collection: facts, intent, create, answer, one read, N writes, gates, manifests."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from qdrant_dr.cluster import (
    CollectionFacts,
    NodeFacts,
    another_life,
    another_uuid,
    incarnation,
)
from qdrant_dr.cluster.replica_counts import apart_words
from qdrant_dr.cluster.source_nodes import open_sources
from qdrant_dr.config import Config
from qdrant_dr.errors import CollectionChanged, Interrupted, QuorumMissed
from qdrant_dr.jobs.backup.destinations import TakingPart
from qdrant_dr.jobs.backup.leftovers import all_kept, delete_created
from qdrant_dr.jobs.backup.node_locks import load_of
from qdrant_dr.jobs.backup.nodes import look
from qdrant_dr.jobs.backup.space import judge_capture
from qdrant_dr.jobs.backup.transfer import Taken, Taking
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.clocks import Since
from qdrant_dr.jobs.run.conclude import copies_missing
from qdrant_dr.jobs.run.lookup import newest_manifest
from qdrant_dr.jobs.run.run import error_facts, seen_repositories, utc_now, versions
from qdrant_dr.jobs.run.scratch_dir import scratch_folder
from qdrant_dr.jobs.run.units import CaptureUnit
from qdrant_dr.records import (
    BackupKey,
    Captured,
    KeptSnapshot,
    Manifest,
    Outcome,
    ShardFacts,
    SourceNode,
)
from qdrant_dr.records.manifest import ReplicaCount, SourceKind
from qdrant_dr.repository import new_id, refuse_late_commit
from qdrant_dr.version import __version__

log = logging.getLogger(__name__)

_WORST_LAST = ("green", "grey", "yellow", "red")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one capture once all of it was taken."""

    captured_at: datetime
    incarnation: str
    taken: tuple[Taken, ...]
    doubts: tuple[str, ...]
    apart: tuple[ReplicaCount, ...] = ()

    @property
    def answered_at(self) -> datetime:
        """When the last create call was answered."""
        return max(t.answered_at for t in self.taken)

    @property
    def transferred_at(self) -> datetime:
        """When the last byte had come."""
        return max(t.transferred_at for t in self.taken)

    @property
    def points(self) -> int | None:
        """Exact, right after it; None if a shard could not be counted."""
        counts = [t.after.counts.get(s.shard) for t in self.taken for s in t.before.shards]
        return None if None in counts else sum(c for c in counts if c is not None)


def capture(config: Config, unit: CaptureUnit, run_id: str) -> Outcome:
    """Make one backup of one collection in every repository of the unit.

    The manifest is the commit; it is written only where every part was found durable, after the
    gates held. Below quorum what there is stays (one copy beats none) and the unit fails.
    Raise PlanRefused, CollectionChanged, SnapshotUnanswered, QuorumMissed or what the layers raise.
    """
    started_at = utc_now()
    opened, failed = open_all(config, unit.repositories)
    targets = TakingPart(opened, {name: error_facts(e) for name, e in failed.items()})
    targets.each(lambda _: None)
    with open_sources(config, unit.nodes) as sources:
        seen = look(sources, unit, load=load_of(run_id))
        since = Since.then(seen.captured_at)
        key = BackupKey(
            cluster=config.cluster.name,
            collection=unit.collection,
            backup_id=new_id(seen.captured_at),
        )
        previous, strange = history(
            config, targets, tuple(seen.facts.values()), now=seen.captured_at
        )
        space = judge_capture(config, unit, seen, previous, targets.taking_part)
        with scratch_folder(config.capture.spool.path, f"capture-{key.backup_id}") as folder:
            taking = Taking(config, unit, run_id, key, targets, sources, folder, seen.captured_at)
            try:
                taken = taking.all(seen)
            except Interrupted:
                # asked to end: no manifest will ever name these, and no sweep may come for long
                if (left := _delete(taking)[0]) != "deleted":
                    log.warning("%s: server snapshot %s", key, left)
                raise
            uuid = _one_uuid(unit.collection, taken)
            doubts = (
                *seen.doubts,
                *space.doubts,
                *clock_doubts(config, [t.source.about for t in taken]),
            )
            doubts += (*strange, *_new_life(another_uuid(uuid, previous)), *taking.doubts)
            doubts += sources.silent
            apart = tuple(dict.fromkeys(taking.apart))
            doubts += apart_words(apart, _peers_of(taken))
            facts = Facts(
                captured_at=seen.captured_at,
                incarnation=incarnation(taken[0].before, previous, fresh=key.backup_id, uuid=uuid),
                taken=tuple(taken),
                doubts=_each_once((*doubts, *(d for t in taken for d in t.doubts))),
                apart=apart,
            )
            refuse_late_commit(taking.intents[0], now=since.now)
            manifest = manifest_of(config, unit, run_id, key, facts)
            committed = targets.commit(manifest)
            said, kept = _clean_up(taking, committed)
    missing = copies_missing(committed, seen_repositories(config, opened, failed), config.copies)
    notes = [f"{n} left behind: {e.message}" for n, e in targets.left_behind.items()]
    notes += facts.doubts
    notes += [f"server snapshot {said}"] if said != "deleted" else []
    return Outcome(
        unit="capture",
        collection=unit.collection,
        backup_id=key.backup_id,
        verdict="failed" if missing else "degraded" if notes else "ok",
        started_at=started_at,
        ended_at=utc_now(),
        error=error_facts(QuorumMissed(f"{key}: {missing}")) if missing else None,
        notes=(*notes, *space.remarks),
        detail=Captured(
            size_bytes=manifest.size_bytes,
            points_count=facts.points,
            committed=committed,
            left_behind=targets.left_behind,
            captured_at=facts.captured_at,
            capture_us=us(facts.answered_at - facts.captured_at),
            transfer_us=us(facts.transferred_at - facts.answered_at),
            server_snapshot=said,
            manifest_sha256=manifest.sha256,
            kept=kept,
        ),
    )


def clock_doubts(config: Config, nodes: Sequence[NodeFacts]) -> tuple[str, ...]:
    """Nodes whose clock is off: times of their records cannot be laid beside ours."""
    limit = config.cluster.clock_skew_limit
    found = []
    for about in nodes:
        whose = "the node" if len(nodes) == 1 else about.url
        if about.clock is None:
            found.append(f"{whose} does not tell its time: its clock could not be compared")
        elif about.clock.exceeds(limit):
            found.append(
                f"{whose}'s clock is {about.clock.offset_ms / 1000:+.0f} s from ours, "
                f"{limit.total_seconds():.0f} s are allowed: synchronise them (NTP)"
            )
    return tuple(found)


def history(
    config: Config, targets: TakingPart, before: Sequence[CollectionFacts], *, now: datetime
) -> tuple[Manifest | None, tuple[str, ...]]:
    """The backup before this one, and what is strange about it: a name that began a new life."""
    previous = newest_manifest(config, targets.taking_part, before[0].collection, now=now)
    if previous is None:
        away = ", ".join(targets.left_behind)
        lost = f"no earlier backup is known, and {away}, which may know one, could not be asked"
        return None, (lost,) if away else ()
    return previous, _each_once(_new_life(r for f in before for r in another_life(f, previous)))


def _new_life(reasons: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"a new life of this name since the last backup: {r}" for r in reasons)


def _peers_of(taken: Sequence[Taken]) -> dict[int, int | None]:
    """Which peer gave each shard."""
    return {shard: p.peer_id for t in taken for p in t.parts for shard in p.shards}


def _one_uuid(collection: str, taken: Sequence[Taken]) -> str | None:
    """The life that all archives are of. Raise CollectionChanged if they are of several."""
    found = {t.uuid for t in taken}
    if len(found) > 1:
        raise CollectionChanged(
            f"{collection!r} was replaced while it was captured: its archives are of "
            + ", ".join(sorted(map(str, found)))
        )
    return found.pop()


def _numbers(version: str) -> list[int]:
    """A version as it is ordered."""
    return [int(n) for n in re.findall(r"\d+", version)[:3]]


def manifest_of(
    config: Config, unit: CaptureUnit, run_id: str, key: BackupKey, facts: Facts
) -> Manifest:
    """The record of one capture. Pure."""
    taken = sorted(facts.taken, key=lambda t: t.parts[0].shards)
    first = taken[0]
    # in the middle of an upgrade: what reads or restores all parts must cover the newest
    newest = max((t.source.about for t in taken), key=lambda about: _numbers(about.version))
    sources = tuple(
        SourceNode(
            url=t.source.about.url,
            peer_id=t.source.about.peer_id,
            version=t.source.about.version,
            clock_offset_ms=t.source.about.clock.offset_ms if t.source.about.clock else None,
        )
        for t in taken
    )
    return Manifest(
        backup_id=key.backup_id,
        run_id=run_id,
        cluster=key.cluster,
        collection=key.collection,
        incarnation=facts.incarnation,
        source_kind=_kind(taken),
        method=unit.method,
        method_reason=unit.method_reason,
        captured_at=facts.captured_at,
        answered_at=facts.answered_at,
        transferred_at=facts.transferred_at,
        clock_offset_ms=sources[0].clock_offset_ms,
        server_version=newest.version,
        server_commit=newest.commit,
        engine_version=versions()["qdrant-edge-py"],
        tool_version=__version__,
        config_sha256=config.sha256,
        parts=tuple(sorted((p for t in taken for p in t.parts), key=lambda p: p.shards)),
        shards=tuple(sorted((s for t in taken for s in _shard_facts(t)), key=lambda s: s.shard)),
        aliases=first.before.aliases,
        status=max((t.before.status for t in taken), key=_badness),
        doubts=facts.doubts,
        note=unit.note,
        collection_info=json.dumps(first.before.info, ensure_ascii=False, separators=(",", ":")),
        collection_cluster=first.before.cluster_json,
        shard_keys=first.before.shard_keys_json,
        sources=sources if len(sources) > 1 else (),
        apart=facts.apart,
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


def _kind(taken: Sequence[Taken]) -> SourceKind:
    sandbox = any(t.source.about.source_kind == "sandbox" for t in taken)
    return "sandbox" if sandbox else "server"


def _badness(status: str) -> int:
    return _WORST_LAST.index(status) if status in _WORST_LAST else len(_WORST_LAST)


def _clean_up(taking: Taking, committed: tuple[str, ...]) -> tuple[str, tuple[KeptSnapshot, ...]]:
    """Delete what our calls made on the servers, once enough manifests were read back."""
    quorum = taking.config.copies.quorum
    if len(committed) < quorum:
        return f"kept: only {len(committed)} of {quorum} copies hold it", all_kept(taking.created)
    return _delete(taking)


def _delete(taking: Taking) -> tuple[str, tuple[KeptSnapshot, ...]]:
    """Say "deleted", or what was kept and why; and where."""
    peers = taking.config.cluster.peers
    return delete_created(taking.created, peers, taking.journal, taking.key.backup_id)


def _each_once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def us(span: timedelta) -> int:
    """Whole microseconds, never below none."""
    return max(0, span // timedelta(microseconds=1))
