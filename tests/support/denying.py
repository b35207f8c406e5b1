"""Stores that refuse deletions, over HTTP: a policy where the emulator has some, else a front."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.stores import AZURE_KEY, Place, connection_string


@contextmanager
def add_only(place: Place) -> Iterator[Place]:
    """The same place with a key that may do everything but delete."""
    if place.kind == "s3":
        yield _by_policy(place)
    elif place.kind == "gcs":
        with _front(place.options["endpoint_url"]) as url:
            yield replace(place, options={**place.options, "endpoint_url": url})
    elif place.kind == "azure":
        blob = place.options["connection_string"].split("BlobEndpoint=")[1]
        with _front(blob) as url:
            port = urlsplit(url).port
            assert port is not None
            account = connection_string(port, AZURE_KEY)
            yield replace(place, options={"connection_string": account})
    else:
        pytest.skip(f"{place.kind} has no keys")


def _by_policy(place: Place) -> Place:
    import boto3

    options = place.options
    iam = boto3.client(
        "iam", endpoint_url=options["endpoint_url"], region_name="us-east-1",
        aws_access_key_id=options["key"], aws_secret_access_key=options["secret"],
    )  # fmt: skip
    name = f"adds-{secrets.token_hex(4)}"  # a user has two keys at most
    iam.create_user(UserName=name)
    rules = {"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["s3:*"], "Resource": "*"},
        {"Effect": "Deny", "Resource": "*",
         "Action": ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:AbortMultipartUpload"]},
    ]}  # fmt: skip
    iam.put_user_policy(UserName=name, PolicyName="adds", PolicyDocument=json.dumps(rules))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return replace(
        place, options={**options, "key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
    )


@contextmanager
def _front(upstream: str) -> Iterator[str]:
    """Pass everything on but DELETE, which is answered 403."""
    behind = urlsplit(upstream.rstrip(";"))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self._body()
            with closing(HTTPConnection("127.0.0.1", behind.port or 80, timeout=30)) as there:
                headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP}
                headers |= {"Host": behind.netloc, "Content-Length": str(len(body))}
                there.request(self.command, self.path, body, headers)
                answer = there.getresponse()
                content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in HOP:
                    self.send_header(name, value)
            length = answer.getheader("content-length") if self.command == "HEAD" else None
            self._end(content, length)

        def do_DELETE(self) -> None:
            self._body()
            self.send_response(403)
            self._end(b"", None)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = b""
            while size := int(self.rfile.readline(), 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return found

        def _end(self, content: bytes, length: str | None) -> None:
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            with suppress(OSError):  # who asked does not want it any more
                self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = forward  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        path = behind.path.rstrip("/")
        yield f"http://127.0.0.1:{server.server_port}{path}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


HOP = ("transfer-encoding", "connection", "content-length", "host")
