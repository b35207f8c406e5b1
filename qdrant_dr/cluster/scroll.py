"""Read points of a live collection, in the form of the server's JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import ge
from typing import Any, TypeAlias
from uuid import UUID

from qdrant_dr.cluster.grpc_points import GrpcPoints, GrpcUnfit
from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.errors import ServerFailed

RawPoint: TypeAlias = dict[str, Any]
"""`id`, `payload`, `vector` as parsed from JSON: integers exact, floats as doubles."""
ShardKey: TypeAlias = int | str
"""With custom sharding each key has ids of its own: one id may be of a point of each."""

PAGE = 500
GRPC_PAGE = 2000
IDS_PAGE = 10_000
PAGE_BYTES = 8 << 20
FIRST_PAGE = 16
"""Of content, of a collection of which nothing is known: a point may have many megabytes."""
GRPC_MISSES = 3
"""So many pages are tried over gRPC in vain before the rest is read over REST."""


def scroll_points(
    node: Node,
    collection: str,
    *,
    shard: int | None = None,
    limit: int | None = None,
    content: bool = True,
    over_grpc: GrpcPoints | None = None,
    shard_key: ShardKey | None = None,
) -> Iterator[RawPoint]:
    """Yield every point in order of id, page by page; of one shard of this node if `shard` is
    given, of the shards of one key if `shard_key` is.

    Pages have about `PAGE_BYTES`, however large the points are; the next one is read while this one
    is used. `limit` is the server's `max_query_limit` (strict mode refuses larger pages). Without
    `content` only ids. `over_grpc` reads whole collections faster; what it cannot read is read over
    REST. Deferred points (`prevent_unoptimized`) are hidden by the server. Raise
    ServerFailed if the server does not advance or gives more than was asked for, and what any call
    raises.
    """
    pages = _Pages(node, collection, shard, limit, content, over_grpc, shard_key)
    for page in pages.one_ahead():
        yield from page.points


@dataclass(frozen=True, slots=True)
class _Page:
    """Some points, the id that the next page begins with, and how many may be asked for there."""

    points: list[RawPoint]
    following: int | str | None
    next_size: int


class _Pages:
    """Reads pages of one scroll, over gRPC as long as that serves."""

    def __init__(
        self,
        node: Node,
        collection: str,
        shard: int | None,
        limit: int | None,
        content: bool,
        over_grpc: GrpcPoints | None,
        shard_key: ShardKey | None,
    ) -> None:
        self._key = of_key(shard_key)
        self._node, self._collection, self._content = node, collection, content
        self._where = path_of(collection, *shard_steps(shard), "points", "scroll")
        most = GRPC_PAGE if over_grpc else PAGE
        most = most if content else IDS_PAGE
        self._limit = min(most, limit) if limit else most
        self._grpc, self._misses = None if self._key else over_grpc, 0
        self._largest = 1

    def one_ahead(self) -> Iterator[_Page]:
        """Every page; the next one is read while this one is used."""
        size = FIRST_PAGE if self._content else IDS_PAGE
        ahead = ThreadPoolExecutor(1, "next-page")
        try:
            coming = ahead.submit(self._page, None, min(size, self._limit))
            while True:
                page = coming.result()
                if page.following is not None:
                    coming = ahead.submit(self._page, page.following, page.next_size)
                yield page
                if page.following is None:
                    return
        finally:
            ahead.shutdown(wait=False, cancel_futures=True)

    def _page(self, offset: int | str | None, size: int) -> _Page:
        """The page that begins at an id."""
        points, following, took = self._over_grpc(offset, size) or self._over_rest(offset, size)
        self._must_advance(offset, points, following, size)
        self._largest = max(self._largest, took // max(1, len(points)))
        more = min(max(1, PAGE_BYTES // self._largest), size * 4) if self._content else size
        more = min(more, self._limit)
        return _Page(points, following, more)

    def _over_grpc(
        self, offset: int | str | None, size: int
    ) -> tuple[list[RawPoint], int | str | None, int] | None:
        if self._grpc is None or self._misses >= GRPC_MISSES:
            return None
        if share := self._node.read_budget_of(self._collection):
            share.spend(1)
        try:
            return self._grpc.page(self._collection, offset, size)
        except GrpcUnfit:
            self._misses += 1
            return None

    def _over_rest(
        self, offset: int | str | None, size: int
    ) -> tuple[list[RawPoint], int | str | None, int]:
        asked: dict[str, Any] = {
            "limit": min(size, PAGE) if self._content else size,
            "with_payload": self._content,
            "with_vector": self._content,
            **self._key,
        }
        if offset is not None:
            asked["offset"] = offset
        answer, took = self._node.read_sized(
            self._where, f"scroll {self._collection!r}", collection=self._collection, json=asked
        )
        return answer["points"], answer.get("next_page_offset"), took

    def _must_advance(
        self,
        offset: int | str | None,
        points: list[RawPoint],
        following: int | str | None,
        size: int,
    ) -> None:
        where = f"in a scroll of {self._collection!r}"
        try:
            order = [id_order(p["id"]) for p in points]
            order += [id_order(following)] if following is not None else []
            first = None if offset is None else id_order(offset)
        except (TypeError, ValueError, KeyError, AttributeError):
            raise ServerFailed(
                f"{self._node.url} gives points without proper ids {where}"
            ) from None
        behind = first is not None and bool(order) and order[0] < first
        stuck = following is not None and not points
        if behind or stuck or any(map(ge, order, order[1:])):
            raise ServerFailed(f"{self._node.url} does not advance {where}")
        if len(points) > size:
            raise ServerFailed(
                f"{self._node.url} gave {len(points)} points {where}, {size} were asked for"
            )


def id_order(point_id: int | str) -> tuple[int, int]:
    """Where an id comes in a scroll: integers before UUIDs."""
    return (0, point_id) if isinstance(point_id, int) else (1, UUID(point_id).int)


def count_by_scrolling(
    node: Node, collection: str, *, shard: int | None = None, limit: int | None = None
) -> int:
    """Count the points exactly where strict mode forbids a count."""
    return sum(1 for _ in scroll_points(node, collection, shard=shard, limit=limit, content=False))


def points_by_id(
    node: Node,
    collection: str,
    ids: Sequence[int | str],
    *,
    shard: int | None = None,
    limit: int | None = None,
    shard_key: ShardKey | None = None,
) -> Iterator[RawPoint]:
    """Return the existing points of these ids, with payload and vectors; unknown ids are left out.

    Each point costs a token of the collection's read limit, so one request takes no more than our
    share of a minute.
    """
    step = min(PAGE, limit) if limit else PAGE
    if share := node.read_budget_of(collection):
        step = max(1, min(step, int(share.per_minute)))
    where, doing = (
        path_of(collection, *shard_steps(shard), "points"),
        f"read points of {collection!r}",
    )
    for start in range(0, len(ids), step):
        some = list(ids[start : start + step])
        asked = {"ids": some, "with_payload": True, "with_vector": True, **of_key(shard_key)}
        yield from node.read(where, doing, collection=collection, json=asked, cost=len(some))


def of_key(shard_key: ShardKey | None) -> dict[str, ShardKey]:
    """What a request says to concern the shards of one key alone."""
    return {} if shard_key is None else {"shard_key": shard_key}


def shard_steps(shard: int | None) -> tuple[str, ...]:
    """The steps of a path that ask one shard of this node alone."""
    return () if shard is None else ("shards", str(shard))
