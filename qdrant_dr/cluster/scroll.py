"""Read points of a live collection, in the form of the server's JSON."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias
from uuid import UUID

from qdrant_dr.cluster.http_errors import understood
from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.errors import ServerFailed

RawPoint: TypeAlias = dict[str, Any]
"""`id`, `payload`, `vector` as parsed from JSON: integers exact, floats as doubles."""

PAGE = 500
IDS_PAGE = 10_000
DRAWS = 8
"""How many places of a collection a sample is taken from."""
SAMPLING_REQUESTS = DRAWS + 9
"""One for the first point, six for the size of integer ids, one for UUIDs, one to fill up."""


def scroll_points(
    node: Node,
    collection: str,
    *,
    shard: int | None = None,
    limit: int | None = None,
    content: bool = True,
) -> Iterator[RawPoint]:
    """Yield every point in order of id, page by page; of one shard of this node if `shard` is
    given.

    `limit` is the server's `max_query_limit` (strict mode refuses larger pages). Without `content`
    only ids. The server hides deferred points (`prevent_unoptimized`).
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
        answer = node.read(where, f"scroll {collection!r}", collection=collection, json=asked)
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
    """Count the points exactly where strict mode forbids a count."""
    return sum(1 for _ in scroll_points(node, collection, shard=shard, limit=limit, content=False))


def points_by_id(
    node: Node,
    collection: str,
    ids: Sequence[int | str],
    *,
    shard: int | None = None,
    limit: int | None = None,
) -> Iterator[RawPoint]:
    """Return the existing points of these ids, with payload and vectors; unknown ids are left out.

    Each point costs a token of the collection's read limit, so one request takes no more than our
    share of a minute.
    """
    step = min(PAGE, limit) if limit else PAGE
    if share := node.share_of(collection):
        step = max(1, min(step, int(share.per_minute)))
    where, doing = path_of(collection, *_shard(shard), "points"), f"read points of {collection!r}"
    for start in range(0, len(ids), step):
        some = list(ids[start : start + step])
        asked = {"ids": some, "with_payload": True, "with_vector": True}
        yield from node.read(where, doing, collection=collection, json=asked, cost=len(some))


@understood("sample a collection")
def sample_points(
    node: Node,
    collection: str,
    *,
    count: int,
    seed: str,
    shard: int | None = None,
    limit: int | None = None,
) -> list[RawPoint]:
    """Sample up to `count` points with payload and vectors, chosen by a seed, spread over all ids;
    of one shard of this node if `shard` is given (for other shards a node would ask any replica).

    A scroll starts at the first id not below its offset (integers before UUIDs), so random offsets
    find points without reading the others. However many points there are, this takes at most
    `SAMPLING_REQUESTS` scrolls and no costlier calls, because other readers share the limit with
    us. Gaps make the sample uneven, never empty."""
    chance = random.Random(seed)
    first = _page(node, collection, shard, None, 1)
    if not first:
        return []
    offsets: list[Callable[[], int | str]] = []
    if isinstance(first[0]["id"], int):
        bits = bits_of_integers(node, collection, shard)
        offsets.append(lambda: chance.randrange(1 << bits))
    if not isinstance(first[0]["id"], int) or _page(node, collection, shard, str(UUID(int=0)), 1):
        offsets.append(lambda: str(UUID(int=chance.getrandbits(128))))
    size = -(-count // DRAWS)
    size = min(size, limit) if limit else size
    found: dict[int | str, RawPoint] = {}
    for n in range(min(DRAWS, -(-count // size))):
        offset = offsets[n % len(offsets)]()
        for point in _page(node, collection, shard, offset, size, content=True):
            found.setdefault(point["id"], point)
    if len(found) < count:  # offsets were after the last point, or too close to each other
        missing = min(count, limit) if limit else count
        for point in _page(node, collection, shard, None, missing, content=True):
            found.setdefault(point["id"], point)
    return list(found.values())[:count]


def bits_of_integers(node: Node, collection: str, shard: int | None = None) -> int:
    """Return the binary digits of the largest integer id, so that at least half of the offsets are
    below it."""
    low, high = 1, 64
    while low < high:
        middle = (low + high) // 2
        behind = _page(node, collection, shard, 1 << middle, 1)
        reached = bool(behind) and isinstance(behind[0]["id"], int)
        low, high = (middle + 1, high) if reached else (low, middle)
    return low


def _page(
    node: Node,
    collection: str,
    shard: int | None,
    offset: int | str | None,
    limit: int,
    *,
    content: bool = False,
) -> list[RawPoint]:
    """Return the first points at or after an id."""
    asked: dict[str, Any] = {"limit": limit, "with_payload": content, "with_vector": content}
    if offset is not None:
        asked["offset"] = offset
    where = path_of(collection, *_shard(shard), "points", "scroll")
    found = node.read(where, f"sample {collection!r}", collection=collection, json=asked)
    return list(found["points"])


def _shard(shard: int | None) -> tuple[str, ...]:
    return () if shard is None else ("shards", str(shard))
