"""Points over gRPC: vectors come as the bytes that they are, and no float is made of them.

Read with the channel of qdrant-client's own dependency and its messages. A gRPC port says nothing
of whose it is, so a node is believed to answer there only while its own count of refused scrolls
over gRPC (`/telemetry` over REST) grows by exactly as many as were sent, a random number, several
times. What other clients read there does not count, and the key is sent afterwards only. Whatever
goes wrong here is `GrpcUnfit`: the caller reads the same over REST, which is the reference.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from qdrant_dr.cluster.node import Node
from qdrant_dr.errors import ClusterError
from qdrant_dr.network import ca_file, client_pair, proxy_for

if TYPE_CHECKING:
    import grpc
    from qdrant_client import grpc as messages

SCROLL: Final = "/qdrant.Points/Scroll"
CONNECT_SECONDS: Final = 3.0
ROUNDS: Final = 3
MOST_PROBES: Final = 16
LARGEST_PAGE: Final = 1 << 30
_UNCOMPRESSED: Final = ("grpc.compression_enabled_algorithms_bitset", 1)
"""A server compresses what it sends to a client that takes gzip, as every one does unless it says
otherwise: four fifths of the time of a proof at 1536 dimensions (tonic/mod.rs; measured on Qdrant
1.18.3)."""
_NO_COLLECTION: Final = "qdr-no-such-collection"
_REFUSED: Final = ("5", "7", "16")
"""Codes of gRPC: not found, permission denied, unauthenticated. A server counts all of them, before
it looks at a key (measured on Qdrant 1.18.3)."""
_BEYOND_INTEGERS: Final = float(1 << 63)
"""A server's gRPC gives an integer at or above this as a double (conversions/json.rs of Qdrant
1.18.3)."""
_PACKED: Final = 0x0A
"""The key of field 1 with a length, as `DenseVector.data` and `VectorOutput.data` are written."""


class GrpcUnfit(Exception):
    """This cannot be read over gRPC: `str()` says why."""


class GrpcPoints:
    """One node's collections over gRPC, from `grpc_points`."""

    def __init__(self, node: Node, channel: grpc.Channel, address: str) -> None:
        from qdrant_client import grpc as messages

        self.address = address
        self._node, self._messages = node, messages
        self._call = channel.unary_unary(
            SCROLL,
            request_serializer=messages.ScrollPoints.SerializeToString,
            response_deserializer=None,
        )
        self._seconds = node.timeouts.read.total_seconds()
        self._channel, self._connected = channel, True

    def page(
        self, collection: str, offset: int | str | None, limit: int
    ) -> tuple[list[dict[str, Any]], int | str | None, int]:
        """The first points at or behind an id, the id behind them, and how many bytes they took.

        In the form of a server's JSON, but for dense vectors, which are bytes: binary32, little
        endian. Raise GrpcUnfit.
        """
        from google.protobuf.message import DecodeError

        request = self._messages.ScrollPoints(
            collection_name=collection,
            limit=limit,
            with_payload=self._messages.WithPayloadSelector(enable=True),
            with_vectors=self._messages.WithVectorsSelector(enable=True),
        )
        if isinstance(offset, int):
            request.offset.num = offset
        elif offset is not None:
            request.offset.uuid = offset
        raw = self._exchange(request)
        try:
            answer = self._messages.ScrollResponse.FromString(raw)
            points = [_point(p) for p in answer.result]
            more = answer.HasField("next_page_offset")
            following = _id(answer.next_page_offset) if more else None
        except (DecodeError, ValueError, RecursionError) as e:
            raise GrpcUnfit(f"a page could not be read: {e}") from None
        return points, following, len(raw)

    def belongs_to_node(self) -> bool:
        """Whether this still is the connection of the beginning, and the node's."""
        return self._connected and self._counts_with_node()

    def prove_whose(self) -> None:
        """Raise GrpcUnfit unless the node answers here, ClusterError if it does not tell."""
        self._channel.subscribe(self._follow)
        if not self._counts_with_node():
            raise GrpcUnfit("what answers there is another server")

    def close(self) -> None:
        """Stop following the connection."""
        self._channel.unsubscribe(self._follow)

    def _follow(self, state: grpc.ChannelConnectivity) -> None:
        """A connection that is made anew may lead elsewhere."""
        import grpc

        self._connected = self._connected and state is grpc.ChannelConnectivity.READY

    def _counts_with_node(self) -> bool:
        for _ in range(ROUNDS):
            many = 1 + secrets.randbelow(MOST_PROBES)
            before = self._refused()
            for _ in range(many):
                self._be_refused()
            if self._refused() - before != many:
                return False
        return True

    def _refused(self) -> int:
        found = self._node.ask("GET", "/telemetry", "count its answers over gRPC")
        try:
            answers = found["requests"]["grpc"]["responses"].get(SCROLL, {})
            return sum(int(answers[code]["count"]) for code in _REFUSED if code in answers)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise GrpcUnfit("the node does not count its answers over gRPC") from None

    def _be_refused(self) -> None:
        """Ask for what is not there, without a key."""
        import grpc

        request = self._messages.ScrollPoints(collection_name=_NO_COLLECTION, limit=1)
        try:
            self._call(request, timeout=self._seconds)
        except grpc.RpcError as e:
            if str(e.code().value[0]) in _REFUSED:
                return
            raise GrpcUnfit(f"{e.code().name}: {e.details()}") from None
        raise GrpcUnfit("it has what no server has")

    def _exchange(self, request: messages.ScrollPoints) -> bytes:
        import grpc

        metadata = [(k, v) for k, v in self._node.headers(write=False).items() if k == "api-key"]
        try:
            answer: bytes = self._call(request, timeout=self._seconds, metadata=metadata)
        except grpc.RpcError as e:
            raise GrpcUnfit(f"{e.code().name}: {e.details()}") from None
        return answer


@contextmanager
def grpc_points(node: Node) -> Iterator[GrpcPoints]:
    """A node's gRPC port, once it has shown that it is this node's. Raise GrpcUnfit."""
    import grpc

    host, port = _place(node)
    address = f"{f'[{host}]' if ':' in host else host}:{port}"
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except OSError as e:
        raise GrpcUnfit(f"nothing answers at {address} ({e})") from None
    options = [
        ("grpc.max_receive_message_length", LARGEST_PAGE),
        ("grpc.enable_http_proxy", 0),
        _UNCOMPRESSED,
    ]
    secure = node.url.startswith("https:")
    channel = (
        grpc.secure_channel(address, _credentials(node), options)
        if secure
        else grpc.insecure_channel(address, options)
    )
    try:
        try:
            grpc.channel_ready_future(channel).result(timeout=CONNECT_SECONDS)
        except grpc.FutureTimeoutError:
            raise GrpcUnfit(f"what answers at {address} does not speak gRPC") from None
        try:
            points = GrpcPoints(node, channel, address)
            points.prove_whose()
        except ClusterError as e:
            raise GrpcUnfit(f"the node does not tell whose port that is: {e.message}") from None
        try:
            yield points
        finally:
            points.close()
    finally:
        channel.close()


def _place(node: Node) -> tuple[str, int]:
    parts = urlsplit(node.url)
    if node.grpc_port == 0:
        raise GrpcUnfit("`cluster.grpc_port` is 0")
    if proxy_for(node.url) is not None:
        raise GrpcUnfit("the node is reached through a proxy")
    if parts.path.strip("/"):
        raise GrpcUnfit("the node's address has a path")
    if node.grpc_port is None and parts.port is None:
        raise GrpcUnfit("the node's address has no port, and `cluster.grpc_port` is not set")
    return parts.hostname or "", node.grpc_port or (parts.port or 0) + 1


def _credentials(node: Node) -> grpc.ChannelCredentials:
    import grpc

    pair = client_pair(node.tls)
    certificate, key = (Path(f).read_bytes() for f in pair) if pair else (None, None)
    return grpc.ssl_channel_credentials(Path(ca_file(node.tls)).read_bytes(), key, certificate)


def _id(given: messages.PointId) -> int | str:
    which = given.WhichOneof("point_id_options")
    if which is None:
        raise ValueError("a point without an id")
    return given.num if which == "num" else str(given.uuid)


def _point(given: messages.RetrievedPoint) -> dict[str, Any]:
    payload = {key: _value(value) for key, value in given.payload.items()}
    return {"id": _id(given.id), "payload": payload, "vector": _vectors(given.vectors)}


def _value(given: messages.Value) -> Any:
    kind = given.WhichOneof("kind")
    if kind == "string_value":
        return given.string_value
    if kind == "integer_value":
        return given.integer_value
    if kind == "double_value":
        number = given.double_value
        if _BEYOND_INTEGERS <= number <= 2 * _BEYOND_INTEGERS:
            raise ValueError("a payload's number may be an integer or not")
        return number
    if kind == "bool_value":
        return given.bool_value
    if kind == "null_value":
        return None
    if kind == "list_value":
        return [_value(v) for v in given.list_value.values]
    if kind == "struct_value":
        return {k: _value(v) for k, v in given.struct_value.fields.items()}
    raise ValueError("a payload's value of no kind that is known")


def _vectors(given: messages.VectorsOutput) -> Any:
    which = given.WhichOneof("vectors_options")
    if which == "vector":
        return _vector(given.vector)
    return {name: _vector(vector) for name, vector in given.vectors.vectors.items()}


def _vector(given: messages.VectorOutput) -> Any:
    which = given.WhichOneof("vector")
    if which == "dense":
        return _packed(given.dense.SerializeToString())
    if which == "sparse":
        return {"indices": list(given.sparse.indices), "values": list(given.sparse.values)}
    if which == "multi_dense":
        return [list(row.data) for row in given.multi_dense.vectors]
    if given.HasField("indices") or given.HasField("vectors_count"):
        raise ValueError("a vector in a form of servers before 1.16")
    return _packed(given.SerializeToString())


def _packed(message: bytes) -> bytes:
    """The numbers of a message that holds nothing else, as they were sent."""
    if not message:
        return b""
    head = _head(len(message))
    if head is None or not message.startswith(head):
        raise ValueError("a vector of a form that is not known")
    return message[len(head) :]


@cache
def _head(length: int) -> bytes | None:
    """What a message of so many bytes begins with if all of it is one field of packed numbers: the
    key, and how many bytes follow, seven bits in each byte, the lowest first."""
    for size in range(1, 6):
        left = length - 1 - size
        if left >= 0 and max(1, -(-left.bit_length() // 7)) == size:
            bits = [left >> 7 * n & 0x7F for n in range(size)]
            more = [b | 0x80 for b in bits[:-1]]
            return None if left % 4 else bytes([_PACKED, *more, bits[-1]])
    return None
