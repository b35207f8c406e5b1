"""The only process that runs Qdrant's storage engine: `python -m qdrant_dr.proof.engine_child`.

It reads requests and writes answers as JSON after a length of four bytes, dies with its parent, and
keeps its answers separate from whatever the engine prints. A panic ends it. Its parent decides what
an end or an answer means. Requests, each answered by `done` or `failed`, after any number of
`progress`:

    load {path}                 -> segments {uuid: version}, points (exact count)
    read {skip?, limit?, table?, pick?, seed?}
                                -> fingerprint, sketch of the points in the order of their ids;
                                   table: where to write a row for every point; picked: the ids at
                                   the places `pick`, ascending, of what is read; seed: take
                                   vectors from the files of the shard, compare a sample with the
                                   engine; stored: of how many points, disagreed: why of none
    retrieve {ids}              -> fingerprint of these points alone
    digests {ids}               -> digest of each component of these points, [id, {name: hex}]
    points {ids}                -> these points, as a server's scroll would give them
    page {offset?, limit, whole?} -> points in the order of their ids, and next: where to go on,
                                   or null; without `whole` their ids alone
    export {path, form, columns, about, apart?, but?, seed?}
                                -> writes the points, but some, in the order of their ids into a
                                   new file, and reads it back: points, size_bytes, sha256,
                                   fingerprints of what is in the file (settled, and of the ids
                                   `apart`)
    choose {ids, names, each, tenants}
                                -> golden queries, each with the answer of the index
    answer {queries}            -> the answers of the index to golden queries
    count {conditions}          -> points for which each condition holds, by the payload indexes
    scan {conditions}           -> the same after all payload indexes were dropped
    close
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import queue
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal, TypeVar
from uuid import UUID

import qdrant_edge as edge

from qdrant_dr.proof import engine_search as search
from qdrant_dr.proof.columns import Columns
from qdrant_dr.proof.encoding import point_digests
from qdrant_dr.proof.fingerprint import Fingerprinter
from qdrant_dr.proof.page_size import PageSize
from qdrant_dr.proof.stored_pages import DisagreesError, Page, Records, StoredPages, bytes_of
from qdrant_dr.proof.stored_vectors import NotPlainError

SKIP_PAGE = 20_000
PROGRESS_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1
Ahead = TypeVar("Ahead")


def id_key(point_id: int | str | UUID) -> bytes:
    """Pack an id into 17 bytes that sort as Qdrant scrolls: integers before UUIDs, each
    ascending."""
    if isinstance(point_id, int):
        return b"\0" + point_id.to_bytes(16, "big")
    return b"\1" + UUID(str(point_id)).bytes


def key_id(key: bytes) -> int | str:
    """Return the id that `id_key` packed, in JSON's form."""
    return str(UUID(bytes=key[1:])) if key[0] else int.from_bytes(key[1:], "big")


def main() -> None:
    parent, memory = int(sys.argv[1]), int(sys.argv[2])
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent died before the child began")
    resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gc.disable()  # pages of points have no cycles: looking for them took a tenth of the time
    sys.setswitchinterval(0.0005)  # the engine scrolls in one thread while another hashes
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what the engine prints must not look like an answer
    requests = sys.stdin.buffer
    child = Child(lambda message: send(answers, message))
    while (request := receive(requests)) is not None:
        send(answers, child.answer(request))
        gc.collect()


def send(pipe: IO[bytes], message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    pipe.write(len(data).to_bytes(4, "big") + data)


def receive(pipe: IO[bytes]) -> dict[str, Any] | None:
    """Return the next request, None when the parent has closed the pipe."""
    head = pipe.read(4)
    if len(head) < 4:
        return None
    message = json.loads(pipe.read(int.from_bytes(head, "big")))
    assert isinstance(message, dict)
    return message


class Child:
    """One open shard and the requests for it."""

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self._shard: edge.EdgeShard | None = None
        self._path = Path()
        self._tell = tell

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Carry out a request. Whatever the engine raises is reported to the parent as `failed`."""
        verbs: dict[str, Callable[..., Any]] = {
            "load": self._load,
            "read": self._read,
            "retrieve": self._retrieve,
            "digests": self._digests,
            "points": self._points,
            "page": self._page,
            "export": self._export,
            "choose": self._choose,
            "answer": self._answer,
            "count": self._count,
            "scan": self._scan,
            "close": self._close,
        }
        try:
            return {"done": verbs[request.pop("do")](**request)}
        except Exception as e:  # noqa: BLE001 - told, not swallowed
            return {"failed": f"{type(e).__name__}: {e}"}

    @property
    def _open(self) -> edge.EdgeShard:
        if self._shard is None:
            raise RuntimeError("no shard is open")
        return self._shard

    def _load(self, path: str) -> dict[str, Any]:
        self._close()
        self._path = Path(path)
        self._shard = edge.EdgeShard.load(path)
        manifest = self._shard.snapshot_manifest()
        return {
            "segments": {uuid: facts["segment_version"] for uuid, facts in manifest.items()},
            "points": self._shard.count(edge.CountRequest(exact=True)),
        }

    def _close(self) -> None:
        if self._shard is not None:
            self._shard.close()
            self._shard = None

    def _read(self, table: str | None = None, **wanted: Any) -> dict[str, Any]:
        """Read with vectors from the files, if `seed` is given and they are plain; with the engine
        alone if not, or if a sample differs."""
        stored = self._stored(wanted.pop("seed", None))
        try:
            return self._read_points(stored, table=table, **wanted)
        except DisagreesError as e:
            if table:
                Path(table).unlink()
            return {**self._read_points(None, table=table, **wanted), "disagreed": str(e)}

    def _stored(self, seed: int | None) -> StoredPages | None:
        if seed is None:
            return None
        try:
            return StoredPages(self._open, self._path, seed)
        except (NotPlainError, OSError, ValueError, KeyError, IndexError, MemoryError):
            return None

    def _read_points(
        self,
        stored: StoredPages | None,
        skip: int = 0,
        limit: int | None = None,
        table: str | None = None,
        pick: Sequence[int] = (),
    ) -> dict[str, Any]:
        work, told = Fingerprinter(), time.monotonic()
        wanted, picked, seen = iter(pick), list[int | str](), 0
        place = next(wanted, None)
        rows = Path(table).open("xb") if table else None  # noqa: SIM115 - closed below
        try:
            for page in _ahead(_points(self._open, skip, limit, stored)):
                digests = work.add_columns(page) if isinstance(page, Columns) else work.add(page)
                while place is not None and place < seen + len(page):
                    picked.append(search.json_id(page.ids[place - seen]))
                    place = next(wanted, None)
                seen += len(page)
                if rows:
                    for point_id, row in zip(page.ids, digests, strict=True):
                        rows.write(id_key(point_id) + row.tobytes())
                if time.monotonic() - told > PROGRESS_SECONDS:
                    told = time.monotonic()
                    self._tell({"progress": work.sums["id"].count})
        finally:
            if rows:
                rows.close()
        answer = {"fingerprint": work.facts(), "sketch": work.sketch, "picked": picked}
        return {**answer, "stored": stored.stored if stored else 0}

    def _retrieve(self, ids: list[int | str]) -> dict[str, Any]:
        work, size, at = Fingerprinter(), PageSize(), 0
        while at < len(ids):
            page = self._fetch(ids[at : at + size.points])
            at += size.points
            size.saw([bytes_of(page[n]) for n in size.places(len(page))])
            work.add((r.id, r.payload, r.vector) for r in page)
            self._tell({"progress": min(at, len(ids))})
        return {"fingerprint": work.facts()}

    def _digests(self, ids: list[int | str]) -> list[tuple[int | str, dict[str, str]]]:
        return [
            (
                search.json_id(r.id),
                {n: d.hex() for n, d in point_digests(r.id, r.payload, r.vector).items()},
            )
            for r in self._fetch(ids)
        ]

    def _points(self, ids: list[int | str]) -> list[dict[str, Any]]:
        return [_json_point(r) for r in self._fetch(ids)]

    def _page(
        self, limit: int, offset: int | str | None = None, whole: bool = True
    ) -> dict[str, Any]:
        start = UUID(offset) if isinstance(offset, str) else offset
        records, following = _scroll(self._open, start, limit, whole=whole)
        return {
            "points": [_json_point(r) if whole else search.json_id(r.id) for r in records],
            "next": None if following is None else search.json_id(following),
        }

    def _export(self, seed: int | None = None, **wanted: Any) -> dict[str, Any]:
        """Write with vectors from the files, as `_read` reads."""
        stored = self._stored(seed)
        try:
            return self._export_points(stored, **wanted)
        except DisagreesError as e:
            Path(wanted["path"]).unlink()
            return {**self._export_points(None, **wanted), "disagreed": str(e)}

    def _export_points(
        self,
        stored: StoredPages | None,
        path: str,
        form: Literal["parquet", "ndjson"],
        columns: dict[str, Any],
        about: dict[str, str],
        apart: Sequence[int | str] = (),
        but: Sequence[int | str] = (),
    ) -> dict[str, Any]:
        from qdrant_dr.proof.export import point_file  # pyarrow: nobody else here needs it
        from qdrant_dr.proof.export.columns import PointColumns

        wanted, file = PointColumns.of_facts(columns), Path(path)
        pages = _ahead(_without({*but}, _points(self._open, 0, None, stored)))
        told = _Told(self._tell)
        written = point_file.WRITE[form](pages, file, wanted, about, told.half)
        read = point_file.READ[form](file, wanted)
        proven = point_file.prove_file(_ahead(read), {*map(str, apart)}, told.other_half)
        return {**written, **proven, "stored": stored.stored if stored else 0}

    def _choose(
        self,
        ids: list[int | str],
        names: dict[str, int],
        each: int,
        tenants: dict[str, dict[str, str]],
    ) -> list[dict[str, Any]]:
        self._know(names)
        return list(search.choose(self._open, ids, names, each, tenants, self._alive))

    def _answer(self, queries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        self._know(q["vector"] for q in queries)
        return list(search.answer(self._open, queries, self._alive))

    def _know(self, names: Iterable[str]) -> None:
        """Reopen the shard if its engine does not know a vector by name.

        If the log deletes and recreates a vector that the segments already have, the engine has all
        its values but forgets the name (engine 0.9.0). Without the names that it wrote down, it
        takes them from the segments, which are complete since the shard was closed."""
        written = self._path / "edge_config.json"
        config = json.loads(written.read_bytes())
        known = {*config.get("vectors", {}), *config.get("sparse_vectors", {})}
        if not known.issuperset(names):
            self._close()
            written.unlink()
            self._shard = edge.EdgeShard.load(str(self._path))

    def _count(self, conditions: list[dict[str, Any]]) -> list[int]:
        return list(search.count(self._open, conditions, self._alive))

    def _scan(self, conditions: list[dict[str, Any]]) -> list[int]:
        search.drop_indexes(self._open)
        return list(search.count(self._open, conditions, self._alive))

    def _alive(self) -> None:
        self._tell({"progress": 0})

    def _fetch(self, ids: list[int | str]) -> list[edge.Record]:
        wanted = [search.engine_id(i) for i in ids]
        return self._open.retrieve(wanted, with_payload=True, with_vector=True)


class _Told:
    """Tells the parent of work that is done in two passes over the same points."""

    def __init__(self, tell: Callable[[dict[str, Any]], None]) -> None:
        self._tell, self._at, self._written = tell, time.monotonic(), 0

    def half(self, points: int) -> None:
        self._written = points
        self._say(points // 2)

    def other_half(self, points: int) -> None:
        self._say((self._written + points) // 2)

    def _say(self, points: int) -> None:
        if time.monotonic() - self._at > PROGRESS_SECONDS:
            self._at = time.monotonic()
            self._tell({"progress": points})


def _json_point(record: edge.Record) -> dict[str, Any]:
    vector = _json_vector(record.vector)
    return {"id": search.json_id(record.id), "payload": record.payload, "vector": vector}


def _json_vector(vector: Any) -> Any:
    if isinstance(vector, dict):
        return {name: _json_vector(v) for name, v in vector.items()}
    if isinstance(vector, edge.SparseVector):
        return {"indices": vector.indices, "values": vector.values}
    return vector


def _points(
    shard: edge.EdgeShard, skip: int, limit: int | None, stored: StoredPages | None
) -> Iterator[Page]:
    vectors, apart = (stored.others, stored.bytes_each) if stored else (True, 0)
    for page in _pages(shard, skip, limit, vectors or False, apart):
        yield stored.points(page) if stored else Records(page)


def _without(ids: set[int | str], pages: Iterator[Page]) -> Iterator[Page]:
    """Yield the pages of the engine without these points."""
    for page in pages:
        if ids and isinstance(page, Records):
            yield Records([r for r in page.records if search.json_id(r.id) not in ids])
        else:
            yield page


def _pages(
    shard: edge.EdgeShard, skip: int, limit: int | None, vectors: bool | list[str], apart: int
) -> Iterator[list[edge.Record]]:
    """Yield records page by page; `apart` is how many bytes more each point will take."""
    offset: int | str | UUID | None = None
    while skip:
        ids, offset = _scroll(shard, offset, min(skip, SKIP_PAGE), whole=False)
        skip -= len(ids)
        if offset is None:
            return
    size = PageSize()
    while limit is None or limit:
        most = size.points if limit is None else min(size.points, limit)
        page, offset = _scroll(shard, offset, most, vectors=vectors)
        size.saw([apart + bytes_of(page[n]) for n in size.places(len(page))])
        if page:
            yield page
        if offset is None:
            return
        limit = None if limit is None else limit - len(page)


def _scroll(
    shard: edge.EdgeShard,
    offset: int | str | UUID | None,
    limit: int,
    *,
    whole: bool = True,
    vectors: bool | list[str] = True,
) -> tuple[list[edge.Record], int | str | UUID | None]:
    vectors = whole and vectors
    return shard.scroll(
        edge.ScrollRequest(offset=offset, limit=limit, with_payload=whole, with_vector=vectors)
    )


def _ahead(pages: Iterator[Ahead]) -> Iterator[Ahead]:
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


if __name__ == "__main__":
    main()
