"""A forward proxy on loopback: it counts, and takes every host for this machine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


@dataclass
class Proxy:
    """`asked` are the hosts that it was asked for, once per request or tunnel."""

    url: str = ""
    asked: list[str] = field(default_factory=list)


@contextmanager
def forward_proxy() -> Iterator[Proxy]:
    """Serve plain requests and tunnels until the block ends."""
    proxy = Proxy()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            to = urlsplit(self.path)
            proxy.asked.append(to.hostname or "")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {k: v for k, v in self.headers.items() if not k.lower().startswith("proxy-")}
            path = self.path[len(f"{to.scheme}://{to.netloc}") :]
            with closing(HTTPConnection("127.0.0.1", to.port or 80, timeout=30)) as there:
                there.request(self.command, path, body, headers)
                answer = there.getresponse()
                content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            length = answer.getheader("content-length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            with suppress(OSError):  # who asked does not want it any more
                self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = forward  # noqa: N815

        def do_CONNECT(self) -> None:
            host, _, port = self.path.rpartition(":")
            proxy.asked.append(host)
            with socket.create_connection(("127.0.0.1", int(port))) as there:
                self.send_response(200)
                self.end_headers()
                back = threading.Thread(target=pour, args=(there, self.connection), daemon=True)
                back.start()
                pour(self.connection, there)
                back.join(timeout=10)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


def pour(out_of: socket.socket, into: socket.socket) -> None:
    """Copy bytes until one end has no more, or does not want more."""
    with suppress(OSError):
        while data := out_of.recv(1 << 16):
            into.sendall(data)
        into.shutdown(socket.SHUT_WR)
