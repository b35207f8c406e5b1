"""The changes that a restore of points makes, decided point by point, kept in a file. Pure but for
that file, so that a million of them take no memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import orjson

from qdrant_dr.cluster import RawPoint
from qdrant_dr.cluster.scroll import ShardKey, id_order
from qdrant_dr.jobs.restore_points.point_states import combined, digest_of, same
from qdrant_dr.records.undo import ABSENT

PointId = int | str
Place = tuple[ShardKey | None, PointId]
"""Which point: each shard key has ids of its own."""
Kind = Literal["create", "overwrite", "delete"]
Verdict = Kind | Literal["equal", "lacking", "present"]
"""`lacking`: one component of a point that is not there cannot be written; `present`: only missing
points were asked for."""

BATCH = 500
BATCH_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Change:
    """What one point is to become: `after`, None to be deleted, of which `wanted` is the digest.
    `before` is the digest of what it was when it was decided."""

    id: PointId
    before: str
    after: RawPoint | None
    wanted: str
    shard: int | None = None
    shard_key: ShardKey | None = None

    @property
    def kind(self) -> Kind:
        if self.after is None:
            return "delete"
        return "create" if self.before == ABSENT else "overwrite"


def decide(
    point_id: PointId,
    given: RawPoint | None,
    there: RawPoint | None,
    *,
    only: str | None,
    missing: bool,
    cosine: frozenset[str],
    shard: int | None = None,
    shard_key: ShardKey | None = None,
) -> tuple[Verdict, Change | None]:
    """Decide what becomes of one point that is `there`, and is to be as `given`; the last bits of
    the vectors `cosine` do not count."""
    if missing and there is not None:
        return "present", None
    if only is not None and there is None and given is not None:
        return "lacking", None
    after = combined(there, given, only)
    if same(after, there, only, cosine):
        return "equal", None
    digests = digest_of(there, only), digest_of(after, only)
    change = Change(point_id, digests[0], after, digests[1], shard, shard_key)
    return change.kind, change


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
