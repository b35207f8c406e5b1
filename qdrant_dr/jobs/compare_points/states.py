"""Two states of a collection: a backup, or what the server holds now. Both become tables."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from qdrant_dr import raw_settings
from qdrant_dr.cluster import (
    CollectionFacts,
    Node,
    RawPoint,
    collection_facts,
    scroll_points,
)
from qdrant_dr.cluster.incarnation import another_life as another_than
from qdrant_dr.cluster.node import path_of
from qdrant_dr.cluster.scroll import ShardKey, of_key, points_by_id
from qdrant_dr.cluster.serving import left_out
from qdrant_dr.config import Config
from qdrant_dr.errors import ContentDiffers
from qdrant_dr.jobs.read_points.opened_backup import (
    OpenedBackup,
    OpenedShard,
    opened_backup,
    stop_if_asked,
)
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.progress import points_told
from qdrant_dr.proof import Fingerprinter
from qdrant_dr.proof.fingerprint import in_pages, parts_of
from qdrant_dr.proof.point_table import PointTable, TableWriter, id_key

PointId = int | str
Where = Mapping[str, Any]


class Piece(Protocol):
    """One shard of a backup, or the live collection: what its points are."""

    def retrieve(
        self, ids: Sequence[PointId], *, payload: bool = True, vectors: bool = True
    ) -> list[RawPoint]:
        """Return those of these points that are there."""

    def pages(
        self, *, payload: bool = True, vectors: bool = True, where: Where | None = None
    ) -> Iterator[list[RawPoint]]:
        """Yield the points that a filter finds."""

    def count(self, where: Where | None = None) -> int:
        """Count the points that a filter finds."""


class State(Protocol):
    """What is compared. `tables` has one for each of the `pieces`, by the same number; so has
    `keys`, once they were read: None without custom sharding."""

    @property
    def name(self) -> str:
        """What it is called in words for people."""

    @property
    def info(self) -> Mapping[str, Any]:
        """The server's description of the collection."""

    @property
    def aliases(self) -> Sequence[str]:
        """The aliases that point to it."""

    notes: list[str]
    keys: list[ShardKey | None]

    def begin(self) -> None:
        """Start what reads it, in a thread that stays until the end of all reading."""

    def read(self, folder: Path, buckets: Sequence[int] | None) -> list[PointTable]:
        """Write tables of all points, or of those in some buckets."""

    def piece(self, number: int) -> AbstractContextManager[Piece]:
        """Open what one of the tables was made of."""

    def pieces(self) -> Iterable[Piece]:
        """Open one after the other."""


@dataclass
class BackupState:
    """A backup whose archives are unpacked below a folder once, by one engine that holds what was
    read last until the `stack` ends."""

    config: Config
    found: Found
    folder: Path
    stack: ExitStack
    notes: list[str] = field(default_factory=list)
    keys: list[ShardKey | None] = field(default_factory=list)
    _shards: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.found.backup.key)

    @property
    def info(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self.found.manifest.collection_info)
        return found

    @property
    def aliases(self) -> Sequence[str]:
        return self.found.manifest.aliases

    @cached_property
    def _opened(self) -> OpenedBackup:
        return self.stack.enter_context(
            opened_backup(self.config, self.found, self.folder, unpacked={})
        )

    def begin(self) -> None:
        """Start the engine, which dies with the thread that does so."""
        _ = self._opened

    def read(self, folder: Path, buckets: Sequence[int] | None) -> list[PointTable]:
        """Read every shard; raise ContentDiffers if these are not the points of the seal."""
        tables: list[PointTable] = []
        points = 0
        for shard in self._opened.shards():
            table, _ = shard.table(folder / str(len(tables)), buckets)
            tables.append(table)
            self._shards.append(shard.shard)
            self.keys.append(self.found.manifest.keys_of_shards.get(shard.shard))
            points += shard.points
        self.notes += self._opened.notes
        seal = self.found.backup.seal
        if seal is not None and seal.points != points:
            raise ContentDiffers(
                f"{self.name} holds {points} points, its seal says {seal.points}",
                f"run `qdrant-dr verify {self.name} --depth content`.",
            )
        return tables

    @contextmanager
    def piece(self, number: int) -> Iterator[OpenedShard]:
        yield next(self._opened.shards(only=[self._shards[number]]))

    def pieces(self) -> Iterator[OpenedShard]:
        yield from self._opened.shards()


@dataclass
class LiveState:
    """A collection of the cluster, read through one node; others may write to it meanwhile."""

    node: Node
    collection: str
    facts: CollectionFacts
    notes: list[str] = field(default_factory=list)
    keys: list[ShardKey | None] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.collection}@live"

    @property
    def info(self) -> Mapping[str, Any]:
        return self.facts.info

    @property
    def aliases(self) -> Sequence[str]:
        return self.facts.aliases

    def begin(self) -> None:
        """Do nothing: the server is there."""

    def read(self, folder: Path, buckets: Sequence[int] | None) -> list[PointTable]:
        """Scroll through the collection, one shard key after the other, and note between which
        operations that was."""
        assert buckets is None, "a live collection has no seal"
        self.keys += self.facts.shard_keys
        tables = [self._table(folder / str(n), key) for n, key in enumerate(self.keys)]
        self.notes += filter(None, [left_out(self.facts)])
        before, after = self.facts.operations, self._operations_now()
        if not _told({*self.facts.shard_ids}, before) or not _told({*before}, after):
            self.notes.append(
                f"not every shard of {self.name} is on {self.node.url}: it is not known whether it "
                "was written to while it was read"
            )
        elif before == after:
            self.notes.append(f"{self.name} was not written to while it was read")
        else:
            moved = ", ".join(
                f"{before.get(s)} to {after.get(s)} (shard {s})"
                for s in sorted({*before, *after})
                if before.get(s) != after.get(s)
            )
            self.notes.append(f"{self.name} was read while operations {moved} were applied")
        return tables

    def _table(self, folder: Path, key: ShardKey | None) -> PointTable:
        writer, told = TableWriter(folder), points_told()
        work = Fingerprinter(writer.components)
        expected = self.facts.points_count or 0
        points = scroll_points(self.node, self.collection, limit=self._limit, shard_key=key)
        for page in in_pages(points):
            stop_if_asked()
            keys: list[bytes] = []
            work.add(parts_of(_noting(page, keys)))
            writer.ids(keys)
            if told:
                told(min(writer.rows, expected), expected)
        writer.close()
        return PointTable.open(folder)

    @contextmanager
    def piece(self, number: int) -> Iterator[LivePiece]:
        yield LivePiece(self.node, self.collection, self._limit, self.keys[number])

    def pieces(self) -> Iterator[LivePiece]:
        for number, _ in enumerate(self.keys):
            with self.piece(number) as piece:
                yield piece

    @property
    def _limit(self) -> int | None:
        return self.facts.max_query_limit

    def _operations_now(self) -> dict[int, int | None]:
        return collection_facts(self.node, self.collection).operations


@dataclass(frozen=True)
class LivePiece:
    """The points of one shard key of a live collection; of all of it without custom sharding."""

    node: Node
    collection: str
    limit: int | None
    key: ShardKey | None

    def retrieve(
        self, ids: Sequence[PointId], *, payload: bool = True, vectors: bool = True
    ) -> list[RawPoint]:
        """Return those of these points that are there, whole."""
        del payload, vectors  # the server's answer has both
        stop_if_asked()
        return list(
            points_by_id(self.node, self.collection, ids, limit=self.limit, shard_key=self.key)
        )

    def pages(
        self, *, payload: bool = True, vectors: bool = True, where: Where | None = None
    ) -> Iterator[list[RawPoint]]:
        """Yield the points that a filter finds, without vectors."""
        asked: dict[str, Any] = {
            "filter": where, "with_payload": payload, "with_vector": vectors,
            "limit": min(500, self.limit or 500), **of_key(self.key),
        }  # fmt: skip
        while True:
            stop_if_asked()
            answer = self._ask("scroll", asked)
            yield answer["points"]
            if (following := answer.get("next_page_offset")) is None:
                return
            asked["offset"] = following

    def count(self, where: Where | None = None) -> int:
        """Count the points that a filter finds."""
        return int(
            self._ask("count", {"filter": where, "exact": True, **of_key(self.key)})["count"]
        )

    def _ask(self, what: str, body: Mapping[str, Any]) -> Any:
        where = path_of(self.collection, "points", what)
        doing = f"{what} points of {self.collection!r}"
        return self.node.read(where, doing, collection=self.collection, json=dict(body))


def _told(shards: Set[int], operations: Mapping[int, int | None]) -> bool:
    """Say whether the operation number of every one of these shards is known."""
    return all(operations.get(shard) is not None for shard in shards)


def _noting(points: Iterable[Mapping[str, Any]], keys: list[bytes]) -> Iterator[Mapping[str, Any]]:
    """Yield the points; their packed ids are added to `keys`."""
    for point in points:
        keys.append(id_key(point["id"]))
        yield point


def another_life(before: State, after: State) -> tuple[str, ...]:
    """Say why the two are not of one life of a collection: it was deleted and made anew, or is
    another one. What is compared then is what two collections hold."""
    backups = [s.found.manifest for s in (before, after) if isinstance(s, BackupState)]
    if len(backups) == 2 and backups[0].incarnation != backups[1].incarnation:
        return (f"{before.name} and {after.name} are of two lives of a collection",)
    live = next((s for s in (before, after) if isinstance(s, LiveState)), None)
    if live is not None and backups:
        if backups[0].collection != live.collection:
            return (f"{before.name} and {after.name} are two collections",)
        return tuple(
            f"{live.name} is not the collection that was backed up: {why}"
            for why in another_than(live.facts, backups[0])
        )
    return ()


def cosine_vectors(*states: State) -> frozenset[str]:
    """Return the components whose last bits may differ from machine to machine."""
    return frozenset(
        f"vector:{name}"
        for state in states
        for name in raw_settings.cosine_vectors(state.info["config"]["params"])
    )
