"""One full snapshot of a node, split in passing into one backup of each collection.

Every backup is the collection's own archive, log included, with its own intent, gates, facts and
manifest: what verifies, drills, restores and reports needs to know nothing of where it came from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime

from qdrant_dr.cluster import (
    INSTANCE,
    CollectionFacts,
    NodeFacts,
    checksum_doubts,
    delete_own_snapshot,
    list_snapshots,
)
from qdrant_dr.cluster.full_snapshot import FullArchive, FullMember
from qdrant_dr.cluster.source_nodes import AnsweringNode, open_sources
from qdrant_dr.config import Config
from qdrant_dr.errors import CollectionVanished, DRError, NothingChecked, PlanRefused, QuorumMissed
from qdrant_dr.jobs.backup.capture_engine import WHOLE, CaptureEngine
from qdrant_dr.jobs.backup.created_snapshots import Creation, delete_one
from qdrant_dr.jobs.backup.destinations import Destinations
from qdrant_dr.jobs.backup.space import judge_capture
from qdrant_dr.jobs.backup.uncommitted_backup import UncommittedBackup, begin, clock_doubts
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.error_facts import error_facts
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.scratch_dir import scratch_folder
from qdrant_dr.jobs.run.units import CaptureUnit, FullUnit
from qdrant_dr.records import (
    BackupKey,
    CapturedFull,
    ListedSnapshot,
    Manifest,
    Outcome,
    Part,
)
from qdrant_dr.repository import Repository


@dataclass(slots=True)
class Share:
    """One collection's part in a full snapshot. `error` is what made it drop out; the others go
    on."""

    draft: UncommittedBackup
    part: Part | None = None
    transferred_at: datetime | None = None
    manifest: Manifest | None = None
    error: DRError | None = None

    @property
    def before(self) -> CollectionFacts:
        (before,) = self.draft.seen.facts.values()
        return before


def plan_full(config: Config, captures: Sequence[CaptureUnit]) -> tuple[FullUnit, ...]:
    """Plan the captures of a run as one full snapshot. Pure; raise PlanRefused for several
    nodes."""
    if not captures:
        return ()
    if len(config.cluster.nodes) > 1:
        raise PlanRefused(
            f"a full snapshot is of one node without a cluster, {len(config.cluster.nodes)} are "
            "configured: each would answer 200 and give its own shards only",
            "use `--method collection`, or `auto`: each shard once, wherever it lies.",
        )
    first = captures[0]
    return (
        FullUnit(
            node=first.nodes[0],
            collections=tuple(c.collection for c in captures),
            repositories=first.repositories,
            method_reason=first.method_reason,
            note=first.note,
        ),
    )


def flatten(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return the outcomes of captures, with those of a full snapshot one by one."""
    flat: list[Outcome] = []
    for outcome in outcomes:
        detail = outcome.detail
        if not isinstance(detail, CapturedFull):
            flat.append(outcome)
            continue
        first, *others = detail.outcomes
        flat += [first.model_copy(update={"written": outcome.written}), *others]
    return flat


def refuse_cluster(about: NodeFacts) -> None:
    """Raise PlanRefused for a node of a cluster: its full snapshot lacks what others hold."""
    if about.clustered:
        raise PlanRefused(
            f"{about.url} is a node of a cluster: asked for a full snapshot it answers 200 and "
            "gives its own shards only",
            "use `--method collection`, or `auto`: each shard once, wherever it lies.",
        )


def capture_full(config: Config, unit: FullUnit, run_id: str) -> Outcome:
    """Make one full snapshot and a backup of each collection of the unit.

    A collection that cannot be captured fails alone; what concerns the snapshot fails them all.
    Manifests are written when the whole of it was read and is what the server said, the snapshot
    on the server is deleted when every collection has its quorum. Raise PlanRefused in a cluster.
    """
    started_at = utc_now()
    opened, failed = open_all(config, unit.repositories)
    outcomes: list[Outcome] = []
    with open_sources(config, (unit.node,)) as sources:
        (source,) = sources.answering
        refuse_cluster(source.about)
        engine = CaptureEngine(config, what=f"the full snapshot of {source.node.url}")
        split = Split(engine, source, opened)
        for name in unit.collections:
            at = utc_now()
            one = CaptureUnit(
                collection=name,
                nodes=(source.node.url,),
                repositories=unit.repositories,
                method="full",
                method_reason=unit.method_reason,
                note=unit.note,
            )
            try:
                destinations = Destinations.of(opened, failed)
                draft = begin(config, one, run_id, sources, destinations, at)
                draft.listed_before = list_snapshots(source.node, name)
            except DRError as e:
                outcomes.append(_failure(name, e, at))
            else:
                split.shares[name] = Share(draft)
        kept = "nothing was made"
        if split.shares:
            try:
                kept = split.transfer()
            except DRError as e:
                for share in split.living:
                    share.error = e
    outcomes += [split.outcome(share, kept) for share in split.shares.values()]
    worst = {o.verdict for o in outcomes}
    return Outcome(
        unit="capture-full",
        collection="*",
        verdict="failed" if "failed" in worst else "degraded" if "degraded" in worst else "ok",
        started_at=started_at,
        ended_at=utc_now(),
        detail=CapturedFull(outcomes=tuple(sorted(outcomes, key=lambda o: o.collection))),
    )


@dataclass(slots=True)
class Split:
    """One full snapshot under way. `files` are those of each collection within it."""

    engine: CaptureEngine
    source: AnsweringNode
    opened: dict[str, Repository]
    shares: dict[str, Share] = field(default_factory=dict)
    files: dict[str, ListedSnapshot] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def living(self) -> list[Share]:
        return [s for s in self.shares.values() if s.error is None]

    def each(self, act: Callable[[Share], None]) -> None:
        """Do something for every collection still in it. Raise the last error if none is left."""
        last: DRError | None = None
        for share in self.living:
            try:
                act(share)
            except DRError as e:
                share.error = last = e
        if last is not None and not self.living:
            raise last

    def transfer(self) -> str:
        """Create it, read it once into many backups, commit those, delete it. Say "deleted", or
        what was kept and why."""
        config = self.engine.config
        space = judge_capture(config, [share.draft for share in self.living], self.opened)
        self.remarks, spool = space.remarks, config.capture.spool.path
        with ExitStack() as locks:
            for share in self.living:  # first: an intent without a lock looks like one of the dead
                folder = scratch_folder(spool, f"capture-{share.draft.key.backup_id}")
                locks.enter_context(folder)
            created = self.engine.create(
                self.source, INSTANCE, lambda act: self.each(lambda share: act(share.draft))
            )
            label = f"full snapshot of {self.source.node.url}:"
            with self.engine.deleting_if_interrupted(label, lambda: self._delete(created)):
                archive = self._read(created)
            said = (*space.doubts, *checksum_doubts(created.answer, config.cluster))
            self.each(lambda share: self._commit(share, created, archive, said))
        quorum = config.copies.quorum
        if short := [n for n, s in self.shares.items() if len(s.draft.committed) < quorum]:
            return f"kept: {', '.join(short)} has fewer than {quorum} copies"
        return self._delete(created)

    def _read(self, created: Creation) -> FullArchive:
        """All of it, each collection that is wanted into its repositories."""
        archive = FullArchive(self.engine.read(created), created.answer.name)
        for member in archive.members():
            self.files[member.collection] = ListedSnapshot(
                name=member.file, size_bytes=member.size_bytes
            )
            mine = self.shares.get(member.collection)
            if mine is not None and mine.error is None:
                try:
                    self._write(mine, member, created)
                except QuorumMissed as e:
                    mine.error = e
        return archive

    def _write(self, share: Share, member: FullMember, created: Creation) -> None:
        """One member into every repository. Raise QuorumMissed if none takes it."""
        about: dict[str, object] = {
            "kind": "collection",
            "shards": tuple(s.shard for s in share.before.shards),
            "wal": True,
            "node": self.source.node.url,
            "server_name": f"{created.answer.name}/{member.file}",
            "server_size_bytes": member.size_bytes,
        }
        size = member.size_bytes
        share.part = self.engine.store(share.draft, WHOLE, member.blocks, size, about)
        share.transferred_at = utc_now()

    def _commit(
        self, share: Share, created: Creation, archive: FullArchive, said: tuple[str, ...]
    ) -> None:
        """Gates after it, then the manifests. The whole snapshot was read and is the server's."""
        draft, name = share.draft, share.draft.key.collection
        if share.part is None:
            raise CollectionVanished(f"{archive.name} has no archive of {name!r}")
        taken = draft.checked(
            self.source,
            share.before,
            [share.part],
            created.answered_at,
            transferred_at=share.transferred_at,
        )
        was, now = share.before.aliases, sorted(a for a, c in archive.aliases.items() if c == name)
        if now != sorted(was):
            told = f"its aliases changed meanwhile: {list(was)} before, {now} in it"
            said = (*said, told)
        clocks = clock_doubts(draft.config, [self.source.about])
        doubts = (*draft.seen.doubts, *clocks, *draft.strange, *said)
        share.manifest = draft.commit([taken], doubts=doubts)

    def _delete(self, created: Creation) -> str:
        """Say "deleted", or what was kept and why.

        In S3 mode it is one object per collection, too, which the server leaves there (measured on
        Qdrant 1.18.3): its list of the instance is recursive, and knows what was there before.
        """
        said, _ = delete_one(created, self.engine.config.cluster.peers)
        for name, file in self.files.items() if created.answer.checksum is None else ():
            one = delete_own_snapshot(self.source.node, name, file, created.listed_before)
            if one != "deleted" and said == "deleted":
                said = f"{one} (the server left it below {name!r})"
        if said == "deleted":
            for share in self.shares.values():
                share.draft.journal.forget(share.draft.key.backup_id, created.number)
        return said

    def outcome(self, share: Share, kept: str) -> Outcome:
        """Return the outcome of one collection, in the words of a capture of its own."""
        draft = share.draft
        if share.error is not None or share.manifest is None:
            error = share.error or NothingChecked(f"{draft.key} was not captured")
            return _failure(draft.key.collection, error, draft.started_at, draft.key)
        remarks = list(self.remarks)
        if any(created.answer.checksum for created in self.engine.created):
            # known of the server's code, and out of reach of its interface: said, and no reason to
            # act
            file = self.files[draft.key.collection].name
            remarks.append(f"a small orphan stays on the node: {file}.checksum")
        return draft.outcome(share.manifest, kept, remarks=remarks)


def _failure(name: str, error: DRError, at: datetime, key: BackupKey | None = None) -> Outcome:
    return Outcome(
        unit="capture",
        collection=name,
        backup_id=key.backup_id if key else None,
        verdict="failed",
        started_at=at,
        ended_at=utc_now(),
        error=error_facts(error),
    )
