"""Where the points come from that are to be restored: the shards of a backup, or an undo record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import compress, groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol, TypeVar

from qdrant_dr.cluster import Node, RawPoint, scroll_points
from qdrant_dr.cluster.scroll import ShardKey
from qdrant_dr.errors import NothingSelected
from qdrant_dr.jobs.read_points.opened_backup import OpenedBackup, OpenedShard
from qdrant_dr.jobs.restore_points.change_file import BATCH, IdFile, absent_ids
from qdrant_dr.jobs.restore_points.decide_change import PointId
from qdrant_dr.jobs.restore_points.id_set import IdSet
from qdrant_dr.jobs.restore_points.undo import StoredUndo

T = TypeVar("T")
_NAMED = 10


@dataclass(frozen=True, slots=True)
class Given:
    """One point as it is to be; None: it is to be absent. `left` are the states in which it may be
    changed, None: any."""

    id: PointId
    point: RawPoint | None
    shard: int | None = None
    shard_key: ShardKey | None = None
    left: frozenset[str] | None = None


class Source(Protocol):
    """Points as they are to be, in batches."""

    def batches(self) -> Iterator[list[Given]]:
        """Yield all of them. Raise NothingSelected for a selection that selects nothing, or
        more than was meant."""


@dataclass
class OfBackup:
    """The points of a backup that were selected: all, those of `ids`, or those that a filter
    finds; `live` are the sorted ids that are live under each shard key, where only missing ones are
    wanted."""

    opened: OpenedBackup
    ids: IdSet | None = None
    where: dict[str, Any] | None = None
    every: bool = False
    live: Mapping[ShardKey | None, IdFile] | None = None

    def batches(self) -> Iterator[list[Given]]:
        keys = self.opened.found.manifest.keys_of_shards
        seen = bytearray(len(self.ids or ()))
        found = total = 0
        for shard in self.opened.shards():
            total += shard.points
            key = keys.get(shard.shard)
            for page in self._pages(shard, key, seen):
                found += len(page)
                if page:
                    yield [Given(p["id"], p, shard.shard, key) for p in page]
        if self.ids is not None:
            self._all_known(seen)
        elif self.where is not None:
            self._sensible(found, total)

    def _pages(
        self, shard: OpenedShard, key: ShardKey | None, seen: bytearray
    ) -> Iterator[list[RawPoint]]:
        if self.ids is not None:
            for start in range(0, len(self.ids), BATCH):
                some = self.ids.part(start, BATCH)
                place = {point_id: start + n for n, point_id in enumerate(some)}
                page = shard.retrieve(some)
                for point in page:
                    seen[place[point["id"]]] = 1
                yield page
        elif self.where is not None:
            yield from shard.pages(where=self.where)
        elif self.live is not None:
            pages = shard.pages(payload=False, vectors=False)
            ids = (point["id"] for page in pages for point in page)
            # read to the end first: the engine answers one question at a time
            live = self.live.get(key, ())
            gone = IdFile(self.opened.folder / f"gone-{shard.shard}", absent_ids(ids, live))
            for some in in_batches(gone):
                yield shard.retrieve(some)
        else:
            yield from shard.pages()

    def _all_known(self, seen: bytearray) -> None:
        assert self.ids is not None
        if unknown := seen.count(0):
            some = compress(self.ids, (not known for known in seen))
            named = ", ".join(map(str, islice(some, _NAMED))) + ", ..." * (unknown > _NAMED)
            raise NothingSelected(
                f"{unknown} of {len(self.ids)} ids are not in {self.opened.found.backup.key}: "
                f"{named}",
                "take another backup, or take them out of the file; `qdrant-dr list` has the "
                "backups. Nothing was changed.",
            )

    def _sensible(self, found: int, total: int) -> None:
        key = self.opened.found.backup.key
        if not found:
            raise NothingSelected(
                f"the filter finds none of the {total} points of {key}",
                "compare it with a payload of a point; nothing was changed.",
            )
        if found == total and not self.every:
            raise NothingSelected(
                f"the filter finds all {total} points of {key}",
                "if that is meant, add `--all`; nothing was changed.",
            )


@dataclass
class OfUndo:
    """The points of an undo record, as they were, each batch of one shard key. With `forced` also
    those that somebody changed since."""

    stored: StoredUndo
    forced: bool = False

    def batches(self) -> Iterator[list[Given]]:
        given = (
            Given(f.id, f.before, f.shard, f.shard_key, None if self.forced else f.left)
            for f in self.stored.points()
        )
        for _, some in groupby(given, key=attrgetter("shard_key")):
            yield from in_batches(some)


def live_ids(node: Node, name: str, key: ShardKey | None, limit: int | None, path: Path) -> IdFile:
    """Keep the ids of a live collection in a file, in their order; those of one shard key, if it
    has any."""
    points = scroll_points(node, name, limit=limit, content=False, shard_key=key)
    return IdFile(path, (p["id"] for p in points))


def in_batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """Cut a stream into lists."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some
