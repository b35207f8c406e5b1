"""The only process that runs Qdrant's storage engine: `python -m qdrant_dr.proof.engine_child`.

It reads requests and writes answers as JSON after a length of four bytes, dies with its parent, and
keeps its answers separate from whatever the engine prints. A panic ends it. Its parent decides what
an end or an answer means. Requests, each answered by `done` or `failed`, after any number of
`progress`:

    load {path}                 -> segments {uuid: version}, points (exact count)
    read {skip?, limit?, table?, columns?, buckets?, pick?, seed?}
                                -> fingerprint, sketch of the points in the order of their ids;
                                   table: where to write a row for every point; columns: the folder
                                   of a `PointTable` of them; buckets: only points that fall into
                                   these; picked: the ids at the places `pick`, ascending, of what
                                   is read; seed: take vectors from the files of the shard, compare
                                   a sample with the engine; stored: of how many points, disagreed:
                                   why of none
    retrieve {ids}              -> fingerprint of these points alone
    digests {ids}               -> digest of each component of these points, [id, {name: hex}]
    points {ids, payload?, vectors?}
                                -> these points, as a server's scroll would give them
    page {offset?, limit?, whole?, payload?, vectors?, where?}
                                -> points in the order of their ids, and next: where to go on, or
                                   null; without `whole` their ids alone, without `limit` as many
                                   as fit a message, with `where` those that a REST filter finds
    parse {where}               -> why the engine cannot parse this filter, or null; needs no shard
    matching {where}            -> exact count of the points that this filter finds
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
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any
from uuid import UUID

import qdrant_edge as edge

from qdrant_dr.proof import engine_search as search
from qdrant_dr.proof.columns import Columns
from qdrant_dr.proof.engine_filter import FilterInvalidError, engine_filter
from qdrant_dr.proof.engine_pages import ahead, json_point, read_buckets, read_points, scroll
from qdrant_dr.proof.fingerprint import Fingerprinter
from qdrant_dr.proof.page_size import PageSize
from qdrant_dr.proof.point_encoding import point_digests
from qdrant_dr.proof.point_table import TableWriter, id_key
from qdrant_dr.proof.stored_pages import DisagreesError, StoredPages, bytes_of
from qdrant_dr.proof.stored_vectors import NotPlainError

PROGRESS_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1


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
        self._path, self._size = Path(), PageSize()
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
            "parse": self._parse,
            "matching": self._matching,
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
        self._path, self._size = Path(path), PageSize()
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

    def _read(
        self, table: str | None = None, columns: str | None = None, **wanted: Any
    ) -> dict[str, Any]:
        """Read with vectors from the files, if `seed` is given and they are plain; with the engine
        alone if not, or if a sample differs."""
        stored = self._stored(wanted.pop("seed", None))
        try:
            return self._read_points(stored, table=table, columns=columns, **wanted)
        except DisagreesError as e:
            if table:
                Path(table).unlink()
            if columns:
                shutil.rmtree(columns)
            alone = self._read_points(None, table=table, columns=columns, **wanted)
            return {**alone, "disagreed": str(e)}

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
        columns: str | None = None,
        buckets: Sequence[int] | None = None,
        pick: Sequence[int] = (),
    ) -> dict[str, Any]:
        writer = TableWriter(Path(columns)) if columns else None
        work, told = Fingerprinter(writer.components if writer else None), time.monotonic()
        wanted, picked, seen = iter(pick), list[int | str](), 0
        place = next(wanted, None)
        rows = Path(table).open("xb") if table else None  # noqa: SIM115 - closed below
        pages = (
            read_points(self._open, skip, limit, stored)
            if buckets is None
            else read_buckets(self._open, buckets, self._alive)
        )
        try:
            for page in ahead(pages):
                digests = work.add_columns(page) if isinstance(page, Columns) else work.add(page)
                while place is not None and place < seen + len(page):
                    picked.append(search.json_id(page.ids[place - seen]))
                    place = next(wanted, None)
                seen += len(page)
                if rows:
                    for point_id, row in zip(page.ids, digests, strict=True):
                        rows.write(id_key(point_id) + row.tobytes())
                if writer:
                    writer.ids([id_key(i) for i in page.ids])
                if time.monotonic() - told > PROGRESS_SECONDS:
                    told = time.monotonic()
                    self._tell({"progress": work.sums["id"].count})
        finally:
            if rows:
                rows.close()
            if writer:
                writer.close()
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

    def _points(
        self, ids: list[int | str], payload: bool = True, vectors: bool = True
    ) -> list[dict[str, Any]]:
        return [json_point(r) for r in self._fetch(ids, payload=payload, vectors=vectors)]

    def _page(
        self,
        limit: int | None = None,
        offset: int | str | None = None,
        whole: bool = True,
        payload: bool = True,
        vectors: bool = True,
        where: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        size = self._size
        records, following = scroll(
            self._open,
            UUID(offset) if isinstance(offset, str) else offset,
            limit or size.points,
            payload=whole and payload,
            vectors=whole and vectors,
            where=engine_filter(where) if where else None,
        )
        # as JSON a float takes about four times its bytes, more while it is made
        size.saw([4 * bytes_of(records[n]) for n in size.places(len(records))])
        return {
            "points": [json_point(r) if whole else search.json_id(r.id) for r in records],
            "next": None if following is None else search.json_id(following),
        }

    def _parse(self, where: Any) -> str | None:
        try:
            engine_filter(where)
        except FilterInvalidError as e:
            return str(e)
        return None

    def _matching(self, where: dict[str, Any]) -> int:
        return self._open.count(edge.CountRequest(exact=True, filter=engine_filter(where)))

    def _export(self, seed: int | None = None, **wanted: Any) -> dict[str, Any]:
        """Write with vectors from the files, as `_read` reads."""
        from qdrant_dr.proof.export.write_shard import write_shard  # pyarrow: only here

        def tell(points: int) -> None:
            self._tell({"progress": points})

        try:
            return write_shard(self._open, self._stored(seed), tell, **wanted)
        except DisagreesError as e:
            Path(wanted["path"]).unlink()
            return {**write_shard(self._open, None, tell, **wanted), "disagreed": str(e)}

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

    def _fetch(
        self, ids: list[int | str], *, payload: bool = True, vectors: bool = True
    ) -> list[edge.Record]:
        wanted = [search.engine_id(i) for i in ids]
        return self._open.retrieve(wanted, with_payload=payload, with_vector=vectors)


if __name__ == "__main__":
    main()
