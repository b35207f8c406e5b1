"""The archives of one collection, node by node: each peer gives its shards, peers in parallel."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster import (
    CollectionFacts,
    PeerShards,
    ShardSplitter,
    SnapshotScope,
    check_shard_is_complete,
    checksum_doubts,
    placement,
    stream_shard,
)
from qdrant_dr.cluster.replicas import FULL
from qdrant_dr.cluster.source_nodes import AnsweringNode, SourceNodes
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
from qdrant_dr.jobs.backup.capture_engine import WHOLE, CaptureEngine, said_of
from qdrant_dr.jobs.backup.created_snapshots import Creation
from qdrant_dr.jobs.backup.manifest import Taken
from qdrant_dr.jobs.backup.one_snapshot_per_node import add_load, alone_on, load_of
from qdrant_dr.jobs.backup.prepare import Prepared, prepare
from qdrant_dr.jobs.backup.uncommitted_backup import UncommittedBackup
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.quantities import format_size
from qdrant_dr.records import Part
from qdrant_dr.records.manifest import ReplicaCount

_READ = 2**20
MOVES = 3
"""So often shards whose replica moved meanwhile are taken again."""
_ELSEWHERE_TOO = (AccessDenied, CollectionChanged, CollectionVanished)
"""What another replica of the same collection would answer as well."""


@dataclass(slots=True)
class Transfer:
    """One capture while its parts are taken. `doubts` are what went wrong and was mended on the
    way, and what was doubtful where a shard was looked for again; `apart` are replicas that
    differ."""

    engine: CaptureEngine
    draft: UncommittedBackup
    sources: SourceNodes
    folder: Path
    doubts: list[str] = field(default_factory=list)
    apart: list[ReplicaCount] = field(default_factory=list)
    _round: int = 1

    def all(self) -> list[Taken]:
        """Take everything, peers in parallel. What a peer cannot give is looked for at another
        full replica of the shard, as long as there is one; else its error is raised."""
        taken: list[Taken] = []
        plan = self.draft.seen
        self.apart += plan.apart
        while True:
            for take in plan.takes:
                url = plan.sources[take.peer].node.url
                add_load(self.draft.run_id, url, len(take.shards))
            done, failed = self._in_parallel(plan)
            taken += done
            if not failed:
                return taken
            plan = self._elsewhere(plan, failed)

    def _in_parallel(self, plan: Prepared) -> tuple[list[Taken], dict[PeerShards, ClusterError]]:
        """One thread per peer. An error that no other peer can mend ends them all."""
        whole = self._whole(plan)

        def one(take: PeerShards) -> Taken | ClusterError:
            try:
                source, before = plan.sources[take.peer], plan.facts[take.peer]
                return self._take(source, take, before, whole=whole)
            except ClusterError as e:
                if self.sources.clustered and _mendable(e):
                    return e
                self.engine.failed.set()
                raise
            except BaseException:
                self.engine.failed.set()
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

    def _whole(self, plan: Prepared) -> bool:
        """One server, one archive: it is kept as it is, restorable with Qdrant's own tools."""
        automatic = all(f.sharding_method == "auto" for f in plan.facts.values())
        return self.draft.unit.method == "collection" and not self.sources.clustered and automatic

    def _elsewhere(self, plan: Prepared, failed: Mapping[PeerShards, ClusterError]) -> Prepared:
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
        load = load_of(self.draft.run_id)
        try:
            plan = prepare(self.sources, self.draft.unit, load=load, shards=shards)
        except (PlanRefused, ClusterError) as e:
            error = next(iter(failed.values()))
            raise type(error)(f"{error.message}; {e.message}", error.hint) from None
        self.doubts += plan.doubts
        self.apart += plan.apart
        return plan

    def _take(
        self, source: AnsweringNode, take: PeerShards, before: CollectionFacts, *, whole: bool
    ) -> Taken:
        parts: list[Part] = []
        try:
            if whole:
                return self._archive(source, take, before, parts)
            if self.draft.unit.method == "collection":
                return self._archive_cut(source, take, before, parts)
            return self._shard_by_shard(source, take, before, parts)
        except BaseException as e:
            for part in parts:
                self.draft.destinations.take_back(self.draft.key, part.file)
            if isinstance(e, ArchiveError) and (gone := self._gone(source, take)):
                where = f"shards {gone} are not on {source.node.url} any more"
                raise ReplicaMoved(f"{e.message}: {where}") from None
            raise

    def _gone(self, source: AnsweringNode, take: PeerShards) -> list[int]:
        """Which of them this node of a cluster does not hold in full any more."""
        if not self.sources.clustered:
            return []
        now = placement(source.node, self.draft.key.collection)
        full = {r.shard for r in now.replicas if r.local and r.state in FULL}
        return sorted(set(take.shards) - full)

    def _archive(
        self, source: AnsweringNode, take: PeerShards, before: CollectionFacts, parts: list[Part]
    ) -> Taken:
        """One collection snapshot of the node, kept as it is."""
        created = self._create(source, SnapshotScope(self.draft.key.collection))
        about = {"kind": "collection", "shards": take.shards, "wal": True, "node": source.node.url}
        parts.append(self.engine.keep(self.draft, created, WHOLE, about))
        doubts = checksum_doubts(created.answer, self.engine.config.cluster)
        return self.draft.checked(source, before, parts, created.answered_at, doubts=doubts)

    def _archive_cut(
        self, source: AnsweringNode, take: PeerShards, before: CollectionFacts, parts: list[Part]
    ) -> Taken:
        """One collection snapshot of the node, cut into its shards in passing."""
        created = self._create(source, SnapshotScope(self.draft.key.collection))
        answer, blocks = created.answer, self.engine.read(created)
        reframing = ShardSplitter(blocks, take.shards, answer.name, peer=source.about.peer_id)
        for shard, archive in reframing.shards():
            about = _of_shard(source, shard, created.asked_at, created.answered_at)
            about |= {"reframed": True, **said_of(answer)}
            name = self._part_name(shard)
            stored = self.engine.store(self.draft, name, archive, answer.size_bytes, about)
            logged = shard in reframing.logged  # known now, at the end of its archive
            parts.append(stored.model_copy(update={"wal": logged}))
        if set(reframing.every) != before.shard_ids:
            raise CollectionChanged(
                f"{answer.name} names shards {sorted(reframing.every)} of "
                f"{self.draft.key.collection!r}, {source.node.url} told of "
                f"{sorted(before.shard_ids)}"
            )
        return self.draft.checked(
            source,
            before,
            parts,
            created.answered_at,
            uuid=reframing.uuid,
            without_wal=frozenset(take.shards) - reframing.logged,
            doubts=checksum_doubts(answer, self.engine.config.cluster),
        )

    def _shard_by_shard(
        self, source: AnsweringNode, take: PeerShards, before: CollectionFacts, parts: list[Part]
    ) -> Taken:
        """One archive per shard, one after the other, none of them with a log."""
        doubts: list[str] = []
        last = utc_now()
        for shard in take.shards:
            if self.draft.unit.method == "shard":
                part, last = self._stored_shard(source, shard, doubts)
            else:
                part, last = self._streamed_shard(source, shard)
            parts.append(part)
        without = frozenset(take.shards)
        return self.draft.checked(
            source, before, parts, last, without_wal=without, doubts=tuple(doubts)
        )

    def _stored_shard(
        self, source: AnsweringNode, shard: int, doubts: list[str]
    ) -> tuple[Part, datetime]:
        created = self._create(source, SnapshotScope(self.draft.key.collection, shard))
        doubts += checksum_doubts(created.answer, self.engine.config.cluster)
        about = _of_shard(source, shard, created.asked_at, created.answered_at)
        part = self.engine.keep(self.draft, created, self._part_name(shard), about)
        return part, created.answered_at

    def _streamed_shard(self, source: AnsweringNode, shard: int) -> tuple[Part, datetime]:
        """Into the spool at the speed of the node, for it gives up on one that waits; and only
        what is whole goes further."""
        collection, url, engine = self.draft.key.collection, source.node.url, self.engine
        file = self.folder / f"shard-{shard}"
        with alone_on(url):
            number, asked_at = next(engine.numbers), utc_now()
            self.draft.intend(source, SnapshotScope(collection, shard), number, (), streamed=True)
            blocks = stream_shard(source.node, collection, shard, stop=stopping)
            size = self._spool(engine.unless_failed(blocks), file)
        answered_at = utc_now()
        try:
            what = f"the stream of shard {shard} of {collection!r} from {url}"
            check_shard_is_complete(_read(file), what, peer=source.about.peer_id)
            about = _of_shard(source, shard, asked_at, answered_at)
            stream = engine.passing(_read(file), size)
            part = engine.store(self.draft, self._part_name(shard), stream, size, about)
            return part, answered_at
        finally:
            file.unlink()

    def _create(self, source: AnsweringNode, scope: SnapshotScope) -> Creation:
        return self.engine.create(source, scope, lambda act: act(self.draft))

    def _part_name(self, shard: int) -> str:
        """A shard that is taken again gets another name: a part is never written over."""
        return f"shard-{shard}" if self._round == 1 else f"shard-{shard}-{self._round}"

    def _spool(self, blocks: Iterable[bytes], file: Path) -> int:
        limit, size = self.engine.config.capture.spool.max, 0
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


def _of_shard(
    source: AnsweringNode, shard: int, asked_at: datetime, answered_at: datetime
) -> dict[str, object]:
    """What is known of the part that a shard becomes."""
    return {
        "kind": "shard",
        "shards": (shard,),
        "wal": False,
        "node": source.node.url,
        "peer_id": source.about.peer_id,
        "asked_at": asked_at,
        "answered_at": answered_at,
    }


def _mendable(error: ClusterError) -> bool:
    """Whether the shards can be taken from wherever a full replica is now."""
    return isinstance(error, ReplicaMoved) or not isinstance(error, _ELSEWHERE_TOO)


def _read(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while block := source.read(_READ):
            yield block
