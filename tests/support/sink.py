"""An HTTP server on loopback that keeps what is posted to it: where notifications arrive."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Sink:
    """`url` is where to post; `posted` are the JSON bodies, in the order they came."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.posted: list[dict[str, Any]] = []

    def about(self, *words: str) -> list[dict[str, Any]]:
        """Those in which all of the words are."""
        return [p for p in list(self.posted) if all(w in json.dumps(p) for w in words)]


@contextmanager
def http_sink() -> Iterator[Sink]:
    """A sink that listens until the block ends."""

    class Keep(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            sink.posted.append(json.loads(body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Keep) as server:
        sink = Sink(f"http://127.0.0.1:{server.server_address[1]}/")
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield sink
        finally:
            server.shutdown()
            thread.join(5)
