"""A node that replays real archives, and the client side of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from qdrant_dr.cluster import Node
from qdrant_dr.config import Timeouts
from tests.support.replay import ReplaySource


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long pauses before a read is repeated."""
    monkeypatch.setattr("qdrant_dr.cluster.node.READ_AGAIN_SECONDS", (0.01,))


@pytest.fixture
def source() -> Iterator[ReplaySource]:
    with ReplaySource(["basic", "rich", "sharded", "empty", "single"]) as replayed:
        yield replayed


@pytest.fixture
def node(source: ReplaySource) -> Iterator[Node]:
    timeouts = Timeouts(connect=timedelta(seconds=2), read=timedelta(seconds=5))
    with Node(source.url, timeouts=timeouts) as opened:
        yield opened
