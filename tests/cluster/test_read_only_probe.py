"""A key that is called read-only is tried on writes that can only fail."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qdrant_dr.cluster import Node, probe_read_only
from qdrant_dr.cluster.read_only_probe import ReadOnlyProbe
from qdrant_dr.errors import AccessDenied
from tests.support.replay import ReplaySource
from tests.support.servers import qdrant_server


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRITE", "w-key")
    monkeypatch.setenv("READ", "r-key")
    monkeypatch.setenv("WRONG", "x-key")


def test_read_only_is_proven_and_nothing_is_made() -> None:
    with ReplaySource(["basic"], api_key="w-key", read_api_key="r-key") as source:
        with Node(source.url, "env:WRITE", "env:READ") as node:
            probe = probe_read_only(node, ["movies"])
        assert (probe.proven, probe.tried, probe.could) == (True, 2, ())
        assert source.snapshots("movies") == ()


def test_a_key_that_could_write_is_found_and_nothing_is_made() -> None:
    with ReplaySource(["basic"], api_key="w-key", read_api_key="r-key") as source:
        with Node(source.url, "env:WRITE", "env:WRITE") as node:
            probe = probe_read_only(node, ["movies"])
        assert not probe.proven
        assert probe.could == ("make a snapshot of any collection", "make a snapshot of 'movies'")
        assert source.snapshots("movies") == ()


def test_an_open_server_proves_nothing(node: Node) -> None:
    assert not probe_read_only(node).proven


def test_a_wrong_key_is_denied_not_read_only() -> None:
    with ReplaySource(["basic"], api_key="w-key", read_api_key="r-key") as source:
        node = Node(source.url, "env:WRITE", "env:WRONG")
        with node, pytest.raises(AccessDenied, match="env:WRONG"):
            probe_read_only(node)


def test_nothing_tried_is_no_proof() -> None:
    assert not ReadOnlyProbe(tried=0, could=()).proven


@pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN")
def test_a_server_keeps_nothing_of_it(tmp_path: Path) -> None:
    """A snapshot of a collection that is not there would leave an empty folder of its name."""
    with qdrant_server(tmp_path, api_key="w-key", read_api_key="r-key") as server:
        with Node(server.url, "env:WRITE", "env:WRITE") as node:
            node.ask("PUT", "/collections/movies", "make it", json={"vectors": {}}, write=True)
            before = sorted(tmp_path.rglob("snapshots/**/*"))
            assert probe_read_only(node, ["movies"]).could == (
                "make a snapshot of any collection",
                "make a snapshot of 'movies'",
            )
        with Node(server.url, "env:WRITE", "env:READ") as node:
            assert probe_read_only(node, ["movies"]).proven
        assert sorted(tmp_path.rglob("snapshots/**/*")) == before
        assert not list(tmp_path.rglob("*qdr-probe*"))
