"""A sample of a collection's points in few requests: ids first, then points at some of them.

The server's own random query takes no seed: two samples of one collection would differ.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from qdrant_dr.cluster.answers import understood
from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.cluster.scroll import (
    IDS_PAGE,
    RawPoint,
    ShardKey,
    id_order,
    of_key,
    shard_steps,
)

DRAWS = 6
"""How many places of a collection a sample is taken from."""
SAMPLING_REQUESTS = DRAWS + 3
"""Two for ids: the first of all, and the first UUIDs if those do not follow on the same page; one
to fill up."""
_CAPS = 1 << 64, 1 << 128
"""What no integer id and no UUID reaches."""
_GOLDEN = 2_654_435_769
"""The golden section of 2**32."""


@understood("sample a collection")
def sample_points(
    node: Node,
    collection: str,
    *,
    count: int,
    seed: str,
    shard: int | None = None,
    limit: int | None = None,
    total: int | None = None,
    shard_key: ShardKey | None = None,
) -> list[RawPoint]:
    """Sample up to `count` points with payload and vectors, chosen by a seed, spread over all ids;
    of one shard of this node if `shard` is given (for other shards a node would ask any replica),
    of the shards of one key if `shard_key` is.

    A scroll starts at the first id not below its offset (integers before UUIDs). Where one page
    shows all ids, they are drawn from it; else from the range that they fill if they go on as
    densely as they begin, of which `total` is the number, and from behind it. However many points
    there are, this takes at most `SAMPLING_REQUESTS` scrolls and no costlier calls, because other
    readers share the limit with us. Gaps make the sample uneven, never empty."""
    asked = _Asked(node, collection, shard, min(IDS_PAGE, limit or IDS_PAGE), shard_key)
    chance = random.Random(seed)
    ids, more = asked.ids(None)
    if not ids:
        return []
    ranges: list[_Range] = []
    if more:
        size = min(max(1, count // DRAWS), limit or count)
        ranges = _ranges(asked, ids, total)
        starts = _offsets(ranges, chance)
    elif len(ids) > count:
        size = min(max(1, count // DRAWS), limit or count)
        starts = _places(ids, chance)
    else:
        size = min(count, limit or count)
        starts = iter(ids[::size][:DRAWS])
    found: dict[int | str, RawPoint] = {}
    for start in starts:
        points = asked.points(start, size)
        for point in points:
            found.setdefault(point["id"], point)
        _learn(ranges, start, points)
    missing = count - len(found)
    if more and missing > 0:  # draws behind the last point found nothing
        start = ids[chance.randrange(max(1, len(ids) - missing))]
        for point in asked.points(start, min(missing, limit or missing)):
            found.setdefault(point["id"], point)
    return list(found.values())[:count]


def bits_of_integers(node: Node, collection: str, shard: int | None = None) -> int:
    """Return the binary digits of the largest integer id, so that at least half of the offsets are
    below it."""
    asked = _Asked(node, collection, shard, 1)
    low, high = 1, 64
    while low < high:
        middle = (low + high) // 2
        behind, _ = asked.ids(1 << middle)
        reached = bool(behind) and isinstance(behind[0], int)
        low, high = (middle + 1, high) if reached else (low, middle)
    return low


@dataclass(slots=True)
class _Range:
    """Ids of one kind. `known` were seen first; up to `end` they go on if they are as dense as
    these; `last` is the last that was seen from there on, behind `cap` there is none."""

    kind: int
    known: Sequence[int]
    end: int
    cap: int
    last: int | None = None

    @property
    def whole(self) -> bool:
        """Say whether all of them are known."""
        return self.cap == self.known[-1] + 1

    def draws(self, chance: random.Random) -> Iterator[int]:
        """Where to look: at the guessed end first, then within it and behind it by turns."""
        if not self.whole:
            yield min(self.end, self.cap - 1)
        spot = chance.getrandbits(32)
        while True:
            spot = (spot + _GOLDEN) % (1 << 32)  # far from all that came before it
            if self.whole:
                yield self.known[spot * len(self.known) >> 32]
                continue
            first = self.known[0]
            yield first + (spot * (min(self.end, self.cap) - first) >> 32)
            if self.last is not None and self.last + 1 < self.cap:
                # nobody knows how far they go: each length of a step is as likely
                step = 1 << chance.randrange((self.cap - self.last).bit_length())
                yield min(self.last + 1 + chance.randrange(step), self.cap - 1)


def _ranges(asked: _Asked, ids: Sequence[int | str], total: int | None) -> list[_Range]:
    """The ids of each kind, by the first of all and, where these are integers, the first UUIDs."""
    pages = [[at for kind, at in map(id_order, ids) if kind == wanted] for wanted in (0, 1)]
    whole = [bool(pages[1]), False]
    if not pages[1]:
        uuids, more = asked.ids(str(UUID(int=0)))
        pages[1], whole[1] = [UUID(str(u)).int for u in uuids], not more
    return [
        _range(kind, known, total, whole=whole[kind]) for kind, known in enumerate(pages) if known
    ]


def _range(kind: int, known: Sequence[int], total: int | None, *, whole: bool) -> _Range:
    behind = known[-1] + 1
    if whole:
        return _Range(kind, known, behind, behind)
    if total is None:
        return _Range(kind, known, behind, _CAPS[kind], known[-1])
    width = (behind - known[0]) * max(total, len(known)) // len(known)
    return _Range(kind, known, min(_CAPS[kind], known[0] + width), _CAPS[kind])


def _offsets(ranges: Sequence[_Range], chance: random.Random) -> Iterator[int | str]:
    """Where each draw begins, the kinds of ids by turns."""
    draws = [r.draws(chance) for r in ranges]
    for n in range(DRAWS):
        which = n % len(ranges)
        at = next(draws[which])
        yield str(UUID(int=at)) if ranges[which].kind else at


def _learn(ranges: Sequence[_Range], start: int | str, points: Sequence[RawPoint]) -> None:
    """What a draw showed of the range that it was in."""
    kind, at = id_order(start)
    mine = next((r for r in ranges if r.kind == kind), None)
    if mine is None:
        return
    there = [place for k, place in (id_order(p["id"]) for p in points) if k == kind]
    if not there:
        mine.cap = min(mine.cap, max(at, mine.known[-1] + 1))
    elif there[-1] >= mine.end:
        mine.last = max(there[-1], mine.last or 0)


def _places(ids: Sequence[int | str], chance: random.Random) -> Iterator[int | str]:
    """One id of each part of all of them, of every kind that there is."""
    starts = [int((n + chance.random()) * len(ids) / DRAWS) for n in range(DRAWS)]
    integers = sum(isinstance(i, int) for i in ids)
    if 0 < integers < len(ids):
        starts[0] = min(starts[0], chance.randrange(integers))
        starts[-1] = max(starts[-1], chance.randrange(integers, len(ids)))
    return (ids[at] for at in starts)


@dataclass(frozen=True, slots=True)
class _Asked:
    """One page of a scroll at a time, that begins at an id."""

    node: Node
    collection: str
    shard: int | None
    page: int
    shard_key: ShardKey | None = None

    def ids(self, offset: int | str | None) -> tuple[list[int | str], bool]:
        """The first ids from there on, and whether there are more."""
        found = self._read(offset, self.page, content=False)
        return [p["id"] for p in found["points"]], found.get("next_page_offset") is not None

    def points(self, offset: int | str, size: int) -> list[RawPoint]:
        """The first points from there on."""
        return list(self._read(offset, size, content=True)["points"])

    def _read(self, offset: int | str | None, size: int, *, content: bool) -> Any:
        asked: dict[str, Any] = {
            "limit": size, "with_payload": content, "with_vector": content,
            **of_key(self.shard_key),
        }  # fmt: skip
        if offset is not None:
            asked["offset"] = offset
        where = path_of(self.collection, *shard_steps(self.shard), "points", "scroll")
        doing = f"sample {self.collection!r}"
        return self.node.read(where, doing, collection=self.collection, json=asked)
