"""Is there room for this capture? Certain shortage refuses it before anything is made.

No call of Qdrant tells its free disk: for the nodes the operator's figure counts
(`cluster.node_space`). What an archive will take is measured by the last one; before a first backup
it is guessed from what the node says of its files. A guess refuses nothing and degrades nothing: it
is a remark, for a capture that went well has shown that there was room.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from qdrant_dr.cluster import CollectionFacts, Node, estimated_bytes
from qdrant_dr.config import Config
from qdrant_dr.disk import free_below
from qdrant_dr.errors import ClusterError, DRError, PlanRefused
from qdrant_dr.jobs.backup.uncommitted_backup import UncommittedBackup
from qdrant_dr.jobs.run.archive_size import GROWTH, ON_NODE, SMALLEST
from qdrant_dr.quantities import format_size
from qdrant_dr.records import Manifest
from qdrant_dr.records.manifest import Method
from qdrant_dr.repository import Repository
from qdrant_dr.repository.chunked import ChunkedRepository

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Need:
    """Bytes of the archives to come: surely `least`, probably `likely` (as measured by the last
    backups; there is none: 0), perhaps `most`."""

    least: int
    likely: int
    most: int
    basis: str

    def __add__(self, other: Need) -> Need:
        basis = self.basis if self.basis == other.basis else "estimates"
        return Need(
            self.least + other.least, self.likely + other.likely, self.most + other.most, basis
        )


@dataclass(frozen=True, slots=True)
class Room:
    """One place that the bytes must fit into. `free` None: it tells no limit."""

    where: str
    need: Need
    free: int | None
    remedy: str

    @property
    def short(self) -> bool:
        """Say whether it cannot fit."""
        return self.free is not None and self.need.least > self.free

    @property
    def tight(self) -> bool:
        """Say whether, as measured, it may not fit."""
        return self.free is not None and max(self.need.least, self.need.likely) > self.free

    @property
    def unsure(self) -> bool:
        """Say whether, as guessed, it may not fit."""
        return self.free is not None and self.need.most > self.free and not self.tight

    def __str__(self) -> str:
        amount = self.need.least if self.short else self.need.most
        return (
            f"{self.where} has {format_size(self.free or 0)} free, about {format_size(amount)} are "
            f"needed (by {self.need.basis})"
        )


@dataclass(frozen=True, slots=True)
class SpaceDoubts:
    """`doubts` degrade a capture; `remarks` are guesses: they are told and degrade nothing."""

    doubts: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def need_of(previous: int | None, upper: int | None) -> Need:
    """Estimate the size of the next archive from the last one and from an upper bound that the node
    tells. Pure."""
    if previous is None:
        return Need(SMALLEST, 0, max(upper or 0, SMALLEST), "the node's files")
    least = previous if upper is None else min(previous, upper)
    likely = math.ceil(previous * GROWTH)
    return Need(least, likely, likely, "the last backup")


def need_of_blocks(archive: Need, written: int | None) -> Need:
    """Estimate what an archive takes where each block is stored once, from what the last backup
    wrote there; None: it has none there, so that every block is new, however small it becomes.
    Pure."""
    if written is None:
        return Need(SMALLEST, 0, archive.most, "the archive, before it is compressed")
    likely = max(math.ceil(written * GROWTH), SMALLEST)
    return Need(SMALLEST, likely, likely, "what the last backup wrote there")


def judge_space(rooms: Sequence[Room], *, quorum: int) -> SpaceDoubts:
    """Return what is doubtful and what is guessed. Pure; raise PlanRefused where space is certainly
    short.

    A repository that is too full is one copy less: it refuses only below the quorum.
    """
    repositories = [r for r in rooms if r.where.startswith("repository ")]
    short = [r for r in rooms if r.short]
    enough = len(repositories) - sum(r in short for r in repositories) >= quorum
    fatal = [r for r in short if not (enough and r in repositories)]
    if fatal:
        raise PlanRefused(
            "there is no room for this backup: " + "; ".join(map(str, fatal)),
            "; ".join(dict.fromkeys(r.remedy for r in fatal)) + ".",
        )
    return SpaceDoubts(
        doubts=tuple(f"{r}: {r.remedy}" for r in rooms if r.tight),
        remarks=tuple(
            f"{r}, which is a guess until there is a first backup: {r.remedy}"
            for r in rooms
            if r.unsure
        ),
    )


def judge_capture(
    config: Config, drafts: Sequence[UncommittedBackup], repositories: Mapping[str, Repository]
) -> SpaceDoubts:
    """Judge one capture, of several collections for a full snapshot, before its create call.

    Where the shards come from several nodes, the busiest of them counts; its archive may hold more
    than the share that it gives. Raise PlanRefused with numbers and the next step; what is only
    tight comes back as doubts.
    """
    takes, method = drafts[0].seen.takes, drafts[0].unit.method
    busiest = max(takes, key=lambda take: len(take.shards))
    share = Fraction(len(busiest.shards), sum(len(take.shards) for take in takes))
    node = drafts[0].seen.sources[busiest.peer].node

    def needs(*, ask: bool) -> list[Need]:
        """Return what each needs. The node is asked only if there is no backup yet, or to be sure:
        for its answer it reads every page of the collection."""
        each = []
        for draft in drafts:
            last = draft.previous
            upper = _upper(node, draft.seen.facts[busiest.peer]) if ask or last is None else None
            each.append(need_of(last.size_bytes if last else None, upper))
        return each

    def rooms_of(each: Sequence[Need]) -> list[Room]:
        there = {name: _needed(r, drafts, each) for name, r in repositories.items()}
        return _rooms(config, _sum(each), there, repositories, method, share)

    rooms = rooms_of(needs(ask=False))
    if any(r.short for r in rooms):  # the collection may have shrunk since its last backup
        rooms = rooms_of(needs(ask=True))
    return judge_space(rooms, quorum=config.copies.quorum)


def _sum(needs: Sequence[Need]) -> Need:
    return sum(needs[1:], start=needs[0])


def _needed(
    repository: Repository, drafts: Sequence[UncommittedBackup], archives: Sequence[Need]
) -> Need:
    """What all of them need in one repository."""
    if not isinstance(repository, ChunkedRepository):
        return _sum(archives)
    written = [_written(repository, draft.previous) for draft in drafts]
    return _sum([need_of_blocks(a, w) for a, w in zip(archives, written, strict=True)])


def _written(repository: ChunkedRepository, previous: Manifest | None) -> int | None:
    try:
        return repository.written_bytes(previous.key) if previous else None
    except DRError:
        return None  # it will say so itself when it is written to


def _upper(node: Node, facts: CollectionFacts) -> int | None:
    """The node's own figure; None if it gives none, in time or at all: an estimate that could not
    be made keeps nobody from a backup."""
    try:
        return estimated_bytes(node, facts)
    except ClusterError as e:
        log.info("the size of %s is not estimated: %s", facts.collection, e.message)
        return None


def _rooms(
    config: Config,
    need: Need,
    needed: Mapping[str, Need],
    repositories: Mapping[str, Repository],
    method: Method,
    share: Fraction,
) -> list[Room]:
    rooms = [
        Room(
            f"repository {name}",
            needed[name],
            _free(repository),
            f"free space in {name}, or give it a larger disk",
        )
        for name, repository in repositories.items()
    ]
    least, most = ON_NODE[method]
    on_node = Need(
        math.floor(need.least * least * share), need.likely * most, need.most * most, need.basis
    )
    rooms.append(
        Room(
            "the node (`cluster.node_space`)",
            on_node,
            config.cluster.node_space,
            "free space on the node, delete old snapshots there, or use `--method stream`",
        )
    )
    if method == "stream":
        spool = config.capture.spool
        rooms.append(
            Room(
                "the spool",
                need,
                min(spool.max, free_below(spool.path)),
                "free space below `capture.spool.path`, or raise `capture.spool.max`",
            )
        )
    return rooms


def _free(repository: Repository) -> int | None:
    try:
        return repository.store.free_bytes()
    except DRError:
        return None  # it will say so itself when it is written to
