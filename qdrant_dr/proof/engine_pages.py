"""Pages of an open shard's points, in the engine's child process."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID

import qdrant_edge as edge

from qdrant_dr.proof import engine_search as search
from qdrant_dr.proof.fingerprint import bucket_of
from qdrant_dr.proof.page_size import PageSize
from qdrant_dr.proof.stored_pages import Page, Records, StoredPages, bytes_of

SKIP_PAGE = 20_000
Offset = int | str | UUID | None
Ahead = TypeVar("Ahead")


def json_point(record: edge.Record) -> dict[str, Any]:
    """Return a point as a server's scroll gives it."""
    vector = json_vector(record.vector)
    return {"id": search.json_id(record.id), "payload": record.payload, "vector": vector}


def json_vector(vector: Any) -> Any:
    """Return a vector as a server's scroll gives it."""
    if isinstance(vector, dict):
        return {name: json_vector(v) for name, v in vector.items()}
    if isinstance(vector, edge.SparseVector):
        return {"indices": vector.indices, "values": vector.values}
    return vector


def read_points(
    shard: edge.EdgeShard, skip: int, limit: int | None, stored: StoredPages | None
) -> Iterator[Page]:
    """Yield the points of a range page by page, with vectors from the files where they are
    `stored`."""
    vectors, apart = (stored.others, stored.bytes_each) if stored else (True, 0)
    for page in _pages(shard, skip, limit, vectors or False, apart):
        yield stored.points(page) if stored else Records(page)


def _pages(
    shard: edge.EdgeShard, skip: int, limit: int | None, vectors: bool | list[str], apart: int
) -> Iterator[list[edge.Record]]:
    """Yield records page by page; `apart` is how many bytes more each point will take."""
    offset: Offset = None
    while skip:
        ids, offset = scroll(shard, offset, min(skip, SKIP_PAGE), payload=False, vectors=False)
        skip -= len(ids)
        if offset is None:
            return
    size = PageSize()
    while limit is None or limit:
        most = size.points if limit is None else min(size.points, limit)
        page, offset = scroll(shard, offset, most, vectors=vectors)
        size.saw([apart + bytes_of(page[n]) for n in size.places(len(page))])
        if page:
            yield page
        if offset is None:
            return
        limit = None if limit is None else limit - len(page)


def read_buckets(
    shard: edge.EdgeShard, buckets: Sequence[int], alive: Callable[[], None]
) -> Iterator[Page]:
    """Yield the points that fall into some buckets of a fingerprint, in the order of their ids: of
    all others no more is read than that."""
    wanted, size = frozenset(buckets), PageSize()
    offset: Offset = None
    while True:
        records, offset = scroll(shard, offset, SKIP_PAGE, payload=False, vectors=False)
        alive()
        ids = [r.id for r in records if bucket_of(r.id) in wanted]
        while ids:
            some, ids = ids[: size.points], ids[size.points :]
            found = {r.id: r for r in shard.retrieve(some, with_payload=True, with_vector=True)}
            page = [found[i] for i in some]
            size.saw([bytes_of(page[n]) for n in size.places(len(page))])
            yield Records(page)
        if offset is None:
            return


def scroll(
    shard: edge.EdgeShard,
    offset: Offset,
    limit: int,
    *,
    payload: bool = True,
    vectors: bool | list[str] = True,
    where: edge.Filter | None = None,
) -> tuple[list[edge.Record], Offset]:
    """Return points from an id on, and the id that follows them."""
    return shard.scroll(
        edge.ScrollRequest(
            offset=offset,
            limit=limit,
            filter=where,
            with_payload=payload,
            with_vector=vectors,
        )
    )


def ahead(pages: Iterator[Ahead]) -> Iterator[Ahead]:
    """Yield the same pages, read one ahead in a thread: the engine works while Python hashes."""
    ready: queue.Queue[Ahead | BaseException | None] = queue.Queue(maxsize=1)

    def work() -> None:
        try:
            for page in pages:
                ready.put(page)
            ready.put(None)
        except BaseException as e:  # noqa: BLE001 - a panic, too; raised in the thread that reads
            ready.put(e)

    threading.Thread(target=work, daemon=True).start()
    while (page := ready.get()) is not None:
        if isinstance(page, BaseException):
            raise page
        yield page
