"""A server that answers what no Qdrant would: refused with its address, never taken for a fact."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from qdrant_dr.cluster import Node, collection_facts, list_snapshots
from qdrant_dr.cluster.aliases import aliases_of
from qdrant_dr.cluster.inventory import clock_offset, inventory_of, node_facts
from qdrant_dr.cluster.node import path_of
from qdrant_dr.cluster.snapshot_scope import INSTANCE, SnapshotScope
from qdrant_dr.cluster.snapshots import delete_snapshot
from qdrant_dr.cluster.space import estimated_bytes
from qdrant_dr.config import Timeouts
from qdrant_dr.errors import ClusterError, ServerFailed

Answers = dict[str, Any]
MOVIES = "/collections/movies"
GOOD: Answers = {
    "/": {"title": "qdrant - vector search engine", "version": "1.18.3", "commit": "abc"},
    "/cluster": {"status": "disabled"},
    "/collections": {"collections": [{"name": "movies"}]},
    "/aliases": {"aliases": [{"alias_name": "films", "collection_name": "movies"}]},
    MOVIES: {
        "status": "green", "optimizer_status": "ok", "points_count": 2, "indexed_vectors_count": 0,
        "segments_count": 2, "payload_schema": {}, "update_queue": {"length": 0},
        "config": {"params": {"vectors": {"size": 2, "distance": "Dot"}, "shard_number": 1}},
    },
    f"{MOVIES}/cluster": {
        "peer_id": 7, "shard_count": 1, "remote_shards": [], "shard_transfers": [],
        "local_shards": [{"shard_id": 0, "points_count": 2, "state": "Active"}],
    },
    f"{MOVIES}/shards": {"shard_keys": []},
    f"{MOVIES}/aliases": {"aliases": [{"alias_name": "films", "collection_name": "movies"}]},
    f"{MOVIES}/optimizations": {"running": []},
    f"{MOVIES}/shards/0/points/count": {"count": 2},
    f"{MOVIES}/shards/0/snapshot/partial/manifest": {"a": {"segment_version": 3}},
    f"{MOVIES}/snapshots": [{"name": "a.snapshot", "size": 10, "checksum": None}],
    f"{MOVIES}/memory": {"total": {"disk_bytes": 1000}},
}  # fmt: skip


class Hostile:
    """Answers of a good server, of which some are replaced; bytes are sent as they are."""

    def __init__(self) -> None:
        self.answers = deepcopy(GOOD)
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(f"{self.command} {self.path}")
                self.rfile.read(int(self.headers.get("content-length") or 0))
                found = outer.answers.get(self.path.partition("?")[0])
                if not isinstance(found, bytes):
                    body = found if self.path == "/" else {"result": found, "status": "ok"}
                    found = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(found)))
                self.end_headers()
                self.wfile.write(found)

            def do_POST(self) -> None:
                self.do_GET()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(scope="module")
def running() -> Iterator[Hostile]:
    made = Hostile()
    yield made
    made.close()


@pytest.fixture
def hostile(running: Hostile) -> Hostile:
    running.answers = deepcopy(GOOD)
    running.asked.clear()
    return running


@pytest.fixture
def node(hostile: Hostile) -> Iterator[Node]:
    timeouts = Timeouts(connect=timedelta(seconds=5), read=timedelta(seconds=20))
    with Node(hostile.url, timeouts=timeouts) as opened:
        yield opened


def test_the_good_answers_are_facts(node: Node) -> None:
    facts = collection_facts(node, "movies")
    assert (facts.exact_points, facts.operations, facts.aliases) == (2, {0: 3}, ("films",))
    assert inventory_of([node]).names == ("movies",)
    assert estimated_bytes(node, facts)


DEEP = b'{"result":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
WRONG: list[tuple[str, Any]] = [
    (MOVIES, []),
    (MOVIES, None),
    (MOVIES, "movies"),
    (MOVIES, {}),
    (MOVIES, {**GOOD[MOVIES], "status": 5}),
    (MOVIES, {**GOOD[MOVIES], "points_count": "many"}),
    (MOVIES, {**GOOD[MOVIES], "points_count": -1}),
    (MOVIES, {**GOOD[MOVIES], "points_count": 1e308}),
    (MOVIES, {**GOOD[MOVIES], "points_count": True}),
    (MOVIES, {**GOOD[MOVIES], "update_queue": [1]}),
    (MOVIES, {**GOOD[MOVIES], "update_queue": {"length": "x"}}),
    (MOVIES, {**GOOD[MOVIES], "config": None}),
    (MOVIES, {**GOOD[MOVIES], "config": {"params": {"shard_number": 2**70}}}),
    (MOVIES, DEEP),
    (MOVIES, b'{"result":{"status":"green","points_count":NaN}}'),
    (MOVIES, b'{"result":{"status":"\\ud800"}}'),
    (MOVIES, b'{"result":{"status":"gr\xff"}}'),
    (MOVIES, b'{"result":' + b"9" * 10_000 + b"}"),
    (f"{MOVIES}/cluster", {"local_shards": None}),
    (f"{MOVIES}/cluster", {"local_shards": [], "remote_shards": {}, "peer_id": "me"}),
    (f"{MOVIES}/cluster", {"local_shards": [{}], "remote_shards": []}),
    (f"{MOVIES}/cluster", {"local_shards": [{"shard_id": -1, "state": "Active"}],
                           "remote_shards": []}),
    (f"{MOVIES}/cluster", {"local_shards": [{"shard_id": 0, "state": ["Active"]}],
                           "remote_shards": []}),
    (f"{MOVIES}/cluster", {"local_shards": [{"shard_id": n, "state": "Active"}
                                            for n in range(10_001)], "remote_shards": []}),
    (f"{MOVIES}/aliases", {"aliases": [{}]}),
    (f"{MOVIES}/aliases", {"aliases": [{"alias_name": 7}]}),
    (f"{MOVIES}/optimizations", {"running": 7}),
    (f"{MOVIES}/shards/0/points/count", {"count": -5}),
    (f"{MOVIES}/shards/0/points/count", {"count": "2"}),
    (f"{MOVIES}/shards/0/points/count", []),
    (f"{MOVIES}/shards/0/snapshot/partial/manifest", [1]),
    (f"{MOVIES}/shards/0/snapshot/partial/manifest", {"a": {"segment_version": "3"}}),
]  # fmt: skip


@pytest.mark.parametrize(("path", "answer"), WRONG)
def test_facts_of_another_form_are_refused(
    hostile: Hostile, node: Node, path: str, answer: Any
) -> None:
    hostile.answers[path] = answer
    with pytest.raises(ServerFailed, match=r"127\.0\.0\.1") as refused:
        collection_facts(node, "movies")
    assert len(str(refused.value)) < 1000
    assert len(hostile.asked) < 20
    inventory = inventory_of([node])
    assert inventory.names == ("movies",), "it shows as a row all the same"
    assert [u.collection for u in inventory.unreadable] == ["movies"]


OTHERS: list[tuple[str, Any, Callable[[Node], object]]] = [
    ("/", [], node_facts),
    ("/", {"title": "qdrant", "version": 1}, node_facts),
    ("/", {"title": {}, "version": "1.18.3"}, node_facts),
    ("/", {"title": "q", "version": "1.18.3", "commit": [1]}, node_facts),
    ("/", b"[" * 100_000, node_facts),
    ("/cluster", {"status": "enabled", "peers": [], "peer_id": 1}, node_facts),
    ("/cluster", {"status": "enabled", "peers": {"x": {}}, "peer_id": 1}, node_facts),
    ("/cluster", {"status": "enabled", "peers": {}, "peer_id": "one"}, node_facts),
    ("/cluster", [], node_facts),
    ("/cluster", DEEP, node_facts),
    ("/aliases", {"aliases": [{"alias_name": 5, "collection_name": "x"}]}, aliases_of),
    ("/aliases", {"aliases": None}, aliases_of),
    ("/collections", {"collections": [{"name": 7}]}, lambda node: inventory_of([node])),
    ("/collections", {"collections": 7}, lambda node: inventory_of([node])),
    ("/collections", DEEP, lambda node: inventory_of([node])),
    ("/collections", b'{"result":{"collections":[{"name":"\\ud800"}]},"status":"ok","time":0.1}',
     lambda node: inventory_of([node])),
    (f"{MOVIES}/snapshots", [{"name": "a", "size": "NaN"}], lambda n: list_snapshots(n, "movies")),
    (f"{MOVIES}/snapshots", [{"name": 5, "size": 5}], lambda n: list_snapshots(n, "movies")),
    (f"{MOVIES}/snapshots", {"name": 5}, lambda n: list_snapshots(n, "movies")),
    (f"{MOVIES}/snapshots", [{"name": "a", "size": -5}], lambda n: list_snapshots(n, "movies")),
    (f"{MOVIES}/memory", {"total": {"disk_bytes": -1}},
     lambda n: estimated_bytes(n, collection_facts(n, "movies"))),
]  # fmt: skip


@pytest.mark.parametrize(("path", "answer", "ask"), OTHERS)
def test_invalid_answers_are_refused_briefly(
    hostile: Hostile, node: Node, path: str, answer: Any, ask: Callable[[Node], object]
) -> None:
    hostile.answers[path] = answer
    with pytest.raises(ClusterError) as refused:
        ask(node)
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("name", ["..", ".", ""])
def test_no_name_leads_to_another_place(hostile: Hostile, node: Node, name: str) -> None:
    """`DELETE /collections/movies/snapshots/..` is, to whoever resolves it, the collection."""
    for scope in (SnapshotScope("movies"), SnapshotScope("movies", 0), INSTANCE):
        with pytest.raises(ServerFailed, match="was not asked to delete"):
            delete_snapshot(node, scope, name)
    for path in (path_of(name), path_of(name, "snapshots"), path_of("movies", "points", name)):
        with pytest.raises(ServerFailed, match="was not asked to"):
            node.ask("DELETE", path, "do it", write=True)
    assert hostile.asked == []
    sent = httpx.Request("DELETE", node.url + SnapshotScope("movies").path(".."))
    assert sent.url.raw_path == b"/collections/movies/snapshots/%2E%2E"


@pytest.mark.parametrize("name", ["../../x", "a/../../b", "x\n\x1b[2J", "\u202eevil", "%2e%2e"])
def test_any_other_name_is_one_step_of_a_path(hostile: Hostile, node: Node, name: str) -> None:
    hostile.answers["/collections"] = {"collections": [{"name": name}]}
    inventory = inventory_of([node])
    assert inventory.names == (name,)
    about = [p for p in hostile.asked if p.startswith("GET /collections/")]
    assert about
    assert all(p.count("/") <= 4 for p in about)
    assert "/../" not in "".join(about)


def test_a_clock_at_the_end_of_time_is_no_clock() -> None:
    now = datetime.now(UTC)
    for text in ("Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "\x00", "5"):
        found = clock_offset(httpx.Headers({"date": text}), now, now)
        assert found is None or found.exceeds(timedelta(days=3000))
