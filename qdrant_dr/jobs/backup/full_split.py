"""The collections of one full snapshot, from their facts before it to their manifests."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from qdrant_dr.cluster import (
    INSTANCE,
    CollectionFacts,
    Node,
    SnapshotScope,
    blocks_of,
    check_gates,
    checksum_doubts,
    collection_facts,
    create_snapshot,
    delete_own_snapshot,
    incarnation,
    list_snapshots,
)
from qdrant_dr.cluster.full import FullArchive, FullMember
from qdrant_dr.cluster.source_nodes import Source, Sources
from qdrant_dr.config import Config
from qdrant_dr.errors import (
    CollectionChanged,
    CollectionVanished,
    DRError,
    Interrupted,
    QuorumMissed,
)
from qdrant_dr.jobs.backup.capture import Facts, clock_doubts, history, manifest_of
from qdrant_dr.jobs.backup.destinations import TakingPart
from qdrant_dr.jobs.backup.nodes import look
from qdrant_dr.jobs.backup.space import judge_room
from qdrant_dr.jobs.backup.transfer import WHOLE, Taken, new_to
from qdrant_dr.jobs.run.call_journal import CallJournal
from qdrant_dr.jobs.run.cancel import stopping
from qdrant_dr.jobs.run.clocks import Since
from qdrant_dr.jobs.run.progress import watched
from qdrant_dr.jobs.run.run import error_facts, utc_now
from qdrant_dr.jobs.run.scratch_dir import scratch_folder
from qdrant_dr.jobs.run.units import CaptureUnit, FullUnit
from qdrant_dr.proof import BlockDigests
from qdrant_dr.records import BackupKey, Intent, ListedSnapshot, Manifest, Part, SnapshotAnswer
from qdrant_dr.repository import Repository, fan_out, new_id, refuse_late_commit
from qdrant_dr.version import __version__

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Share:
    """One collection's part in a full snapshot, in the order in which it becomes known.

    `error` is what made it drop out; the others go on.
    """

    unit: CaptureUnit
    started_at: datetime
    captured_at: datetime
    key: BackupKey
    targets: TakingPart
    before: CollectionFacts
    previous: Manifest | None
    doubts: tuple[str, ...]
    listed_before: tuple[ListedSnapshot, ...]
    since: Since
    intent: Intent | None = None
    part: Part | None = None
    transferred_at: datetime | None = None
    facts: Facts | None = None
    committed: tuple[str, ...] = ()
    manifest_sha256: str | None = None
    error: DRError | None = None


@dataclass(slots=True)
class Work:
    """One full snapshot under way."""

    config: Config
    unit: FullUnit
    run_id: str
    sources: Sources
    opened: dict[str, Repository]
    failed: dict[str, DRError]
    shares: dict[str, Share] = field(default_factory=dict)
    files: dict[str, ListedSnapshot] = field(default_factory=dict)
    checksum: str | None = None
    remarks: tuple[str, ...] = ()

    @property
    def journal(self) -> CallJournal:
        return CallJournal(self.config.capture.spool.path)

    @property
    def source(self) -> Source:
        return self.sources.answering[0]

    @property
    def node(self) -> Node:
        return self.source.node

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


def begin(work: Work, name: str, at: datetime) -> Share:
    """Facts before it, as of a collection snapshot. Raise what keeps this one from taking part."""
    config = work.config
    one = CaptureUnit(
        collection=name,
        nodes=(work.node.url,),
        repositories=work.unit.repositories,
        method="full",
        method_reason=work.unit.method_reason,
        note=work.unit.note,
    )
    targets = TakingPart(dict(work.opened), {n: error_facts(e) for n, e in work.failed.items()})
    targets.each(lambda _: None)
    seen = look(work.sources, one, load={})
    (before,) = seen.facts.values()
    previous, strange = history(config, targets, (before,), now=seen.captured_at)
    return Share(
        unit=one,
        started_at=at,
        captured_at=seen.captured_at,
        key=BackupKey(
            cluster=config.cluster.name, collection=name, backup_id=new_id(seen.captured_at)
        ),
        targets=targets,
        before=before,
        previous=previous,
        doubts=(*seen.doubts, *clock_doubts(config, [work.source.about]), *strange),
        listed_before=list_snapshots(work.node, name),
        since=Since.then(seen.captured_at),
    )


def transfer(work: Work) -> str:
    """Intents, create, answers, one read split into many, manifests, clean-up."""
    node, config = work.node, work.config
    space = judge_room(
        config,
        node,
        [share.before for share in work.living],
        {share.key.collection: share.previous for share in work.living},
        work.opened,
        method="full",
    )
    work.remarks = space.remarks
    listed = list_snapshots(node, INSTANCE)
    spool = config.capture.spool.path
    with ExitStack() as locks:
        for share in work.living:  # first: an intent without a lock looks like one of the dead
            locks.enter_context(scratch_folder(spool, f"capture-{share.key.backup_id}"))
        work.each(lambda share: _intend(work, share, listed))
        answer = create_snapshot(node, INSTANCE, stop=stopping)
        answered_at, work.checksum = utc_now(), answer.checksum
        work.each(lambda share: _answered(work, share, answer, answered_at))
        try:
            archive = _read(work, answer)
        except Interrupted:
            # asked to end: no manifest will ever name it, and no sweep may come for long
            if (left := _delete(work, answer, listed)) != "deleted":
                log.warning("full snapshot of %s: %s", node.url, left)
            raise
        said = (*space.doubts, *checksum_doubts(answer, config.cluster))
        work.each(lambda share: _commit(work, share, archive, answered_at, said))
    return _clean_up(work, answer, listed)


def _read(work: Work, answer: ListedSnapshot) -> FullArchive:
    """All of it, each collection that is wanted into its repositories."""
    blocks = blocks_of(work.node, INSTANCE, answer, work.config.cluster, stop=stopping)
    archive = FullArchive(watched(blocks, answer.size_bytes), answer.name)
    for member in archive.members():
        work.files[member.collection] = ListedSnapshot(
            name=member.file, size_bytes=member.size_bytes
        )
        mine = work.shares.get(member.collection)
        if mine is not None and mine.error is None:
            try:
                _write(work, mine, member, answer)
            except QuorumMissed as e:
                mine.error = e
    return archive


def _intend(work: Work, share: Share, listed: tuple[ListedSnapshot, ...]) -> None:
    share.intent = intent = Intent(
        run_id=work.run_id,
        backup_id=share.key.backup_id,
        cluster=share.key.cluster,
        collection=share.key.collection,
        node=work.node.url,
        started_at=share.captured_at,
        listed_before=(),
        tool_version=__version__,
        names_before=new_to(
            share.key.backup_id, SnapshotScope(share.key.collection), share.listed_before
        ),
        full_before=new_to(share.key.backup_id, INSTANCE, listed),
        asked_at=utc_now(),
    )
    work.journal.intend(1, intent)
    share.targets.each(lambda repository: repository.write_intent(share.key, intent))


def _answered(work: Work, share: Share, answer: ListedSnapshot, at: datetime) -> None:
    record = SnapshotAnswer(
        backup_id=share.key.backup_id, node=share.unit.nodes[0], answered_at=at, snapshot=answer
    )
    work.journal.answered(1, record)
    share.targets.each(lambda repository: repository.write_answer(share.key, record))


def _write(work: Work, share: Share, member: FullMember, answer: ListedSnapshot) -> None:
    """One member into every repository. Raise QuorumMissed if none takes it."""
    targets, digests = share.targets, BlockDigests()
    try:
        written = fan_out(
            digests.watch(member.blocks),
            {
                name: partial(r.part_sink, share.key, f"{WHOLE}.snapshot", member.size_bytes)
                for name, r in targets.taking_part.items()
            },
            stall_timeout=work.config.copies.stall_timeout,
            stopped=stopping.is_set,
        )
    except Interrupted:  # the fast may have all of it while the slow are waited for
        targets.take_back(share.key, f"{WHOLE}.snapshot")
        raise
    for name, error in written.left_behind.items():
        targets.leave(name, error)
    targets.each(lambda _: None)
    receipt = next(iter(written.receipts.values()))
    share.transferred_at = utc_now()
    share.part = Part(
        name=WHOLE,
        kind="collection",
        shards=tuple(s.shard for s in share.before.shards),
        wal=True,
        size_bytes=receipt.size_bytes,
        sha256=receipt.sha256,
        blocks=digests.digests,
        node=work.node.url,
        server_name=f"{answer.name}/{member.file}",
        server_size_bytes=member.size_bytes,
    )


def _commit(
    work: Work, share: Share, archive: FullArchive, answered_at: datetime, said: tuple[str, ...]
) -> None:
    """Gates after it, then the manifests. The whole snapshot was read and is the server's."""
    name = share.key.collection
    if share.part is None or share.transferred_at is None or share.intent is None:
        raise CollectionVanished(f"{archive.name} has no archive of {name!r}")
    after = collection_facts(work.node, name)
    if broken := check_gates(share.before, after):
        raise CollectionChanged(f"{name!r} changed while it was captured: {'; '.join(broken)}")
    refuse_late_commit(share.intent, now=share.since.now)
    aliases = sorted(a for a, c in archive.aliases.items() if c == name)
    if aliases != sorted(share.before.aliases):
        told = (
            f"its aliases changed meanwhile: {list(share.before.aliases)} before, {aliases} in it"
        )
        said = (*said, told)
    share.facts = Facts(
        captured_at=share.captured_at,
        incarnation=incarnation(share.before, share.previous, fresh=share.key.backup_id),
        taken=(
            Taken(
                source=work.source,
                parts=(share.part,),
                before=share.before,
                after=after,
                answered_at=answered_at,
                transferred_at=share.transferred_at,
            ),
        ),
        doubts=(*share.doubts, *said),
    )
    manifest = manifest_of(work.config, share.unit, work.run_id, share.key, share.facts)
    share.committed = share.targets.commit(manifest)
    share.manifest_sha256 = manifest.sha256


def _clean_up(work: Work, answer: ListedSnapshot, listed: tuple[ListedSnapshot, ...]) -> str:
    """Delete what our call made on the server, once every collection has its quorum."""
    quorum = work.config.copies.quorum
    if short := [n for n, s in work.shares.items() if len(s.committed) < quorum]:
        return f"kept: {', '.join(short)} has fewer than {quorum} copies"
    return _delete(work, answer, listed)


def _delete(work: Work, answer: ListedSnapshot, listed: tuple[ListedSnapshot, ...]) -> str:
    """Say "deleted", or what was kept and why.

    In S3 mode it is one object per collection, too, which the server leaves there (measured on
    Qdrant 1.18.3): its list of the instance is recursive, so `listed` knows what was there before.
    """
    said = delete_own_snapshot(work.node, INSTANCE, answer, listed)
    for name, file in work.files.items() if answer.checksum is None else ():
        one = delete_own_snapshot(work.node, name, file, listed)
        if one != "deleted" and said == "deleted":
            said = f"{one} (the server left it below {name!r})"
    if said == "deleted":
        for share in work.shares.values():
            work.journal.forget(share.key.backup_id, 1)
    return said
