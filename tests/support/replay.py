"""A replay source: real archives served byte for byte, as the Qdrant node that made them would.

    with ReplaySource(["basic", "sharded"]) as source:
        source.url                              # a node for `cluster.nodes`
        source.faults.cut_after = 300_000       # ... and everything else that can go wrong
        source.collections["movies"].operations[0] = 9
        source.deleted, source.log              # what was deleted; every "METHOD /path"

Facts (configuration, shards, aliases) are what the real server said when the archive was made, the
points what it answered to a scroll right after. An upload of any known archive makes a collection
with that archive's facts and points, so that it is a drill target too.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import sys
import tarfile
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import UUID

import zstandard

from qdrant_dr.sandbox.ring import shard_of

FIXTURES = Path(__file__).parents[1] / "fixtures"
PEER = 4368523253213349
BLOCK = 65536

# operation numbers and counts per shard, read from the collection archives with the engine
OPERATIONS: dict[str, dict[int, int]] = {
    "basic": {0: 6}, "rich": {0: 22}, "sharded": {0: 5, 1: 5, 2: 5}, "empty": {0: 0},
    "single": {0: 1}, "busy": {0: 210}, "motion": {0: 316},
}  # fmt: skip
COUNTS: dict[str, dict[int, int]] = {
    "basic": {0: 2000}, "rich": {0: 550}, "sharded": {0: 282, 1: 318, 2: 300}, "empty": {0: 0},
    "single": {0: 1}, "busy": {0: 3000}, "motion": {0: 3000},
}  # fmt: skip


@cache
def expected() -> dict[str, Any]:
    """`expected.json` of the fixtures."""
    return dict(json.loads((FIXTURES / "expected.json").read_text()))


@cache
def truth(name: str) -> tuple[dict[str, Any], ...]:
    """Every point of a set, in the server's order, as parsed JSON."""
    stem = "points-after-server-restore" if name == "motion" else "points"
    with (FIXTURES / name / f"{stem}.ndjson.zst").open("rb") as raw:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")
        return tuple(json.loads(line) for line in lines)


@dataclass
class Stored:
    """A snapshot file of the node."""

    name: str
    data: bytes | Path
    checksum: str | None
    etag: str

    @property
    def size(self) -> int:
        return self.data.stat().st_size if isinstance(self.data, Path) else len(self.data)

    def read(self, start: int, end: int) -> bytes:
        if isinstance(self.data, bytes):
            return self.data[start:end]
        with self.data.open("rb") as f:
            f.seek(start)
            return f.read(end - start)

    def described(self) -> dict[str, Any]:
        entry = {"name": self.name, "creation_time": "2026-11-22T10:39:20", "size": self.size}
        return entry | ({"checksum": self.checksum} if self.checksum else {})


@dataclass
class Served:
    """A collection as the node tells of it; all of it may be changed by a test at any time."""

    set_name: str
    archive: Path
    info: dict[str, Any] | None  # None: it is listed and answers 500, as after a killed restore
    cluster: dict[str, Any]
    shard_keys: dict[str, Any]
    aliases: list[str]
    operations: dict[int, int]
    counts: dict[int, int]
    points: Sequence[dict[str, Any]]
    running_optimizations: int = 0
    memory: dict[str, Any] | None = None
    snapshots: dict[str, Stored] = field(default_factory=dict)

    def points_of(self, shard: int) -> Sequence[dict[str, Any]]:
        """Those of one shard, as the server's ring places them."""
        if len(self.counts) == 1:
            return self.points
        return [p for p in self.points if shard_of(p["id"], tuple(self.counts)) == shard]


@dataclass
class Faults:
    """Switches; the default is a well-behaved node. `once` faults switch themselves off."""

    cut_after: int | None = None
    """Close the connection after so many bytes of a download's body ..."""
    cut_always: bool = False
    """... of every download, not only of the next."""
    flip_byte: int | None = None
    """Offset of one byte that is sent with its lowest bit flipped."""
    wrong_checksum: bool = False
    """`create` states a checksum that is not the file's."""
    short_length: int | None = None
    """`create` states a size that is so many bytes too small."""
    seconds_per_block: float = 0.0
    """Slow download: pause before each 64 KiB."""
    changed_etag: bool = False
    """The file is exchanged (new ETag, other bytes) after the next answer to a download."""
    gzip_label: bool = False
    """Downloads say they are gzip-encoded, as behind a meddling proxy."""
    no_range: bool = False
    """Downloads have no length and no ETag and ignore `Range`, as with S3 storage."""
    never_answer_create: bool = False
    """The snapshot is made, the call stays silent."""
    cut_create: bool = False
    """The snapshot is made, the connection closed without an answer."""
    no_checksum: bool = False
    """Lists and answers without a checksum, as with S3 storage."""
    refuse_create: tuple[int, str] | None = None
    """Status and message of the next creates."""
    snapshot_name: str | None = None
    """The name that `create` gives: twice the same is what one-second resolution does."""
    deny: int | None = None
    """Every call but `/` answers this status in plain text (401, 403, 503)."""
    refuse_count: bool = False
    """Strict mode: exact counts answer 400."""
    stuck_scroll: bool = False
    """A scroll that offers the same next page for ever."""
    no_manifest: bool = False
    """An older server without the partial manifest: 404."""
    broken: str | None = None
    """This collection is listed and answers 500, as after a server was killed restoring it."""
    clock_skew: float = 0.0
    """Seconds that the node's clock is ahead."""
    after_create: Callable[[ReplaySource, str], None] | None = None
    """Called with the collection once a snapshot is made, before the answer."""
    after_download: Callable[[ReplaySource, str], None] | None = None
    """Called with the collection once a whole download was sent."""


class ReplaySource:
    """A node in a thread of this process. Loopback only; ends with the `with` block."""

    def __init__(
        self,
        sets: Sequence[str] = ("basic",),
        *,
        api_key: str | None = None,
        read_api_key: str | None = None,
        root: dict[str, Any] | None = None,
    ) -> None:
        self.faults = Faults()
        self.deleted: list[tuple[str, str]] = []
        self.full: dict[str, Stored] = {}
        """Full snapshots; one that is deleted is in `deleted` below the collection ""."""
        self.log: list[str] = []
        self.api_key, self.read_api_key = api_key, read_api_key
        self.root = root or dict(expected()["server"])
        self.cluster: dict[str, Any] = {"status": "disabled"}
        """What it says of the cluster it is in."""
        self.closing = threading.Event()
        self.made = 0
        self.lock = threading.RLock()
        served = [serve_set(name) for name in sets]
        self.collections: dict[str, Served] = {_collection(s.set_name): s for s in served}
        handler = type("Bound", (_Handler,), {"source": self})
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.die()
        if self._server.failures:
            raise RuntimeError("the replay source itself failed") from self._server.failures[0]

    def die(self) -> None:
        """The node goes away: new connections are refused from now on."""
        if not self.closing.is_set():
            self.closing.set()
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def snapshots(self, collection: str) -> tuple[str, ...]:
        """Names of the snapshot files of a collection that are on the node now."""
        return tuple(sorted(self.collections[collection].snapshots))

    def add_snapshot(self, collection: str, name: str, data: bytes | Path) -> Stored:
        """Put somebody else's snapshot there."""
        stored = self._store(name, data)
        self.collections[collection].snapshots[name] = stored
        return stored

    def vanish(self, collection: str) -> None:
        """Somebody deletes the collection."""
        del self.collections[collection]

    def recreate(self, collection: str) -> None:
        """Somebody deletes it and makes an empty one of that name: operations start anew."""
        old = self.collections[collection]
        new = copy.copy(old)
        new.operations = dict.fromkeys(old.operations, 0)
        new.counts, new.points = dict.fromkeys(old.counts, 0), ()
        self.collections[collection] = new

    def write(self, collection: str, operations: int = 1) -> None:
        """Somebody writes: the operation numbers of all shards rise (points stay as they are)."""
        served = self.collections[collection]
        served.operations = {s: n + operations for s, n in served.operations.items()}

    def create(self, collection: str) -> dict[str, Any]:
        """What `POST .../snapshots` does and answers."""
        with self.lock:
            self.made += 1
            served = self.collections[collection]
            stamp = self._stamp()
            name = self.faults.snapshot_name or f"{collection}-{PEER}-{stamp}.snapshot"
            stored = served.snapshots[name] = self._store(name, served.archive)
        answer = stored.described()
        if self.faults.wrong_checksum:
            answer["checksum"] = "0" * 64
        if self.faults.short_length:
            answer["size"] -= self.faults.short_length
        if self.faults.after_create:
            self.faults.after_create(self, collection)
        return answer

    def create_full(self) -> dict[str, Any]:
        """What `POST /snapshots` does and answers: every collection's archive, then who is who."""
        with self.lock:
            self.made += 1
            stamp = self._stamp()
            files = {n: f"{n}-{PEER}-{stamp}.snapshot" for n in self.collections}
            aliases = {a: n for n, served in self.collections.items() for a in served.aliases}
            config = {"collections_mapping": files, "collections_aliases": aliases}
            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as archive:
                for name, file in files.items():
                    archive.add(self.collections[name].archive, file)
                entry = tarfile.TarInfo("config.json")
                entry.size = len(text := json.dumps(config).encode())
                archive.addfile(entry, io.BytesIO(text))
            name = self.faults.snapshot_name or f"full-snapshot-{stamp}.snapshot"
            self.full[name] = self._store(name, out.getvalue())
            if self.faults.no_checksum:  # S3 storage: the collections' own objects stay
                for collection, file in files.items():
                    served = self.collections[collection]
                    served.snapshots[file] = self._store(file, served.archive)
        if self.faults.after_create:
            self.faults.after_create(self, "")
        return self.full[name].described()

    def restore(self, collection: str, file_name: str, data: bytes, checksum: str | None) -> None:
        """What an upload does. Raise _Refusal like the real server."""
        digest = hashlib.sha256(data).hexdigest()
        if checksum and checksum.lower() != digest:
            # the real server swaps the two
            raise _Refusal(400, f"Checksum mismatch: expected {digest}, actual {checksum}")
        for name, facts in expected()["sets"].items():
            archive = facts.get("archives", {}).get("collection")
            if archive and archive["sha256"] == digest:
                served = serve_set(name)
                served.aliases = []
                served.snapshots[file_name] = Stored(file_name, data, None, f'"{digest[:16]}"')
                self.collections[collection] = served
                return
        raise _Refusal(
            500,
            "Service internal error: File IO error: Malformed tar archive, reached unknown entry",
        )

    def _stamp(self) -> str:
        """Of now, and never twice."""
        at = datetime.now(UTC) + timedelta(seconds=self.made)
        return f"{at:%Y-%m-%d-%H-%M-%S}"

    def _store(self, name: str, data: bytes | Path) -> Stored:
        with self.lock:
            self.made += 1
            whole = data if isinstance(data, bytes) else data.read_bytes()
            etag = f'"9de3c0:{len(whole):x}:6b02c727:{self.made:x}"'
            checksum = None if self.faults.no_checksum else hashlib.sha256(whole).hexdigest()
            return Stored(name, data, checksum, etag)


def serve_set(name: str) -> Served:
    """The state of a node right when the set was captured."""
    sets = expected()["sets"]
    facts = copy.deepcopy(sets["busy" if name == "motion" else name]["facts"])
    return Served(
        set_name=name,
        archive=FIXTURES / sets[name]["archives"]["collection"]["file"],
        info=facts["info"],
        cluster=facts["cluster"],
        shard_keys=facts["shards"],
        aliases=[a["alias_name"] for a in facts["aliases"]["aliases"]],
        operations=dict(OPERATIONS[name]),
        counts=dict(COUNTS[name]),
        points=truth(name),
    )


def _collection(set_name: str) -> str:
    return str(expected()["sets"][set_name]["collection"])


class _Refusal(Exception):
    """An error status with the server's words."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.failures: list[BaseException] = []

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no failure; anything else is a bug of this file."""
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self.failures.append(error)


class _Handler(BaseHTTPRequestHandler):
    source: ReplaySource
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: Any) -> None:
        """Kept in `source.log`, not printed."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string((timestamp or time.time()) + self.source.faults.clock_skew)

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PUT(self) -> None:
        self._answer("PUT")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        url = urlsplit(self.path)
        self.parts = [unquote(p) for p in url.path.strip("/").split("/") if p]
        self.query = {k: v[-1] for k, v in parse_qs(url.query).items()}
        self.body = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.source.log.append(f"{method} /{'/'.join(self.parts)}")
        try:
            self._admit(method)
            self._route(method)
        except _Refusal as e:
            status, words = e.args
            if status in {401, 403} or self._is_download(method):
                self._send(status, words.encode(), "text/plain; charset=utf-8")
            else:
                self._json({"status": {"error": words}, "time": 0.0}, status)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _admit(self, method: str) -> None:
        if not self.parts:
            return
        if self.source.faults.deny:
            raise _Refusal(self.source.faults.deny, "Forbidden: denied by a fault switch")
        keys = {self.source.api_key, self.source.read_api_key} - {None}
        given = self.headers.get("api-key")
        if not keys:
            return
        if given not in keys:
            raise _Refusal(401, "Must provide an API key or an Authorization bearer token")
        reads = method == "GET" or self.parts[-1] in {"count", "scroll", "points", "query"}
        if given == self.source.read_api_key and not reads:
            raise _Refusal(403, "Forbidden: Global manage access is required")

    def _is_download(self, method: str) -> bool:
        return method == "GET" and len(self.parts) == 4 and self.parts[2] == "snapshots"

    def _route(self, method: str) -> None:
        match method, self.parts:
            case "GET", []:
                self._json(self.source.root)
            case "GET", ["readyz" | "healthz" | "livez"]:
                self._send(200, b"all shards are ready", "text/plain")
            case "GET", ["cluster" | "collections" | "aliases" as what]:
                self._ok(self._overview()[what])
            case _, ["snapshots", *files]:
                self._full(method, files)
            case "GET", ["collections", name, "exists"]:
                self._ok({"exists": name in self.source.collections})
            case "POST", ["collections", name, "snapshots", "upload"]:
                self._upload(name)
            case "DELETE", ["collections", name]:
                self._ok(self.source.collections.pop(name, None) is not None)
            case _, ["collections", name, *rest]:
                self._collection(method, name, rest)
            case _:
                self._send(404, b"", "text/plain")

    def _overview(self) -> dict[str, Any]:
        return {
            "cluster": self.source.cluster,
            "collections": {"collections": [{"name": n} for n in sorted(self.source.collections)]},
            "aliases": {"aliases": self._aliases()},
        }

    def _collection(self, method: str, name: str, rest: list[str]) -> None:
        live = self.source.collections
        real = next((c for c, s in list(live.items()) if name in s.aliases), name)
        if (served := live.get(real)) is None:
            raise _Refusal(404, f"Not found: Collection `{name}` doesn't exist!")
        if real == self.source.faults.broken:
            raise _Refusal(500, "Service internal error: 1 of 1 read operations failed")
        if method == "GET" and len(rest) <= 1 and rest != ["snapshots"]:
            self._tell(served, real, *rest)
        elif rest[0] == "points":
            self._points(served, rest[1:])
        elif rest[0] == "shards" and len(rest) > 1:
            self._shard(method, served, rest[1], rest[2:])
        elif rest[0] == "snapshots":
            self._snapshots(method, real, served, rest[1:])
        else:
            self._send(404, b"", "text/plain")

    def _tell(self, served: Served, name: str, what: str = "") -> None:
        facts: dict[str, Any] = {
            "": served.info,
            "cluster": served.cluster,
            "shards": served.shard_keys,
            "aliases": {"aliases": [a for a in self._aliases() if a["collection_name"] == name]},
            "optimizations": {"running": [{}] * served.running_optimizations, "queued": []},
            "memory": served.memory,
        }
        if facts.get(what) is not None:
            self._ok(facts[what])
        elif not what:
            raise _Refusal(500, "Service internal error: it was not loaded")
        else:
            self._send(404, b"", "text/plain")

    def _points(self, served: Served, rest: list[str]) -> None:
        match rest:
            case ["count"]:
                self._count(sum(served.counts.values()))
            case ["scroll"]:
                self._scroll(served.points)
            case []:
                self._retrieve(served.points)
            case _:
                self._send(404, b"", "text/plain")

    def _shard(self, method: str, served: Served, shard: str, rest: list[str]) -> None:
        if int(shard) not in served.counts:
            raise _Refusal(404, f"Not found: shard {shard} not found")
        match method, rest:
            case "POST", ["points", "count"]:
                self._count(served.counts[int(shard)])
            case "POST", ["points", "scroll"]:
                self._scroll(served.points_of(int(shard)))
            case "POST", ["points"]:
                self._retrieve(served.points_of(int(shard)))
            case "GET", ["snapshot", "partial", "manifest"] if not self.source.faults.no_manifest:
                versions = {"a": served.operations[int(shard)], "b": 0}
                self._ok({k: {"segment_id": k, "segment_version": v} for k, v in versions.items()})
            case _:
                self._send(404, b"", "text/plain")

    def _snapshots(self, method: str, name: str, served: Served, files: list[str]) -> None:
        if method == "GET" and not files:
            self._ok([s.described() for s in served.snapshots.values()])
        elif method == "POST" and not files:
            self._create(name)
        elif (stored := served.snapshots.get(files[0])) is None:
            raise _Refusal(404, f"Not found: Snapshot {files[0]} not found")
        elif method == "DELETE":
            del served.snapshots[files[0]]
            self.source.deleted.append((name, files[0]))
            self._ok(True)
        else:
            self._download(name, stored)

    def _full(self, method: str, files: list[str]) -> None:
        there = self.source.full
        if method == "GET" and not files:
            below = [s for c in self.source.collections.values() for s in c.snapshots.values()]
            every = below if self.source.faults.no_checksum else []
            self._ok([s.described() for s in (*there.values(), *every)])
        elif method == "POST" and not files:
            self._create("")
        elif files[0] not in there:
            raise _Refusal(404, f"Not found: Snapshot {files[0]} not found")
        elif method == "DELETE":
            del there[files[0]]
            self.source.deleted.append(("", files[0]))
            self._ok(True)
        else:
            self._download("", there[files[0]])

    def _create(self, name: str) -> None:
        faults = self.source.faults
        if faults.refuse_create:
            raise _Refusal(*faults.refuse_create)
        answer = self.source.create(name) if name else self.source.create_full()
        if faults.never_answer_create:
            self.source.closing.wait()
            self._hang_up()
        elif faults.cut_create:
            self._hang_up()
        else:
            self._ok(answer)

    def _download(self, name: str, stored: Stored) -> None:
        faults = self.source.faults
        size, start, end, status = stored.size, 0, stored.size, 200
        if (wanted := self.headers.get("range")) and not faults.no_range:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, end, status = int(first), int(last) + 1 if last else size, 206
        headers = {"etag": stored.etag, "accept-ranges": "bytes"}
        if self.headers.get("if-match", stored.etag) != stored.etag:
            self._send(412, b"", "application/octet-stream", headers)
            return
        if start >= size:
            headers["content-range"] = f"bytes */{size}"
            self._send(416, b"", "application/octet-stream", headers)
            return
        cut = faults.cut_after
        if not faults.cut_always:
            faults.cut_after = None
        if faults.changed_etag:
            faults.changed_etag = False
            exchanged = self.source._store(stored.name, b"exchanged" + stored.read(9, size))
            self.source.collections[name].snapshots[stored.name] = exchanged
        self._head(status, headers, start, end, size)
        if not self._body(stored, start, end, cut):
            self._hang_up()
        elif faults.after_download:
            faults.after_download(self.source, name)

    def _head(self, status: int, headers: dict[str, str], start: int, end: int, size: int) -> None:
        if self.source.faults.no_range:
            headers = {"transfer-encoding": "chunked"}
        else:
            headers["content-length"] = str(end - start)
        if status == 206:
            headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
        if self.source.faults.gzip_label:
            headers["content-encoding"] = "gzip"
        self.send_response(status)
        self.send_header("content-type", "application/octet-stream")
        for key, value in headers.items():
            self.send_header(key, value)
        self.end_headers()

    def _body(self, stored: Stored, start: int, end: int, cut: int | None) -> bool:
        """Send it; False if it was cut on the way."""
        faults = self.source.faults
        stop = end if cut is None else min(end, start + cut)
        for at in range(start, stop, BLOCK):
            if faults.seconds_per_block:
                self.source.closing.wait(faults.seconds_per_block)
            block = bytearray(stored.read(at, min(at + BLOCK, stop)))
            if faults.flip_byte is not None and 0 <= faults.flip_byte - at < len(block):
                block[faults.flip_byte - at] ^= 1
            framed = b"%x\r\n%s\r\n" % (len(block), block) if faults.no_range else block
            self.wfile.write(framed)
        if stop == end and faults.no_range:
            self.wfile.write(b"0\r\n\r\n")
        return stop == end

    def _upload(self, name: str) -> None:
        file_name, data = _multipart(self.headers["content-type"], self.body)
        self.source.restore(name, file_name, data, self.query.get("checksum"))
        self._ok(True)

    def _retrieve(self, points: Sequence[dict[str, Any]]) -> None:
        wanted = json.loads(self.body)["ids"]
        by_id = {p["id"]: p for p in points}
        self._ok([by_id[i] for i in wanted if i in by_id])

    def _scroll(self, points: Sequence[dict[str, Any]]) -> None:
        asked = json.loads(self.body)
        limit, offset = asked.get("limit", 10), asked.get("offset")
        ids = [p["id"] for p in points]
        # like the server: from the first id that is not below it, integers before UUIDs
        order = [(isinstance(i, str), i) for i in ids]
        start = 0 if offset is None else bisect_left(order, (isinstance(offset, str), offset))
        page = points[start : start + limit]
        if not asked.get("with_vector"):
            page = [{k: v for k, v in p.items() if k != "vector"} for p in page]
        following = ids[start + limit] if start + limit < len(ids) else None
        if self.source.faults.stuck_scroll:
            following = ids[0]
        self._ok({"points": page, "next_page_offset": following})

    def _count(self, count: int) -> None:
        if self.source.faults.refuse_count:
            raise _Refusal(400, "Bad request: Exact search disabled")
        self._ok({"count": count})

    def _aliases(self) -> list[dict[str, str]]:
        return [
            {"alias_name": alias, "collection_name": name}
            for name, served in self.source.collections.items()
            for alias in served.aliases
        ]

    def _ok(self, result: Any) -> None:
        self._json({"result": result, "status": "ok", "time": 0.001})

    def _json(self, value: Any, status: int = 200) -> None:
        self._send(status, json.dumps(value, ensure_ascii=False).encode(), "application/json")

    def _send(
        self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        try:
            self.connection.shutdown(SHUT_RDWR)
        except OSError:
            return  # the client was faster


def _order(point_id: int | str) -> tuple[bool, int]:
    """Qdrant's order of ids: integers before UUIDs."""
    return isinstance(point_id, str), UUID(point_id).int if isinstance(point_id, str) else point_id


def _multipart(content_type: str, body: bytes) -> tuple[str, bytes]:
    boundary = content_type.partition("boundary=")[2].encode()
    head, _, rest = body.partition(b"\r\n\r\n")
    if b'name="snapshot"' not in head or not rest.endswith(b"\r\n--%s--\r\n" % boundary):
        raise _Refusal(400, "Required field is missing: snapshot")
    file_name = head.partition(b'filename="')[2].partition(b'"')[0].decode()
    return file_name, rest[: -len(boundary) - 8]
