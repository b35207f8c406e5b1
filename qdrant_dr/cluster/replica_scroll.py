"""Read one shard on several nodes in parallel, in windows of ids that every node has shown fully.

A scroll is in the order of ids and gives the first id of its next page: everything before the
lowest of these ids has been shown by every replica, and can be compared."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

from qdrant_dr.cluster.answers import understood
from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.cluster.sampling import bits_of_integers
from qdrant_dr.cluster.scroll import RawPoint, points_by_id

T = TypeVar("T")
PointId: TypeAlias = int | str
Window: TypeAlias = dict[str, list[RawPoint]]
"""The points of each node in one range of ids."""

PAGE = 250
SAMPLED = 24
"""How many windows a sample has beside the first: at most this many times `PAGE` points per
shard."""


@dataclass(frozen=True, slots=True)
class SideBySide:
    """The replicas of one shard, each on its own node (by address).

    `limit` is the largest page that strict mode allows. What a call raises passes through.
    """

    nodes: Mapping[str, Node]
    collection: str
    shard: int
    limit: int | None = None

    def whole(self) -> Iterator[Window]:
        """Yield every point of the shard, window by window."""
        offset: PointId | None = None
        while True:
            window, offset = self._window(offset)
            yield window
            if offset is None:
                return

    def sample(self, seed: int) -> Iterator[Window]:
        """Yield the first window, then those that begin at ids chosen by a seed."""
        for offset in (None, *self._offsets(random.Random(seed))):
            yield self._window(offset)[0]

    def again(self, ids: Sequence[PointId]) -> Window:
        """Read these points once more, as each node has them now."""
        return self._each(
            lambda node: list(
                points_by_id(node, self.collection, ids, shard=self.shard, limit=self.limit)
            )
        )

    def _offsets(self, chance: random.Random) -> list[PointId]:
        """Choose half integers, half UUIDs; without ids of one kind, the window shows the next
        id."""
        bits = max(
            self._each(lambda node: bits_of_integers(node, self.collection, self.shard)).values()
        )
        integers: list[PointId] = [chance.randrange(1 << bits) for _ in range(SAMPLED // 2)]
        return [*integers, *(str(UUID(int=chance.getrandbits(128))) for _ in range(SAMPLED // 2))]

    def _window(self, offset: PointId | None) -> tuple[Window, PointId | None]:
        asked = {
            "limit": min(PAGE, self.limit or PAGE), "with_payload": True, "with_vector": True,
            **({} if offset is None else {"offset": offset}),
        }  # fmt: skip
        pages = self._each(lambda node: _page(node, self.collection, self.shard, asked))
        following = [after for _, after in pages.values() if after is not None]
        end = min(following, key=order, default=None)
        shown = {
            url: [p for p in points if end is None or order(p["id"]) < order(end)]
            for url, (points, _) in pages.items()
        }
        return shown, end

    def _each(self, question: Callable[[Node], T]) -> dict[str, T]:
        """Ask every node the same question at once."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            return dict(zip(self.nodes, pool.map(question, self.nodes.values()), strict=True))


@understood("read a shard")
def _page(
    node: Node, collection: str, shard: int, asked: Mapping[str, Any]
) -> tuple[list[RawPoint], PointId | None]:
    """Return points in the order of ids, and the first id after them."""
    where = path_of(collection, "shards", shard, "points", "scroll")
    doing = f"read shard {shard} of {collection!r}"
    page = node.read(where, doing, collection=collection, json=dict(asked))
    points, after = list(page["points"]), page.get("next_page_offset")
    places = [order(p["id"]) for p in points]
    if after is not None and (not places or order(after) <= places[-1]):
        raise ValueError("it does not advance")
    return points, after


def order(point: PointId) -> tuple[bool, int]:
    """Return the sort key of the server's order of ids: integers before UUIDs. Pure."""
    return (True, UUID(point).int) if isinstance(point, str) else (False, point)
