"""The takes of one capture: create, answer, one read, parts in N repositories, facts and gates."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from qdrant_dr.cluster import (
    CollectionFacts,
    Reframing,
    SnapshotScope,
    Take,
    blocks_of,
    check_gates,
    checksum_doubts,
    collection_facts,
    create_snapshot,
    list_snapshots,
    moved_elsewhere,
    placement,
    stream_shard,
    whole_shard,
)
from qdrant_dr.cluster.gates import lost_replicas, moved_away
from qdrant_dr.cluster.replicas import FULL
from qdrant_dr.cluster.source_nodes import Source, Sources
from qdrant_dr.config import Config
from qdrant_dr.errors import (
    AccessDenied,
    ArchiveError,
    ClusterError,
    CollectionChanged,
    CollectionVanished,
    Interrupted,
    PlanRefused,
    ReplicaMoved,
    StorageFull,
)
from qdrant_dr.jobs.backup.destinations import TakingPart
from qdrant_dr.jobs.backup.node_locks import add_load, alone_on, load_of
from qdrant_dr.jobs.backup.nodes import Look, look
from qdrant_dr.jobs.run.call_journal import CallJournal
from qdrant_dr.jobs.run.cancel import stopping
from qdrant_dr.jobs.run.progress import Together
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.units import CaptureUnit
from qdrant_dr.proof import BlockDigests
from qdrant_dr.quantities import format_size
from qdrant_dr.records import (
    BackupKey,
    Intent,
    ListedSnapshot,
    Part,
    SnapshotAnswer,
    name_digests,
)
from qdrant_dr.records.manifest import ReplicaCount
from qdrant_dr.repository import fan_out
from qdrant_dr.stop import rest
from qdrant_dr.version import __version__

log = logging.getLogger(__name__)

WHOLE = "collection"
_READ = 2**20
NAME_SECONDS = 1.1
MOVES = 3
"""So often shards whose replica moved meanwhile are taken again."""
_ELSEWHERE_TOO = (AccessDenied, CollectionChanged, CollectionVanished)
"""What another replica of the same collection would answer as well."""


@dataclass(frozen=True, slots=True)
class Creation:
    """One create call that was answered: what may be deleted once the backup is safe. `number`
    counts the calls of the backup."""

    number: int
    source: Source
    shelf: SnapshotScope
    answer: ListedSnapshot
    listed_before: tuple[ListedSnapshot, ...]


@dataclass(frozen=True, slots=True)
class Taken:
    """The parts from one node, and the facts around them, of the very replicas they are of."""

    source: Source
    parts: tuple[Part, ...]
    before: CollectionFacts
    after: CollectionFacts
    answered_at: datetime
    transferred_at: datetime
    uuid: str | None = None
    doubts: tuple[str, ...] = ()


@dataclass(slots=True)
class Taking:
    """One capture while its parts are taken. `intents` are of all create calls, `created` those
    that were answered, `doubts` what went wrong and was mended on the way, and what was doubtful
    where a shard was looked for again; `apart` are replicas that differ."""

    config: Config
    unit: CaptureUnit
    run_id: str
    key: BackupKey
    targets: TakingPart
    sources: Sources
    folder: Path
    captured_at: datetime
    intents: list[Intent] = field(default_factory=list)
    created: list[Creation] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    journal: CallJournal = field(init=False)
    apart: list[ReplicaCount] = field(default_factory=list)
    _round: int = 1
    _named_until: dict[tuple[str, SnapshotScope], float] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _stop: threading.Event = field(default_factory=threading.Event)
    _progress: Together = field(default_factory=Together)

    def __post_init__(self) -> None:
        self.journal = CallJournal(self.config.capture.spool.path)

    def all(self, first: Look) -> list[Taken]:
        """Take everything, peers in parallel. What a peer cannot give is looked for at another
        full replica of the shard, as long as there is one; else its error is raised."""
        taken: list[Taken] = []
        plan = first
        self.apart += first.apart
        while True:
            for take in plan.takes:
                add_load(self.run_id, plan.sources[take.peer].node.url, len(take.shards))
            done, failed = self._in_parallel(plan)
            taken += done
            if not failed:
                return taken
            plan = self._elsewhere(plan, failed)

    def _in_parallel(self, plan: Look) -> tuple[list[Taken], dict[Take, ClusterError]]:
        """One thread per peer. An error that no other peer can mend ends them all."""
        whole = self._whole(plan)

        def one(take: Take) -> Taken | ClusterError:
            try:
                source, before = plan.sources[take.peer], plan.facts[take.peer]
                return self._take(source, take, before, whole=whole)
            except ClusterError as e:
                if self.sources.clustered and _mendable(e):
                    return e
                self._stop.set()
                raise
            except BaseException:
                self._stop.set()
                raise

        with ThreadPoolExecutor(len(plan.takes), thread_name_prefix="take") as pool:
            futures = {t: pool.submit(copy_context().run, one, t) for t in plan.takes}
        errors = [e for f in futures.values() if (e := f.exception()) is not None]
        if errors:  # that others were then asked to stop is not the reason
            raise next((e for e in errors if not isinstance(e, Interrupted)), errors[0])
        results = {take: future.result() for take, future in futures.items()}
        return (
            [r for r in results.values() if isinstance(r, Taken)],
            {take: r for take, r in results.items() if isinstance(r, ClusterError)},
        )

    def _whole(self, plan: Look) -> bool:
        """One server, one archive: it is kept as it is, restorable with Qdrant's own tools."""
        automatic = all(f.sharding_method == "auto" for f in plan.facts.values())
        return self.unit.method == "collection" and not self.sources.clustered and automatic

    def _elsewhere(self, plan: Look, failed: Mapping[Take, ClusterError]) -> Look:
        for take, error in failed.items():
            source = plan.sources[take.peer]
            if isinstance(error, ReplicaMoved):  # the node is well, and may have other shards
                if self._round > MOVES:
                    raise error
                how = "they were taken again, from where they are now"
            else:
                self.sources.lose(source, error)
                how = "they were taken from other replicas"
            self.doubts.append(
                f"{source.node.url} could not give shards {list(take.shards)} ({error.message}): "
                + how
            )
        shards = {shard for take in failed for shard in take.shards}
        self._round += 1
        try:
            plan = look(self.sources, self.unit, load=load_of(self.run_id), shards=shards)
        except (PlanRefused, ClusterError) as e:
            error = next(iter(failed.values()))
            raise type(error)(f"{error.message}; {e.message}", error.hint) from None
        self.doubts += plan.doubts
        self.apart += plan.apart
        return plan

    def _take(self, source: Source, take: Take, before: CollectionFacts, *, whole: bool) -> Taken:
        parts: list[Part] = []
        try:
            if self.unit.method == "collection":
                return self._from_archive(source, take, before, parts, whole=whole)
            return self._shard_by_shard(source, take, before, parts)
        except BaseException as e:
            for part in parts:
                self.targets.take_back(self.key, part.file)
            if isinstance(e, ArchiveError) and (gone := self._gone(source, take)):
                where = f"shards {gone} are not on {source.node.url} any more"
                raise ReplicaMoved(f"{e.message}: {where}") from None
            raise

    def _gone(self, source: Source, take: Take) -> list[int]:
        """Which of them this node of a cluster does not hold in full any more."""
        if not self.sources.clustered:
            return []
        now = placement(source.node, self.key.collection)
        full = {r.shard for r in now.replicas if r.local and r.state in FULL}
        return sorted(set(take.shards) - full)

    def _from_archive(
        self,
        source: Source,
        take: Take,
        before: CollectionFacts,
        parts: list[Part],
        *,
        whole: bool,
    ) -> Taken:
        """One collection snapshot of the node: kept as it is, or cut into its shards in passing."""
        created, asked_at, answered_at = self._create(source, SnapshotScope(self.key.collection))
        answer = created.answer
        blocks = self._progress.watched(
            self._unless_stopped(
                blocks_of(source.node, created.shelf, answer, self.config.cluster, stop=stopping)
            ),
            answer.size_bytes,
        )
        uuid, without = None, frozenset[int]()
        if whole:
            kept: dict[str, object] = {"kind": "collection", "shards": take.shards, "wal": True}
            kept |= {"node": source.node.url, **_said_of(answer)}
            parts.append(self._store(WHOLE, blocks, answer.size_bytes, kept))
        else:
            peer = source.about.peer_id
            reframing = Reframing(blocks, take.shards, answer.name, peer=peer)
            for shard, archive in reframing.shards():
                kept = self._shard_part(source, shard, asked_at, answered_at)
                kept |= {"reframed": True, **_said_of(answer)}
                stored = self._store(self._part_name(shard), archive, answer.size_bytes, kept)
                logged = shard in reframing.logged  # known now, at the end of its archive
                parts.append(stored.model_copy(update={"wal": logged}))
            if set(reframing.every) != before.shard_ids:
                raise CollectionChanged(
                    f"{answer.name} names shards {sorted(reframing.every)} of "
                    f"{self.key.collection!r}, {source.node.url} told of {sorted(before.shard_ids)}"
                )
            uuid = reframing.uuid
            without = frozenset(take.shards) - reframing.logged
        return self._checked(
            source, before, parts, answered_at,
            uuid=uuid, without_wal=without, doubts=checksum_doubts(answer, self.config.cluster),
        )  # fmt: skip

    def _shard_by_shard(
        self, source: Source, take: Take, before: CollectionFacts, parts: list[Part]
    ) -> Taken:
        """One archive per shard, one after the other, none of them with a log."""
        doubts: list[str] = []
        last = utc_now()
        for shard in take.shards:
            if self.unit.method == "shard":
                part, last = self._stored_shard(source, shard, doubts)
            else:
                part, last = self._streamed_shard(source, shard)
            parts.append(part)
        return self._checked(
            source, before, parts, last,
            without_wal=frozenset(take.shards), doubts=tuple(doubts),
        )  # fmt: skip

    def _stored_shard(self, source: Source, shard: int, doubts: list[str]) -> tuple[Part, datetime]:
        shelf = SnapshotScope(self.key.collection, shard)
        created, asked_at, answered_at = self._create(source, shelf)
        answer = created.answer
        doubts += checksum_doubts(answer, self.config.cluster)
        blocks = blocks_of(source.node, shelf, answer, self.config.cluster, stop=stopping)
        watched = self._progress.watched(self._unless_stopped(blocks), answer.size_bytes)
        kept = {**self._shard_part(source, shard, asked_at, answered_at), **_said_of(answer)}
        name = self._part_name(shard)
        return self._store(name, watched, answer.size_bytes, kept), answered_at

    def _streamed_shard(self, source: Source, shard: int) -> tuple[Part, datetime]:
        """Into the spool at the speed of the node, for it gives up on one that waits; and only
        what is whole goes further."""
        collection, url = self.key.collection, source.node.url
        file = self.folder / f"shard-{shard}"
        with alone_on(url):
            number, asked_at = next(self._numbers), utc_now()
            self._intend(source, SnapshotScope(collection, shard), number, (), streamed=True)
            blocks = stream_shard(source.node, collection, shard, stop=stopping)
            size = self._spool(self._unless_stopped(blocks), file)
        answered_at = utc_now()
        try:
            what = f"the stream of shard {shard} of {collection!r} from {url}"
            whole_shard(_read(file), what, peer=source.about.peer_id)
            watched = self._progress.watched(self._unless_stopped(_read(file)), size)
            kept = self._shard_part(source, shard, asked_at, answered_at)
            return self._store(self._part_name(shard), watched, size, kept), answered_at
        finally:
            file.unlink()

    def _shard_part(
        self, source: Source, shard: int, asked_at: datetime, answered_at: datetime
    ) -> dict[str, object]:
        return {
            "kind": "shard",
            "shards": (shard,),
            "wal": False,
            "node": source.node.url,
            "peer_id": source.about.peer_id,
            "asked_at": asked_at,
            "answered_at": answered_at,
        }

    def _create(self, source: Source, shelf: SnapshotScope) -> tuple[Creation, datetime, datetime]:
        """Intent, create, answer; each node makes one snapshot at a time."""
        with alone_on(source.node.url):
            self._refuse_stopped()
            # names have a resolution of one second: a second call in it would overwrite the first
            rest(max(0.0, self._named_until.get((source.node.url, shelf), 0) - time.monotonic()))
            number, asked_at = next(self._numbers), utc_now()
            listed = list_snapshots(source.node, shelf)
            self._intend(source, shelf, number, listed)
            answer = create_snapshot(source.node, shelf, stop=stopping)
            self._named_until[source.node.url, shelf] = time.monotonic() + NAME_SECONDS
        answered_at = utc_now()
        created = Creation(number, source, shelf, answer, listed)
        self.created.append(created)
        record = SnapshotAnswer(
            backup_id=self.key.backup_id,
            node=source.node.url,
            answered_at=answered_at,
            snapshot=answer,
        )
        self.journal.answered(number, record)
        self.targets.each(lambda r: r.write_answer(self.key, record, number))
        return created, asked_at, answered_at

    def _intend(
        self,
        source: Source,
        shelf: SnapshotScope,
        number: int,
        listed: tuple[ListedSnapshot, ...],
        *,
        streamed: bool = False,
    ) -> None:
        intent = Intent(
            run_id=self.run_id,
            backup_id=self.key.backup_id,
            cluster=self.key.cluster,
            collection=self.key.collection,
            node=source.node.url,
            started_at=self.captured_at,
            listed_before=(),
            tool_version=__version__,
            shard=shelf.shard,
            streamed=streamed,
            names_before=new_to(self.key.backup_id, shelf, listed),
            asked_at=utc_now(),
        )
        self.intents.append(intent)
        if not streamed:  # a stream leaves nothing on the node
            self.journal.intend(number, intent)
        self.targets.each(lambda r: r.write_intent(self.key, intent, number))

    def _part_name(self, shard: int) -> str:
        """A shard that is taken again gets another name: a part is never written over."""
        return f"shard-{shard}" if self._round == 1 else f"shard-{shard}-{self._round}"

    def _store(
        self, name: str, blocks: Iterable[bytes], size_hint: int, about: Mapping[str, object]
    ) -> Part:
        """One stream into every repository that takes part. Raise QuorumMissed if none is left."""
        digests = BlockDigests()
        try:
            written = fan_out(
                digests.watch(blocks),
                {
                    n: partial(r.part_sink, self.key, f"{name}.snapshot", size_hint)
                    for n, r in list(self.targets.taking_part.items())
                },
                stall_timeout=self.config.copies.stall_timeout,
                stopped=lambda: stopping.is_set() or self._stop.is_set(),
            )
        except Interrupted:  # the fast may have all of it while the slow are waited for
            self.targets.take_back(self.key, f"{name}.snapshot")
            raise
        for n, error in written.left_behind.items():
            self.targets.leave(n, error)
        self.targets.each(lambda _: None)
        receipt = next(iter(written.receipts.values()))
        return Part.model_validate(
            {
                "name": name,
                "size_bytes": receipt.size_bytes,
                "sha256": receipt.sha256,
                "blocks": digests.digests,
                **about,
            }
        )

    def _checked(
        self,
        source: Source,
        before: CollectionFacts,
        parts: list[Part],
        answered_at: datetime,
        *,
        uuid: str | None = None,
        without_wal: frozenset[int],
        doubts: tuple[str, ...],
    ) -> Taken:
        """Facts after it, and the gates. Raise CollectionChanged."""
        transferred_at = utc_now()
        after = collection_facts(source.node, self.key.collection, before.chosen)
        if broken := check_gates(before, after, without_wal=without_wal):
            lost = lost_replicas(before, after, without_wal=without_wal)
            kind = ReplicaMoved if set(broken) <= set(lost) else CollectionChanged
            raise kind(
                f"{self.key.collection!r} changed while it was captured: {'; '.join(broken)}"
            )
        doubts = (*doubts, *moved_away(before, after, without_wal=without_wal))
        return Taken(
            source=source,
            parts=tuple(parts),
            before=before,
            after=after,
            answered_at=answered_at,
            transferred_at=transferred_at,
            uuid=uuid,
            doubts=(*doubts, *moved_elsewhere(before, after)),
        )

    def _spool(self, blocks: Iterable[bytes], file: Path) -> int:
        limit, size = self.config.capture.spool.max, 0
        try:
            with file.open("wb") as out:
                for block in blocks:
                    size += len(block)
                    if size > limit:
                        raise StorageFull(
                            f"a shard has more than the {format_size(limit)} of the spool",
                            "raise `capture.spool.max`, or use `--method collection`.",
                        )
                    out.write(block)
        except OSError as e:
            raise StorageFull(
                f"the spool took {size} bytes and no more: {e.strerror}",
                "free space below `capture.spool.path`, or use `--method collection`.",
            ) from None
        return size

    def _unless_stopped(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        for block in blocks:
            self._refuse_stopped()
            yield block

    def _refuse_stopped(self) -> None:
        if self._stop.is_set():
            raise Interrupted(f"another part of {self.key} failed")


def new_to(
    backup_id: str, shelf: SnapshotScope, listed: Iterable[ListedSnapshot]
) -> tuple[str, ...]:
    """What an intent says of the names on a shelf before its call: of those that a call may give,
    so that it is known later which one is new. What else lies there is nobody's business."""
    return name_digests(backup_id, (s.name for s in listed if shelf.may_hold(s.name)))


def _mendable(error: ClusterError) -> bool:
    """Whether the shards can be taken from wherever a full replica is now."""
    return isinstance(error, ReplicaMoved) or not isinstance(error, _ELSEWHERE_TOO)


def _said_of(answer: ListedSnapshot) -> dict[str, object]:
    return {
        "server_name": answer.name,
        "server_size_bytes": answer.size_bytes,
        "server_checksum": answer.checksum,
    }


def _read(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while block := source.read(_READ):
            yield block
