"""A store that answers as it is told to: S3, GCS and Azure alike, in the form of each.

Every answer holds `SECRET` where a provider's own words stand: nothing of it may be shown.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from qdrant_dr.config import RepositoryConfig

SECRET = "AKIA-very-secret"
REQUEST_ID = "req-0123456789"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq=="


@dataclass
class Store:
    """`status` and `code` of each method's answers; without one, 404 and that nothing is there."""

    kind: str
    url: str = ""
    answers: dict[str, tuple[int, str]] = field(default_factory=dict)
    words: str = SECRET
    seen: list[str] = field(default_factory=list)

    def config(self, host: str | None = None, **fields: Any) -> RepositoryConfig:
        """A repository there; `host` is another name for the same place."""
        url = self.url if host is None else self.url.replace("127.0.0.1", host)
        options = {
            "s3": {"endpoint_url": url, "key": "k", "secret": "s"},
            "gs": {"endpoint_url": url, "token": "anon"},
            "az": {
                "connection_string": f"DefaultEndpointsProtocol=http;AccountName=acc;"
                f"AccountKey={AZURE_KEY};BlobEndpoint={url}/acc"
            },
        }[self.kind]
        return RepositoryConfig(
            name="store", url=f"{self.kind}://b/p", domain="d", options=options, **fields
        )


_MISSING = {"s3": "NoSuchKey", "gs": "notFound", "az": "BlobNotFound"}


@contextmanager
def scripted_store(kind: str, *, tls: ssl.SSLContext | None = None) -> Iterator[Store]:
    """One of `s3`, `gs`, `az` on loopback until the block ends."""
    store = Store(kind)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            store.seen.append(f"{self.command} {self.path}")
            status, code = store.answers.get(self.command, (404, _MISSING[kind]))
            body = b"" if self.command == "HEAD" else _body(kind, status, code, store.words)
            self.send_response(status)
            self.send_header("Content-Type", "application/" + ("json" if kind == "gs" else "xml"))
            self.send_header("Content-Length", str(len(body)))
            self.send_header("x-amz-request-id", REQUEST_ID)
            self.send_header("x-ms-request-id", REQUEST_ID)
            self.send_header("X-GUploader-UploadID", REQUEST_ID)
            if status == 301:
                self.send_header("x-amz-bucket-region", "eu-central-1")
            if kind == "az" and code:
                self.send_header("x-ms-error-code", code)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815  http.server's names

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A client that trusts nobody hangs up: no news."""

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    store.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


def _body(kind: str, status: int, code: str, words: str) -> bytes:
    if kind == "gs":
        reason = {"message": words, "domain": "global", "reason": code}
        told = {"code": status, "message": words, **({"errors": [reason]} if code else {})}
        return json.dumps({"error": told}).encode()
    if not code:
        return b""
    region = "<Region>eu-central-1</Region>" if code == "AuthorizationHeaderMalformed" else ""
    return (
        f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code>'
        f"<Message>{words}</Message>{region}<RequestId>{REQUEST_ID}</RequestId></Error>"
    ).encode()
