"""The changes that a restore of points makes, and the ids that it was given, in files: a million of
them take no memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from qdrant_dr.cluster.scroll import id_order
from qdrant_dr.jobs.restore_points.decide_change import Change, Place, PointId

BATCH = 500
BATCH_BYTES = 8 << 20


def absent_ids(ids: Iterable[PointId], live: Iterable[PointId]) -> Iterator[PointId]:
    """Yield the ids that are not live; both are sorted as a server scrolls."""
    marked = merge(((id_order(i), 0, i) for i in live), ((id_order(i), 1, i) for i in ids))
    for _, same_id in groupby(marked, key=lambda m: m[0]):
        (_, first, point_id), *_ = same_id
        if first:
            yield point_id


class ChangeFile:
    """Changes in the order in which they are to be made; written once, then read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._out = path.open("x")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._out.close()

    def add(self, change: Change) -> None:
        """Append one change."""
        row = [
            change.id,
            change.before,
            change.after,
            change.wanted,
            change.shard,
            change.shard_key,
        ]
        self._out.write(json.dumps(row) + "\n")
        self.count += 1

    def batches(self) -> Iterator[list[Change]]:
        """Yield the changes in batches of one shard and kind of writing, none too large."""
        self._out.flush()
        batch: list[Change] = []
        size = 0
        with self.path.open() as rows:
            for line in rows:
                change = Change(*_row_of(line))
                full = len(batch) == BATCH or size + len(line) > BATCH_BYTES
                if batch and (full or batch[-1].shard_key != change.shard_key):
                    yield batch
                    batch, size = [], 0
                batch.append(change)
                size += len(line)
        if batch:
            yield batch

    def places(self) -> Iterator[Place]:
        """Yield the shard key and id of every change."""
        self._out.flush()
        with self.path.open() as rows:
            for line in rows:
                change = Change(*_row_of(line))
                yield change.shard_key, change.id


def _row_of(line: str) -> list[Any]:
    try:
        row: list[Any] = orjson.loads(line)
    except ValueError:  # a number that is not finite, which JSON has no word for
        row = json.loads(line)
    return row


class IdFile:
    """Ids in the order of a scroll, in a file: read as often as needed."""

    def __init__(self, path: Path, ids: Iterable[PointId]) -> None:
        self.path = path
        with path.open("x") as out:
            for point_id in ids:
                out.write(json.dumps(point_id) + "\n")

    def __iter__(self) -> Iterator[PointId]:
        with self.path.open() as rows:
            for line in rows:
                yield json.loads(line)
