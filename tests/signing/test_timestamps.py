"""Requests that openssl answers, and answers that are not for what was asked."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from qdrant_dr.errors import TimestampFailed
from qdrant_dr.jobs.run import timestamp
from qdrant_dr.jobs.run.timestamp import ask_for_time
from qdrant_dr.signing import timestamps

MESSAGE = b'{"kind":"ledger-entry"}'
needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="openssl is not installed"
)
CONFIG = """
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
ordering = yes
tsa_name = no
ess_cert_id_chain = no
ess_cert_id_alg = sha256
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A time server that is `openssl ts`, with a certificate of its own."""
    folder = tmp_path_factory.mktemp("tsa")
    (folder / "serial").write_text("01\n")
    (folder / "ts.cnf").write_text(CONFIG.format(folder=folder))
    openssl(
        folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", "tsa.key", "-out", "tsa.pem", "-days", "1", "-subj", "/CN=time",
        "-addext", "extendedKeyUsage=critical,timeStamping",
    )  # fmt: skip

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            (folder / "query").write_bytes(body)
            openssl(
                folder, "ts", "-reply", "-config", "ts.cnf", "-queryfile", "query", "-signer",
                "tsa.pem", "-inkey", "tsa.key", "-out", "reply",
            )  # fmt: skip
            answer = (folder / "reply").read_bytes()
            self.send_response(200 if self.path != "/away" else 503)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}", folder
    httpd.shutdown()
    httpd.server_close()


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True, timeout=60)


@needs_openssl
def test_openssl_answers_and_believes_what_is_kept(server: tuple[str, Path]) -> None:
    url, folder = server
    reply = ask_for_time(url, MESSAGE)
    token = timestamps.read_reply(reply)
    assert abs(token.at - datetime.now(UTC)) < timedelta(minutes=5)
    (folder / "kept.tsr").write_bytes(reply)
    (folder / "entry").write_bytes(MESSAGE)
    openssl(folder, "ts", "-verify", "-data", "entry", "-in", "kept.tsr", "-CAfile", "tsa.pem")


@needs_openssl
def test_an_answer_for_something_else_is_refused(server: tuple[str, Path]) -> None:
    url, _ = server
    reply = ask_for_time(url, MESSAGE)
    nonce = timestamps.read_reply(reply).nonce
    assert nonce is not None
    assert timestamps.check_reply(reply, MESSAGE, nonce).nonce == nonce
    with pytest.raises(TimestampFailed, match="something else"):
        timestamps.check_reply(reply, MESSAGE + b" ", nonce)
    with pytest.raises(TimestampFailed, match="nonce"):
        timestamps.check_reply(reply, MESSAGE, nonce + 1)
    with pytest.raises(TimestampFailed, match="status 503"):
        ask_for_time(f"{url}/away", MESSAGE)


@pytest.mark.parametrize(
    "reply",
    [b"", b"hello", b"\x30\x80", b"\x30\x05\x30\x03\x02\x01\x02", b"<html>" * 50, b"\x30\x00"],
)
def test_what_is_no_answer_is_refused(reply: bytes) -> None:
    with pytest.raises(TimestampFailed):
        timestamps.check_reply(reply, MESSAGE, 1)


def test_a_server_that_is_away_is_told() -> None:
    with pytest.raises(TimestampFailed, match="does not answer"):
        ask_for_time("http://127.0.0.1:1", MESSAGE)


@pytest.mark.parametrize("what", ["drips", "floods"])
def test_a_server_that_never_ends_its_answer_holds_nothing_up(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timestamp, "_SECONDS", 0.5)
    stop = threading.Event()

    class Endless(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(200)
            self.end_headers()
            with suppress(OSError):
                while not stop.wait(0.05 if what == "drips" else 0):
                    self.wfile.write(b"x" * (1 if what == "drips" else 2**16))

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    try:
        began = time.monotonic()
        with pytest.raises(TimestampFailed):
            ask_for_time(f"http://127.0.0.1:{httpd.server_port}", MESSAGE)
        assert time.monotonic() - began < 10
    finally:
        stop.set()
        httpd.shutdown()
        httpd.server_close()
