"""Points over gRPC are those of REST, or they are read over REST."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, cast

import grpc
import httpx
import pytest
from qdrant_client import grpc as grpc_messages

from qdrant_dr.cluster import Node, scroll_points
from qdrant_dr.cluster.grpc_points import GrpcPoints, GrpcUnfit, _packed, grpc_points
from qdrant_dr.cluster.scroll import GRPC_MISSES, GRPC_PAGE, PAGE_BYTES, _Pages
from qdrant_dr.errors import ServerFailed
from qdrant_dr.proof import fingerprint_of
from qdrant_dr.proof.point_encoding import unpacked
from tests.support.either_server import KINDS
from tests.support.servers import Server, qdrant_server, sandbox_server

EVERY_KIND = {
    "vectors": {
        "d": {"size": 3, "distance": "Dot"},
        "u": {"size": 2, "distance": "Dot", "datatype": "uint8"},
        "h": {"size": 2, "distance": "Dot", "datatype": "float16"},
        "m": {
            "size": 2,
            "distance": "Dot",
            "multivector_config": {"comparator": "max_sim"},
        },
    },
    "sparse_vectors": {"s": {}},
}
PAYLOADS: list[dict[str, Any]] = [
    {},
    {"text": "grüße\u0000\n😀", "empty": "", "null": None, "yes": True, "no": False},
    {"int": -(2**63), "most": 2**63 - 1, "float": 1.0, "small": 5e-324, "large": 1.7e308},
    {"minus": -0.0, "list": [1, [2.5, {}], []], "deep": {"a": {"b": {"": [None]}}}},
]


@pytest.fixture(scope="module", params=KINDS)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("grpc")
    started = (
        sandbox_server(folder, over_grpc=True)
        if request.param == "sandbox"
        else qdrant_server(folder)
    )
    with started as running:
        _make(running.url, "every-kind", EVERY_KIND, _points())
        plain = {"vectors": {"size": 4, "distance": "Cosine"}}
        _make(running.url, "plain", plain, [_plain(n, {"n": n}) for n in range(150)])
        _make(running.url, "integers", plain, [_plain(n, {"n": 2**64 - 1}) for n in range(40)])
        yield running


def _plain(n: int, payload: dict[str, Any]) -> dict[str, Any]:
    return {"id": n, "vector": [n + 1, 1, 0, -n], "payload": payload}


def _points() -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = [
        {},
        {"d": [1, -2.5, 1e-40], "u": [0, 255]},
        {"m": [[1, 2], [3, 4], [5, 6]], "h": [0.1, 3]},
        {"s": {"indices": [3, 7, 4_000_000_000], "values": [1.5, -2, 0.1]}},
    ]
    ids: list[int | str] = [0, 1, 2**64 - 1, "550e8400-e29b-41d4-a716-446655440000"]
    both = [
        {"id": i, "vector": v, "payload": p} for i, v, p in zip(ids, vectors, PAYLOADS, strict=True)
    ]
    return [*both, {"id": 9, "vector": {**vectors[1], **vectors[2], **vectors[3]}}]


def _make(url: str, name: str, config: dict[str, Any], points: list[dict[str, Any]]) -> None:
    with httpx.Client(base_url=url, timeout=60) as client:
        client.put(f"/collections/{name}", json=config).raise_for_status()
        for point in points:
            path = f"/collections/{name}/points?wait=true"
            client.put(path, json={"points": [point]}).raise_for_status()


@pytest.fixture
def node(server: Server) -> Iterator[Node]:
    with Node(server.url, grpc_port=server.grpc_port) as opened:
        yield opened


@pytest.mark.parametrize("collection", ["every-kind", "plain"])
def test_both_ways_give_the_same_digests(node: Node, collection: str) -> None:
    rest = list(scroll_points(node, collection))
    with grpc_points(node) as over_grpc:
        found, following, took = over_grpc.page(collection, None, 1000)
        assert over_grpc.belongs_to_node()
    assert following is None
    assert took > 0
    assert len(found) == len(rest) > 4
    for one, other in zip(rest, found, strict=True):
        assert fingerprint_of([one]) == fingerprint_of([other])
        assert one["payload"] == other["payload"]


def test_dense_vectors_are_the_bytes_that_were_sent(node: Node) -> None:
    with grpc_points(node) as over_grpc:
        (point, *_), _, _ = over_grpc.page("every-kind", 1, 1)
    assert point["vector"]["d"] == struct.pack("<3f", 1, -2.5, 1e-40)
    assert unpacked(point["vector"]["u"]) == [0, 255]


def test_nothing_is_compressed_on_its_way(server: Server) -> None:
    plain = {"vectors": {"size": 4096, "distance": "Dot"}}
    _make(server.url, "long", plain, [{"id": n, "vector": [1.0] * 4096} for n in range(8)])
    with (
        _forwarding(server.grpc_port) as front,
        Node(server.url, grpc_port=front.port) as node,
        grpc_points(node) as over_grpc,
    ):
        assert len(over_grpc.page("long", None, 8)[0]) == 8
    assert front.answered > 8 * 4096 * 4


@pytest.mark.parametrize("numbers", [1, 31, 32, 4095, 4096, 524_287, 524_288])
def test_numbers_of_a_message_are_told_from_its_head(numbers: int) -> None:
    data = bytes(range(256)) * (numbers // 64) + bytes(4 * (numbers % 64))
    message = grpc_messages.DenseVector.FromString(_field(data)).SerializeToString()
    assert _packed(message) == data
    for wrong in (message[:-1], message + b"\0", b"\x12" + message[1:], message[:-4]):
        with pytest.raises(ValueError, match="not known"):
            _packed(wrong)


def _field(data: bytes) -> bytes:
    """Field 1 with a length, as protobuf writes it."""
    left, head = len(data), b"\x0a"
    while left > 0x7F:
        head, left = head + bytes([left & 0x7F | 0x80]), left >> 7
    return head + bytes([left]) + data


def test_a_scroll_over_grpc_takes_every_page_there(node: Node) -> None:
    with grpc_points(node) as over_grpc:
        points = list(scroll_points(node, "plain", over_grpc=over_grpc, limit=20))
        assert all(type(p["vector"]) is bytes for p in points)
        assert over_grpc.belongs_to_node()
    assert [p["id"] for p in points] == list(range(150))


def test_an_integer_that_grpc_cannot_tell_is_read_over_rest(node: Node) -> None:
    with grpc_points(node) as over_grpc:
        points = list(scroll_points(node, "integers", over_grpc=over_grpc, limit=10))
    assert {p["payload"]["n"] for p in points} == {2**64 - 1}
    assert [type(p["vector"]) for p in points] == [list] * 40


def test_the_port_of_another_server_is_not_believed(server: Server, tmp_path: Path) -> None:
    with (
        sandbox_server(tmp_path / "other", over_grpc=True) as other,
        Node(server.url, grpc_port=other.grpc_port) as node,
        pytest.raises(GrpcUnfit, match="another server"),
        grpc_points(node),
    ):
        pass


def test_nobody_hears_the_key_before_it_is_known_who_listens(tmp_path: Path) -> None:
    heard: list[Any] = []

    def listen(_: Any, context: grpc.ServicerContext) -> bytes:
        heard.extend(context.invocation_metadata())
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        raise AssertionError

    foreign = grpc.server(ThreadPoolExecutor(2))
    scroll = grpc.unary_unary_rpc_method_handler(listen)
    handlers = grpc.method_handlers_generic_handler("qdrant.Points", {"Scroll": scroll})
    foreign.add_generic_rpc_handlers((handlers,))
    port = foreign.add_insecure_port("127.0.0.1:0")
    foreign.start()
    (tmp_path / "key").write_text("top-secret")
    try:
        with (
            sandbox_server(tmp_path / "server", api_key="top-secret") as ours,
            Node(ours.url, api_key=f"file:{tmp_path / 'key'}", grpc_port=port) as node,
            pytest.raises(GrpcUnfit, match="another server"),
            grpc_points(node),
        ):
            pass
    finally:
        foreign.stop(None)
    assert heard, "nobody was asked"
    assert "top-secret" not in str(heard)


def test_a_server_that_wants_a_key_gets_it(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    with (
        sandbox_server(tmp_path / "server", api_key="secret", over_grpc=True) as ours,
        Node(ours.url, api_key=f"file:{tmp_path / 'key'}") as node,
        grpc_points(node) as over_grpc,
        pytest.raises(GrpcUnfit, match="NOT_FOUND"),
    ):
        over_grpc.page("nothing", None, 1)


def test_a_connection_that_ends_up_at_another_server_is_noticed_at_the_end(
    server: Server, tmp_path: Path
) -> None:
    """A balancer may send each connection elsewhere: what came from there is not this node's."""
    with sandbox_server(tmp_path / "other", over_grpc=True) as other:
        plain = {"vectors": {"size": 4, "distance": "Cosine"}}
        _make(other.url, "plain", plain, [_plain(n, {"n": n}) for n in range(150)])
        with (
            _forwarding(server.grpc_port) as front,
            Node(server.url, grpc_port=front.port) as node,
            grpc_points(node) as over_grpc,
        ):
            front.to = other.grpc_port
            front.cut()
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline:  # gRPC connects again when it sees fit
                with suppress(GrpcUnfit):
                    over_grpc.page("plain", None, 20)
                    break
                time.sleep(0.1)
            else:
                raise AssertionError("the other server was not reached")
            assert not over_grpc.belongs_to_node()


def test_a_stream_that_is_cut_is_read_again(server: Server) -> None:
    with (
        _forwarding(server.grpc_port) as front,
        Node(server.url, grpc_port=front.port) as node,
        grpc_points(node) as over_grpc,
    ):
        points = scroll_points(node, "plain", over_grpc=over_grpc, limit=16)
        first = [next(points) for _ in range(5)]
        front.to = 0
        front.cut()
        ids = [p["id"] for p in [*first, *points]]
    assert ids == list(range(150))


@pytest.mark.parametrize("why", ["nothing", "rest", "zero", "no port"])
def test_where_grpc_does_not_answer(
    server: Server, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qdrant_dr.cluster.grpc_points.CONNECT_SECONDS", 0.5)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        ports = {
            "nothing": held.getsockname()[1],
            "rest": int(server.url.rsplit(":", 1)[1]),
            "zero": 0,
        }
        url = "http://qdrant.example.com" if why == "no port" else server.url
        with (
            Node(url, grpc_port=ports.get(why)) as node,
            pytest.raises(GrpcUnfit, match=r"\w"),
            grpc_points(node),
        ):
            pass


class _Lying:
    """Answers like a `GrpcPoints`, one thing changed."""

    def __init__(self, **change: Any) -> None:
        self.change, self.asked = change, 0

    def page(
        self, _: str, offset: int | str | None, limit: int
    ) -> tuple[list[dict[str, Any]], int | str | None, int]:
        self.asked += 1
        if "fails" in self.change:
            raise GrpcUnfit("cut")
        first = 0 if offset is None else int(offset)
        more = self.change.get("more", 0)
        ids = [first + n + self.change.get("skip", 0) for n in range(limit + more)]
        ids[1] += self.change.get("turn", 0)
        following = first + limit + more + self.change.get("back", 0)
        return [{"id": i, "payload": {}, "vector": b""} for i in ids], following, 10


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"more": 1}, "were asked for"),
        ({"back": -20}, "does not advance"),
        ({"turn": 5}, "does not advance"),
        ({"skip": -1}, "does not advance"),
    ],
)
def test_pages_that_are_none_are_refused(node: Node, change: dict[str, int], said: str) -> None:
    with pytest.raises(ServerFailed, match=said):
        list(scroll_points(node, "plain", over_grpc=_Lying(**change)))  # type: ignore[arg-type]


def test_pages_are_cut_by_the_largest_points_seen(node: Node) -> None:
    class Growing:
        """Small points first, then some of a megabyte; then small ones again."""

        sizes: ClassVar[list[int]] = []

        def page(
            self, _: str, offset: int | str | None, limit: int
        ) -> tuple[list[dict[str, Any]], int | str | None, int]:
            first = 0 if offset is None else int(offset)
            self.sizes.append(limit)
            each = 2**20 if 80 <= first < 200 else 10
            ids = range(first, min(first + limit, 500))
            following = ids.stop if ids.stop < 500 else None
            points = [{"id": i, "payload": {}, "vector": b""} for i in ids]
            return points, following, each * len(ids)

    pages = _Pages(node, "plain", None, None, True, cast("GrpcPoints", Growing()), None)
    assert sum(len(p.points) for p in pages.one_ahead()) == 500
    assert max(Growing.sizes) <= GRPC_PAGE
    assert max(Growing.sizes[3:]) <= PAGE_BYTES // 2**20


def test_after_some_pages_in_vain_no_more_are_tried(node: Node) -> None:
    lying = _Lying(fails=True)
    found = list(scroll_points(node, "plain", over_grpc=lying, limit=10))  # type: ignore[arg-type]
    assert len(found) == 150
    assert lying.asked == GRPC_MISSES


class _Front:
    """A balancer in front of a port of this machine. `to` 0 takes nobody any more."""

    def __init__(self, to: int, port: int) -> None:
        self.to, self.port = to, port
        self.open: list[socket.socket] = []
        self.answered = 0

    def cut(self) -> None:
        for one in self.open:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        self.open.clear()


@contextmanager
def _forwarding(to: int) -> Iterator[_Front]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        front = _Front(to, listening.getsockname()[1])

        def serve() -> None:
            while True:
                try:
                    near, _ = listening.accept()
                except OSError:
                    return
                if front.to == 0:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", front.to))
                front.open += [near, far]
                for one, other in ((near, far), (far, near)):
                    taken = front if other is near else None
                    threading.Thread(target=_pour, args=(one, other, taken), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        yield front
        front.cut()
        with suppress(OSError):
            listening.shutdown(socket.SHUT_RDWR)


def _pour(out_of: socket.socket, into: socket.socket, counting: _Front | None) -> None:
    with suppress(OSError), out_of, into:
        while data := out_of.recv(1 << 16):
            if counting is not None:
                counting.answered += len(data)
            into.sendall(data)
