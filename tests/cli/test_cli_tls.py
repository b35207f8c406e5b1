"""A cluster that wants to know who comes, behind a private CA: all works, by configuration."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.certificates import Certificates, make_certificates
from tests.support.proxy import pour
from tests.support.servers import sandbox_server


@contextmanager
def terminated(url: str, tls: ssl.SSLContext) -> Iterator[str]:
    """The same server by https, to whoever shows a certificate."""
    to = httpx.URL(url)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(plain: socket.socket) -> None:
        with (
            suppress(OSError),
            tls.wrap_socket(plain, server_side=True) as outside,
            socket.create_connection((to.host, to.port or 80)) as inside,
        ):
            back = threading.Thread(target=pour, args=(inside, outside), daemon=True)
            back.start()
            pour(outside, inside)
            back.join(timeout=10)

    def accept() -> None:
        while True:
            try:
                plain, _ = listening.accept()
            except OSError:  # closed: the end
                return
            threading.Thread(target=serve, args=(plain,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join(timeout=10)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_certificates(tmp_path_factory.mktemp("certificates"))


def test_all_of_it_by_https_with_a_client_certificate(
    qdr: Any, tmp_path: Path, certificates: Certificates
) -> None:
    tls = certificates.of_server(mutual=True)
    with sandbox_server(tmp_path / "server") as server, terminated(server.url, tls) as url:
        body = {"vectors": {"size": 2, "distance": "Dot"}}
        httpx.put(f"{server.url}/collections/movies", json=body, timeout=60).raise_for_status()
        points = [{"id": n, "vector": [n, 1]} for n in range(20)]
        where = f"{server.url}/collections/movies/points?wait=true"
        httpx.put(where, json={"points": points}).raise_for_status()
        config = tmp_path / "qdrant-dr.yaml"
        certificate, key = certificates.client
        config.write_text(
            f"format: 1\ncluster: {{name: c, nodes: [{url}], tls: {{ca: {certificates.ca}, "
            f'certificate: {certificate}, key: "file:{key}"}}}}\n'
            f"repositories: [{{name: r, url: {tmp_path / 'r'}, domain: d}}]\n"
            f"capture: {{spool: {{path: {tmp_path / 'spool'}}}}}\n"
        )
        for words in (
            ["repository", "create", "--save"],
            ["check"],
            ["backup"],
            ["restore", "movies@latest-proven", "--to", url, "--as", "again", "--execute"],
        ):
            done = qdr("-c", str(config), *words)
            assert done.code in (0, 3), (words, done.err)
            assert "not reached" not in done.err
        count = httpx.post(f"{server.url}/collections/again/points/count", json={"exact": True})
        assert count.json()["result"]["count"] == 20
