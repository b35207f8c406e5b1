"""The sandbox, or a real server where `QDRANT_BIN` names one: the parameters of a fixture."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.servers import Server, qdrant_server, sandbox_server

KINDS = [
    "sandbox",
    pytest.param(
        "server",
        marks=[
            pytest.mark.qdrant,
            pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN"),
        ],
    ),
]


@contextmanager
def either_server(kind: str, folder: Path) -> Iterator[Server]:
    """Start one of `KINDS`."""
    start = sandbox_server if kind == "sandbox" else qdrant_server
    with start(folder) as server:
        yield server
