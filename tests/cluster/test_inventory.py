"""Everything that is there is seen; what cannot be read is a row, not a gap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from qdrant_dr.cluster import ClockOffset, Node, inventory_of, node_facts, take_inventory
from qdrant_dr.cluster.inventory import clock_offset
from qdrant_dr.config import ClusterConfig
from qdrant_dr.errors import AccessDenied, NodeUnreachable, ServerFailed
from tests.support.replay import ReplaySource

AT = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)


def config(*urls: str) -> ClusterConfig:
    return ClusterConfig(name="test", nodes=urls)


def test_inventory(source: ReplaySource) -> None:
    inventory = take_inventory(config(source.url))
    assert inventory.names == ("empty", "movies", "rich-ünïcode", "sharded", "single")
    assert inventory.aliases == {"live-movies": "movies"}
    assert sum(c.exact_points or 0 for c in inventory.collections) == 2000 + 550 + 900 + 0 + 1
    seen = inventory.nodes[0]
    assert (seen.version, seen.source_kind, seen.clustered) == ("1.18.3", "server", False)
    assert seen.commit == "db8fa43fcb6aedec1e739487e17a99731b74590a"


@pytest.mark.parametrize("root", [{"sandbox": True}, {"title": "qdrant-dr sandbox"}])
def test_a_sandbox_says_so(source: ReplaySource, root: dict[str, object]) -> None:
    source.root |= root
    assert take_inventory(config(source.url)).source_kind == "sandbox"


def test_every_node_is_reached(source: ReplaySource) -> None:
    with ReplaySource(["single"]) as other:
        assert len(take_inventory(config(source.url, other.url)).nodes) == 2
        gone = other.url
    with pytest.raises(NodeUnreachable, match=gone):
        take_inventory(config(source.url, gone))


def test_a_broken_collection_is_a_row_with_its_error(source: ReplaySource) -> None:
    source.collections["movies"].info = None  # a half-restored one answers errors
    inventory = take_inventory(config(source.url))
    assert [u.collection for u in inventory.unreadable] == ["movies"]
    assert isinstance(inventory.unreadable[0].error, ServerFailed)
    assert "movies" in inventory.names
    assert len(inventory.collections) == 4


def test_a_denied_inventory_is_an_error(source: ReplaySource) -> None:
    source.faults.deny = 401
    with pytest.raises(AccessDenied):
        take_inventory(config(source.url))


def test_not_a_qdrant(source: ReplaySource, node: Node) -> None:
    source.root = {"name": "elasticsearch"}
    with pytest.raises(ServerFailed, match="does not answer as a Qdrant"):
        inventory_of([node])


@pytest.mark.parametrize("skew", [0.0, 120.0, -120.0])
def test_clocks_are_compared(source: ReplaySource, node: Node, skew: float) -> None:
    source.faults.clock_skew = skew
    clock = node_facts(node).clock
    assert clock is not None
    assert abs(clock.offset_ms - skew * 1000) <= clock.uncertainty_ms
    assert clock.exceeds(timedelta(seconds=30)) == (skew != 0)


def test_offset_and_uncertainty() -> None:
    headers = httpx.Headers({"date": "Sun, 22 Nov 2026 10:15:40 GMT"})
    found = clock_offset(headers, AT, AT + timedelta(seconds=1))
    assert found == ClockOffset(offset_ms=10_500, uncertainty_ms=1500)
    assert not found.exceeds(timedelta(seconds=9))
    assert found.exceeds(timedelta(seconds=8))


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}, {"date": ""}])
def test_no_date_is_no_offset(headers: dict[str, str]) -> None:
    assert clock_offset(httpx.Headers(headers), AT, AT) is None
