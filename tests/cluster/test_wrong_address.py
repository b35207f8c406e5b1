"""What is at a wrong address is told in words: nothing, another host, gRPC, a page, a redirect."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from qdrant_dr.cluster import Node, node_facts
from qdrant_dr.errors import AccessDenied, ClusterError, NodeUnreachable, ServerFailed


@contextmanager
def answering(data: bytes) -> Iterator[str]:
    """A server that says the same to everybody."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(data)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def page(status: str, *headers: str, body: str = "<html>hello</html>") -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers])
    return f"{head}\r\n\r\n{body}".encode()


def told(url: str) -> ClusterError:
    with Node(url) as node, pytest.raises(ClusterError) as caught:
        node_facts(node)
    return caught.value


@pytest.mark.parametrize(
    ("data", "kind", "message", "hint"),
    [
        # what a port of TLS, and one of gRPC, answer to plain HTTP
        (b"\x15\x03\x03\x00\x02\x02F", NodeUnreachable, "does not speak HTTP: try https://", ""),
        (b"\x00\x00\x06\x04\x00\x00\x00\x00\x00", NodeUnreachable, "not the gRPC port (6334)", ""),
        (page("301 Moved", "location: https://x/"), ServerFailed, "(301", "often the same with"),
        (page("404 Not Found", body=""), ServerFailed, "(404)", "the REST port of a node"),
        (page("400 Bad", body="<html>" + "x" * 900), ServerFailed, "(400: a page for browsers)",
         "with nothing after the port"),
        (page("401 No", body='{"status": {"error": "who?"}}'), AccessDenied,
         "needs a key to read its version (401: who?)", "`cluster.api_key`"),
        (page("200 OK"), ServerFailed, "not answer like a Qdrant", "the REST port of a node"),
    ],
)  # fmt: skip
def test_what_answers_and_is_no_node(
    data: bytes, kind: type[ClusterError], message: str, hint: str
) -> None:
    with answering(data) as url:
        error = told(url)
    assert type(error) is kind
    assert message in error.message
    assert "<html" not in error.message
    assert hint in error.hint


def test_a_dead_port_and_an_unknown_host_are_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert "nothing listens there (" in told(f"http://127.0.0.1:{port}").message
    assert "no host of that name is known (" in told("http://no-such-host.invalid:6333").message
