"""Everything that is there is seen; what cannot be read is a row, not a gap."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from qdrant_dr.cluster import ClockOffset, Node, inventory_of, node_facts, take_inventory
from qdrant_dr.cluster.inventory import clock_offset
from qdrant_dr.config import ClusterConfig
from qdrant_dr.errors import AccessDenied, ConfigInvalid, NodeUnreachable, ServerFailed
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


def clustered(source: ReplaySource, peer: int, **peers: str) -> ReplaySource:
    known = {name.strip("p"): {"uri": uri} for name, uri in peers.items()}
    source.cluster = {"status": "enabled", "peer_id": peer, "peers": known}
    return source


def test_every_node_is_reached(source: ReplaySource) -> None:
    peers = {"p1": "http://10.0.0.1:6335/", "p2": "http://10.0.0.2:6335/"}
    clustered(source, 1, **peers)
    with ReplaySource(["single"]) as other:
        clustered(other, 2, **peers)
        found = take_inventory(config(source.url, other.url))
        assert [n.peer_id for n in found.nodes] == [1, 2]
        assert found.unreached == ()


def test_what_the_first_node_does_not_list_is_seen_all_the_same(source: ReplaySource) -> None:
    """A node that lags behind the cluster does not know the newest collections and aliases."""
    peers = {"p1": "http://10.0.0.1:6335/", "p2": "http://10.0.0.2:6335/"}
    clustered(source, 1, **peers)
    with ReplaySource(["single"]) as behind:
        clustered(behind, 2, **peers)
        found = take_inventory(config(behind.url, source.url))
        assert [n.url for n in found.nodes] == [behind.url, source.url]
        assert found.names == ("empty", "movies", "rich-ünïcode", "sharded", "single")
        assert {c.node for c in found.collections if c.collection == "movies"} == {source.url}
        assert found.aliases == {"live-movies": "movies"}
        assert found.unreadable == found.unreached == ()


def test_a_peer_with_an_address_is_asked_though_a_configured_one_is_dead(
    source: ReplaySource,
) -> None:
    """As many nodes that are silent as peers that are unknown need not be the same ones."""
    peers = {"p1": "http://10.0.0.1:6335/", "p2": "http://10.0.0.2:6335/"}
    clustered(source, 1, **peers)
    with ReplaySource(["single"]) as gone:
        nowhere = gone.url
    with ReplaySource(["single"]) as other:
        clustered(other, 2, **peers)
        named = ClusterConfig(name="test", nodes=(source.url, nowhere), peers={"2": other.url})
        found = take_inventory(named)
        assert [n.peer_id for n in found.nodes] == [1, 2]
        assert [nowhere in str(lost) for lost in found.unreached] == [True]


def test_a_dead_node_is_loud_as_long_as_another_answers(source: ReplaySource) -> None:
    peers = {"p1": "http://10.0.0.1:6335/", "p2": "http://10.0.0.2:6335/"}
    clustered(source, 1, **peers)
    with ReplaySource(["single"]) as other:
        gone = other.url
    for urls in ((source.url, gone), (gone, source.url)):
        found = take_inventory(config(*urls))
        assert [n.url for n in found.nodes] == [source.url]
        (lost,) = found.unreached
        assert gone in str(lost)
        assert "movies" in found.names
    with pytest.raises(NodeUnreachable, match=gone):
        take_inventory(config(gone))


def test_peers_are_found_by_name_or_by_the_host_they_are_on(source: ReplaySource) -> None:
    port = source.url.rpartition(":")[2]
    with ReplaySource(["single"]) as other:
        clustered(source, 1, p1="http://127.0.0.1:1/", p2="http://localhost:1/")
        clustered(other, 2)
        named = ClusterConfig(name="test", nodes=(source.url,), peers={"2": other.url})
        assert [n.url for n in take_inventory(named).nodes] == [source.url, other.url]
        # on its own host, at the port of the first: there the first itself answers, so it is not
        (lost,) = take_inventory(config(source.url)).unreached
        assert f"http://localhost:{port} is not peer 2 but 1" in str(lost)
        assert "cluster.peers: {'2': URL}" in str(lost)


def test_an_address_is_believed_only_if_that_very_peer_answers(source: ReplaySource) -> None:
    clustered(source, 1, p1="http://127.0.0.1:1/", p2="http://10.0.0.2:1/")
    with ReplaySource(["single"]) as other:
        named = ClusterConfig(name="test", nodes=(source.url,), peers={"2": other.url})
        (lost,) = take_inventory(named).unreached
        assert f"{other.url} is not peer 2 but no cluster" in str(lost)
        gone = other.url
    (lost,) = take_inventory(named).unreached
    assert f"{gone} could not be reached" in str(lost)


def test_nodes_that_do_not_belong_together_are_an_error(source: ReplaySource) -> None:
    with (
        ReplaySource(["single"]) as other,
        pytest.raises(ConfigInvalid, match="runs without cluster mode"),
    ):
        take_inventory(config(source.url, other.url))


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
    with pytest.raises(ServerFailed, match="does not answer like a Qdrant server"):
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
