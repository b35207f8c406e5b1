"""One backup in the making: from the facts before it to its manifest, in every repository.

Captures of nodes and full snapshots make their backups by it; `engine` brings the bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from qdrant_dr.cluster import (
    INSTANCE,
    CollectionFacts,
    NodeFacts,
    SnapshotScope,
    another_life,
    check_gates,
    facts_after,
    incarnation,
    moved_elsewhere,
)
from qdrant_dr.cluster.capture_conditions import lost_replicas, moved_away
from qdrant_dr.cluster.source_nodes import AnsweringNode, SourceNodes
from qdrant_dr.config import Config
from qdrant_dr.errors import CollectionChanged, QuorumMissed, ReplicaMoved
from qdrant_dr.jobs.backup.created_snapshots import Creation
from qdrant_dr.jobs.backup.destinations import Destinations
from qdrant_dr.jobs.backup.manifest import Taken, counted_points, manifest_of
from qdrant_dr.jobs.backup.one_snapshot_per_node import load_of
from qdrant_dr.jobs.backup.prepare import Prepared, prepare
from qdrant_dr.jobs.run.call_journal import CallJournal
from qdrant_dr.jobs.run.clocks import Since
from qdrant_dr.jobs.run.copies_missing import copies_missing
from qdrant_dr.jobs.run.error_facts import error_facts
from qdrant_dr.jobs.run.load_backup import newest_manifest
from qdrant_dr.jobs.run.run import seen_repositories, utc_now
from qdrant_dr.jobs.run.units import CaptureUnit
from qdrant_dr.records import (
    BackupKey,
    Captured,
    Intent,
    KeptSnapshot,
    ListedSnapshot,
    Manifest,
    Outcome,
    Part,
    SnapshotAnswer,
    name_digests,
)
from qdrant_dr.records.manifest import ReplicaCount
from qdrant_dr.repository import new_id, refuse_late_commit
from qdrant_dr.version import __version__


@dataclass(slots=True)
class UncommittedBackup:
    """One collection's backup. `strange` is what says that its name began a new life.

    `listed_before` is what lay there of the collection itself, for a call that is for the instance.
    """

    config: Config
    unit: CaptureUnit
    run_id: str
    key: BackupKey
    destinations: Destinations
    seen: Prepared
    since: Since
    previous: Manifest | None
    strange: tuple[str, ...]
    started_at: datetime
    listed_before: tuple[ListedSnapshot, ...] = ()
    intents: list[Intent] = field(default_factory=list)
    committed: tuple[str, ...] = ()

    @property
    def journal(self) -> CallJournal:
        return CallJournal(self.config.capture.spool.path)

    def intend(
        self,
        source: AnsweringNode,
        scope: SnapshotScope,
        number: int,
        listed: tuple[ListedSnapshot, ...],
        *,
        streamed: bool = False,
    ) -> None:
        """Say what is about to be created, before it is; `listed` is what lies there already."""
        backup_id, full = self.key.backup_id, scope == INSTANCE
        own = SnapshotScope(self.key.collection) if full else scope
        intent = Intent(
            run_id=self.run_id,
            backup_id=backup_id,
            cluster=self.key.cluster,
            collection=self.key.collection,
            node=source.node.url,
            started_at=self.seen.captured_at,
            listed_before=(),
            tool_version=__version__,
            shard=scope.shard,
            streamed=streamed,
            names_before=_names(backup_id, own, self.listed_before if full else listed),
            full_before=_names(backup_id, scope, listed) if full else None,
            asked_at=utc_now(),
        )
        self.intents.append(intent)
        if not streamed:  # a stream leaves nothing on the node
            self.journal.intend(number, intent)
        self.destinations.each(lambda r: r.write_intent(self.key, intent, number))

    def answered(self, created: Creation) -> None:
        """Keep what the server answered to that call."""
        record = SnapshotAnswer(
            backup_id=self.key.backup_id,
            node=created.source.node.url,
            answered_at=created.answered_at,
            snapshot=created.answer,
        )
        self.journal.answered(created.number, record)
        self.destinations.each(lambda r: r.write_answer(self.key, record, created.number))

    def checked(
        self,
        source: AnsweringNode,
        before: CollectionFacts,
        parts: Sequence[Part],
        answered_at: datetime,
        *,
        transferred_at: datetime | None = None,
        uuid: str | None = None,
        without_wal: frozenset[int] = frozenset(),
        doubts: tuple[str, ...] = (),
    ) -> Taken:
        """Read the facts after the capture and check the gates. Raise CollectionChanged."""
        transferred_at = transferred_at or utc_now()
        name = self.key.collection
        after = facts_after(source.node, before)
        if broken := check_gates(before, after, without_wal=without_wal):
            lost = lost_replicas(before, after, without_wal=without_wal)
            # of a full snapshot nothing can be taken again from elsewhere
            moved = self.unit.method != "full" and set(broken) <= set(lost)
            kind = ReplicaMoved if moved else CollectionChanged
            raise kind(f"{name!r} changed while it was captured: {'; '.join(broken)}")
        return Taken(
            source=source,
            parts=tuple(parts),
            before=before,
            after=after,
            answered_at=answered_at,
            transferred_at=transferred_at,
            uuid=uuid,
            doubts=(
                *doubts,
                *moved_away(before, after, without_wal=without_wal),
                *moved_elsewhere(before, after),
            ),
        )

    def commit(
        self,
        taken: Sequence[Taken],
        *,
        doubts: Iterable[str],
        uuid: str | None = None,
        apart: Iterable[ReplicaCount] = (),
    ) -> Manifest:
        """Write the manifest wherever every part was found durable: it is the commit.

        Raise PlanRefused if the capture began too long ago, QuorumMissed if nobody takes it.
        """
        fresh = self.key.backup_id
        manifest = manifest_of(
            self.config,
            self.unit,
            self.run_id,
            self.key,
            taken,
            captured_at=self.seen.captured_at,
            incarnation=incarnation(taken[0].before, self.previous, fresh=fresh, uuid=uuid),
            doubts=_each_once((*doubts, *(d for t in taken for d in t.doubts))),
            apart=tuple(apart),
        )
        refuse_late_commit(self.intents[0], now=self.since.now)
        self.committed = self.destinations.commit(manifest)
        return manifest

    def outcome(
        self,
        manifest: Manifest,
        server_snapshot: str,
        *,
        kept: tuple[KeptSnapshot, ...] = (),
        remarks: Iterable[str] = (),
    ) -> Outcome:
        """Return what became of it. Below quorum the copies that exist stay (one is better than
        none), and the outcome is a failure."""
        left = self.destinations.left_behind
        seen = seen_repositories(self.config, self.destinations.taking_part, {})
        missing = copies_missing(self.committed, seen, self.config.copies)
        notes = [f"{n} left behind: {e.message}" for n, e in left.items()]
        notes += manifest.doubts
        notes += [f"server snapshot {server_snapshot}"] if server_snapshot != "deleted" else []
        return Outcome(
            unit="capture",
            collection=self.key.collection,
            backup_id=self.key.backup_id,
            verdict="failed" if missing else "degraded" if notes else "ok",
            started_at=self.started_at,
            ended_at=utc_now(),
            error=error_facts(QuorumMissed(f"{self.key}: {missing}")) if missing else None,
            notes=(*notes, *remarks),
            detail=Captured(
                size_bytes=manifest.size_bytes,
                points_count=counted_points(manifest),
                committed=self.committed,
                left_behind=left,
                captured_at=manifest.captured_at,
                capture_us=_us(manifest.answered_at - manifest.captured_at),
                transfer_us=_us(manifest.transferred_at - manifest.answered_at),
                server_snapshot=server_snapshot,
                manifest_sha256=manifest.sha256,
                kept=kept,
            ),
        )


def begin(
    config: Config,
    unit: CaptureUnit,
    run_id: str,
    sources: SourceNodes,
    destinations: Destinations,
    started_at: datetime,
) -> UncommittedBackup:
    """Read the facts before the capture, and the previous backup. Raise what forbids the
    capture."""
    seen = prepare(sources, unit, load=load_of(run_id))
    since = Since.then(seen.captured_at)
    key = BackupKey(
        cluster=config.cluster.name,
        collection=unit.collection,
        backup_id=new_id(seen.captured_at),
    )
    opened, now = destinations.taking_part, seen.captured_at
    previous = newest_manifest(config, opened, unit.collection, now=now)
    strange: tuple[str, ...] = ()
    if previous is not None:
        lives = (r for f in seen.facts.values() for r in another_life(f, previous))
        strange = _each_once(new_life(lives))
    elif away := ", ".join(destinations.left_behind):
        strange = (
            f"no earlier backup is known, and {away}, which may know one, could not be asked",
        )
    return UncommittedBackup(
        config, unit, run_id, key, destinations, seen, since, previous, strange, started_at
    )


def new_life(reasons: Iterable[str]) -> tuple[str, ...]:
    """Return the doubts that a name stands for another collection than last time."""
    return tuple(f"a new life of this name since the last backup: {r}" for r in reasons)


def clock_doubts(config: Config, nodes: Sequence[NodeFacts]) -> tuple[str, ...]:
    """Name nodes whose clock is off: the times in their records cannot be compared with ours."""
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


def _names(
    backup_id: str, scope: SnapshotScope, listed: Iterable[ListedSnapshot]
) -> tuple[str, ...]:
    """What an intent says of the names that lay there before its call: of those that a call may
    give, so that it is known later which one is new. What else lies there is nobody's business."""
    return name_digests(backup_id, (s.name for s in listed if scope.may_hold(s.name)))


def _each_once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _us(span: timedelta) -> int:
    """Whole microseconds, never below none."""
    return max(0, span // timedelta(microseconds=1))
