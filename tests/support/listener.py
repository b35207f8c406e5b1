"""An HTTP server on loopback that keeps what it is sent: webhooks, heartbeats, metrics."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Sent:
    """One request."""

    method: str
    path: str
    body: str


@dataclass
class Listener:
    """`status` is its answer to everything."""

    url: str = ""
    status: int = 200
    sent: list[Sent] = field(default_factory=list)


@contextmanager
def listener() -> Iterator[Listener]:
    """Listen until the block ends."""
    kept = Listener()

    class Handler(BaseHTTPRequestHandler):
        def _keep(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            kept.sent.append(Sent(self.command, self.path, body))
            self.send_response(kept.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_PUT = _keep  # noqa: N815  the names that http.server looks for

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    kept.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield kept
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
