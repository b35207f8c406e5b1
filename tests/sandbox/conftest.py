"""One empty sandbox per module, and words to talk to it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.servers import Server, sandbox_server


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with sandbox_server(tmp_path_factory.mktemp("sandbox")) as server:
        yield server


@pytest.fixture(scope="module")
def client(sandbox: Server) -> Iterator[httpx.Client]:
    headers = {"accept-encoding": "identity"}
    with httpx.Client(base_url=sandbox.url, headers=headers, timeout=60, trust_env=False) as made:
        yield made
