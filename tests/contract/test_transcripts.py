"""Every server that we call Qdrant answers as the recorded 1.18.3 did.

The sandbox always; a real Qdrant with `QDRANT_BIN` (a process of its own per conversation) or
`QDRANT_URL` (an empty server without keys: the conversation that needs keys is skipped).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.servers import qdrant_server, sandbox_server
from tests.support.transcripts import Exchange, load, normalise, play

ONE_NODE = ("01-collections-and-points", "02-snapshots", "03-restore")
WITH_KEYS = ("04-access",)
KEYS = {"api_key": "write-key", "read_api_key": "read-key"}

KINDS = ("sandbox", pytest.param("server", marks=pytest.mark.qdrant))
STEPS = [(name, step["step"]) for name in (*ONE_NODE, *WITH_KEYS) for step in load(name)]


@pytest.fixture(scope="module", params=KINDS)
def exchanges(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Exchange]:
    """Both conversations, played once; each step is then a test of its own."""
    kind = request.param
    if kind == "server" and not {"QDRANT_BIN", "QDRANT_URL"} & set(os.environ):
        pytest.skip("give QDRANT_BIN or QDRANT_URL to compare with a real server")
    played: dict[tuple[str, str], Exchange] = {}
    for names, keys in ((ONE_NODE, {}), (WITH_KEYS, KEYS)):
        if kind == "server" and keys and "QDRANT_BIN" not in os.environ:
            continue
        with _server(kind, tmp_path_factory.mktemp("server"), keys) as url:
            for exchange in play(url, names):
                played[exchange.transcript, exchange.step] = exchange
    return played


@contextmanager
def _server(kind: str, folder: Path, keys: dict[str, str]) -> Iterator[str]:
    if kind == "server" and "QDRANT_BIN" not in os.environ:
        yield os.environ["QDRANT_URL"].rstrip("/")
        return
    with (sandbox_server if kind == "sandbox" else qdrant_server)(folder, **keys) as server:
        yield server.url


@pytest.mark.parametrize(("transcript", "step"), STEPS, ids=lambda value: value)
def test_answers_as_recorded(
    exchanges: dict[tuple[str, str], Exchange], transcript: str, step: str
) -> None:
    exchange = exchanges.get((transcript, step))
    if exchange is None:
        pytest.skip("QDRANT_URL has no keys of ours: give QDRANT_BIN")
    assert exchange.got.status == exchange.expected.status, exchange.got
    expected, got = normalise(step, exchange.expected), normalise(step, exchange.got)
    assert got.content == expected.content
    assert got.headers == expected.headers
