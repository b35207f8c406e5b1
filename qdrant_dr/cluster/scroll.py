"""Points of a live collection, as the server's JSON has them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from qdrant_dr.cluster.answers import understood
from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.errors import ServerFailed

RawPoint: TypeAlias = dict[str, Any]
"""`id`, `payload`, `vector` as parsed from JSON: integers exact, floats as doubles."""

PAGE = 500
IDS_PAGE = 10_000


def scroll_points(
    node: Node,
    collection: str,
    *,
    shard: int | None = None,
    limit: int | None = None,
    content: bool = True,
) -> Iterator[RawPoint]:
    """Every point in order of id, page by page; of one shard of this node if `shard` is given.

    `limit` is the server's `max_query_limit` (strict mode refuses larger pages). Without
    `content` only ids. Deferred points (`prevent_unoptimized`) are hidden by the server.
    Raise ServerFailed if the server does not advance, and what any call raises.
    """
    where = path_of(collection, *_shard(shard), "points", "scroll")
    page = PAGE if content else IDS_PAGE
    asked: dict[str, Any] = {
        "limit": min(page, limit) if limit else page,
        "with_payload": content,
        "with_vector": content,
    }
    while True:
        answer = node.ask(
            "POST", where, f"scroll {collection!r}", json=asked, collection=collection
        )
        yield from answer["points"]
        following = answer.get("next_page_offset")
        if following is None:
            return
        if following == asked.get("offset") or not answer["points"]:
            raise ServerFailed(f"{node.url} does not advance in a scroll of {collection!r}")
        asked["offset"] = following


def count_by_scrolling(
    node: Node, collection: str, *, shard: int | None = None, limit: int | None = None
) -> int:
    """Exact number of points where strict mode forbids to ask for it."""
    return sum(1 for _ in scroll_points(node, collection, shard=shard, limit=limit, content=False))


def points_by_id(
    node: Node, collection: str, ids: Sequence[int | str], *, limit: int | None = None
) -> Iterator[RawPoint]:
    """The points of these ids that exist, with payload and vectors; unknown ids are left out."""
    step = min(PAGE, limit) if limit else PAGE
    where, doing = path_of(collection, "points"), f"read points of {collection!r}"
    for start in range(0, len(ids), step):
        some = list(ids[start : start + step])
        asked = {"ids": some, "with_payload": True, "with_vector": True}
        yield from node.ask("POST", where, doing, json=asked, collection=collection)


@understood("sample a collection")
def sample_points(
    node: Node, collection: str, *, count: int, seed: str, limit: int | None = None
) -> list[RawPoint]:
    """Up to `count` points with payload and vectors, chosen by a seed, spread over all ids.

    A scroll begins at the first id that is not below its offset (integers before UUIDs), so random
    offsets find points without reading the others. Gaps make the pick uneven, never empty.
    """
    chance = random.Random(seed)
    draws: list[Callable[[], int | str]] = []
    if (highest := _highest_integer(node, collection)) is not None:
        draws.append(lambda: chance.randint(0, highest))
    if _next_point(node, collection, str(UUID(int=0))):
        draws.append(lambda: str(UUID(int=chance.getrandbits(128))))
    first = _next_point(node, collection, None)
    chosen: dict[int | str, None] = {first["id"]: None} if first else {}
    for n in range(count - 1 if draws else 0):
        if point := _next_point(node, collection, draws[n % len(draws)]()):
            chosen[point["id"]] = None
    return list(points_by_id(node, collection, list(chosen), limit=limit))


def _highest_integer(node: Node, collection: str) -> int | None:
    """Largest integer id, found by bisection; None if there is none."""

    def reaches(offset: int) -> bool:
        point = _next_point(node, collection, offset)
        return point is not None and isinstance(point["id"], int)

    if not reaches(0):
        return None
    low, high = 0, 2**64 - 1
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if reaches(middle) else (low, middle - 1)
    return low


def _next_point(node: Node, collection: str, offset: int | str | None) -> RawPoint | None:
    """The first point at or behind an id, without its content."""
    asked: dict[str, Any] = {"limit": 1, "with_payload": False, "with_vector": False}
    if offset is not None:
        asked["offset"] = offset
    found = node.ask(
        "POST", path_of(collection, "points", "scroll"), f"sample {collection!r}",
        json=asked, collection=collection,
    )  # fmt: skip
    return next(iter(found["points"]), None)


def _shard(shard: int | None) -> tuple[str, ...]:
    return () if shard is None else ("shards", str(shard))
