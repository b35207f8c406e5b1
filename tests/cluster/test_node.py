"""Addresses, keys, and what every kind of failure is called."""

from __future__ import annotations

import pickle
import socket
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from qdrant_dr.cluster import (
    Node,
    collection_names,
    create_snapshot,
    list_snapshots,
    recover_by_upload,
)
from qdrant_dr.cluster.http_errors import refused
from qdrant_dr.cluster.node import path_of, socket_options
from qdrant_dr.config import Timeouts
from qdrant_dr.errors import (
    AccessDenied,
    CollectionVanished,
    ConfigInvalid,
    NodeUnreachable,
    RecoverFailed,
    SecretMissing,
    ServerFailed,
    SnapshotUnanswered,
)
from tests.support.replay import ReplaySource

KEY = "a-very-secret-key"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("name", ["a#b", "50%", "a b", "rich-ünïcode", "a?b", "..%2f"])
def test_names_stay_one_segment_of_the_path(name: str) -> None:
    path = httpx.URL("http://x" + path_of(name, "snapshots")).raw_path.decode()
    assert path.count("/") == 3
    assert "#" not in path
    assert "?" not in path


def test_refused_and_unknown_hosts_are_unreachable() -> None:
    for url in (f"http://127.0.0.1:{free_port()}", "http://no-such-host.invalid:6333"):
        with Node(url) as node, pytest.raises(NodeUnreachable) as e:
            node.ask("GET", "/collections", "list the collections")
        assert e.value.transient
        assert url in e.value.message
        with Node(url) as node, pytest.raises(NodeUnreachable):
            collection_names(node)


def test_a_silent_server_is_unreachable() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        timeouts = Timeouts(connect=timedelta(seconds=1), read=timedelta(milliseconds=200))
        with Node(url, timeouts=timeouts) as node, pytest.raises(NodeUnreachable, match="in time"):
            node.ask("GET", "/collections", "list the collections")


def test_an_address_that_is_none_is_a_configuration_error() -> None:
    with pytest.raises(ConfigInvalid, match="not the address"):
        Node("http://127.0.0.1:port")


def test_denied_names_the_reference_and_never_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_KEY", KEY)
    with ReplaySource(["single"], api_key="another") as source:
        for key, said in (("env:QDRANT_KEY", "the key env:QDRANT_KEY"), (None, "needs a key")):
            with Node(source.url, api_key=key) as node:
                for call in (collection_names, lambda n: list_snapshots(n, "single")):
                    with pytest.raises(AccessDenied) as e:
                        call(node)
                    assert said in e.value.message
                    assert "list the" in e.value.message
                    assert KEY not in str(e.value) + repr(e.value) + repr(node)
                    assert e.value.__cause__ is None
                    # Dask's tblib would pickle it, too; units send outcomes, never exceptions
                    e.value.__context__ = None
                    assert str(pickle.loads(pickle.dumps(e.value))) == str(e.value)


@pytest.mark.parametrize("around", ["{}\n", " {}\r\n"])
def test_a_key_with_a_line_break_behind_it_is_the_key(
    around: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDRANT_KEY", around.format(KEY))
    with ReplaySource(["single"], api_key=KEY) as source, Node(source.url, "env:QDRANT_KEY") as n:
        assert collection_names(n) == ("single",)


@pytest.mark.parametrize("key", [f"{KEY}\n{KEY}", f"{KEY}\x00", f"{KEY}ü"])
def test_a_key_that_no_header_may_hold_is_refused_at_once(key: str, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(key, encoding="utf-8")
    with pytest.raises(SecretMissing) as e:
        Node("http://127.0.0.1:1", f"file:{tmp_path}/key")
    assert KEY not in str(e.value) + repr(e.value)


def test_no_failure_shows_a_header_that_cannot_be_sent(
    source: ReplaySource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDRANT_KEY", "good")
    with Node(source.url, "env:QDRANT_KEY") as node:
        node._keys = {True: f"{KEY}\n", False: f"{KEY}\n"}
        for call in (collection_names, lambda n: n.ask("GET", "/collections", "list them")):
            with pytest.raises(NodeUnreachable, match="LocalProtocolError") as e:
                call(node)
            assert KEY not in str(e.value) + repr(e.value)
            assert e.value.__cause__ is None
    with Node(source.url, "env:QDRANT_KEY") as node:
        node._keys[True] = f"{KEY}\n"
        with pytest.raises(SnapshotUnanswered, match="LocalProtocolError") as unanswered:
            create_snapshot(node, "single")
        assert KEY not in str(unanswered.value)
        with pytest.raises(RecoverFailed, match="LocalProtocolError") as failed:
            recover_by_upload(node, "new", iter([b"x"]), size=1, sha256="0" * 64)
        assert KEY not in str(failed.value)


def test_a_key_in_clear_is_known_and_raises_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QDRANT_KEY", KEY)
    with (
        ReplaySource(["single"], api_key=KEY) as source,
        Node(source.url, "env:QDRANT_KEY") as node,
    ):
        assert collection_names(node) == ("single",)
        assert node.key_in_clear
        with Node(source.url) as open_node:
            assert not open_node.key_in_clear


def test_reading_uses_the_read_key_and_writing_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WRITES", "w")
    monkeypatch.setenv("READS", "r")
    node = Node("http://127.0.0.1:1", "env:WRITES", "env:READS")
    assert node.headers(write=True)["api-key"] == "w"
    assert node.headers(write=False)["api-key"] == "r"
    assert node.headers(write=False)["accept-encoding"] == "identity"
    node.close()


def test_a_missing_secret_is_known_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(SecretMissing):
        Node("http://127.0.0.1:1", f"file:{tmp_path / 'none'}")


def test_a_missing_collection_has_vanished_but_a_missing_route_has_not(node: Node) -> None:
    with pytest.raises(CollectionVanished, match="'gone' does not exist"):
        node.ask("GET", "/collections/gone", "read it", collection="gone")
    with pytest.raises(CollectionVanished):
        list_snapshots(node, "gone")
    with pytest.raises(ServerFailed, match="404"):
        node.ask("GET", "/collections/single/no-such-route", "read it", collection="single")


def test_a_busy_node_is_asked_again_and_a_write_is_not(source: ReplaySource, node: Node) -> None:
    source.faults.deny = 503
    for write, times in ((False, 2), (True, 1)):
        source.log.clear()
        with pytest.raises(NodeUnreachable, match="503"):
            node.ask("GET", "/collections", "list the collections", write=write)
        assert len(source.log) == times


def test_the_servers_own_words_are_kept_and_cut() -> None:
    body = b'{"status":{"error":"Service internal error: No space left on device"},"time":0}'
    error = refused(500, body, url="http://n", doing="make it", key=None, collection=None)
    assert isinstance(error, ServerFailed)
    assert "No space left on device" in error.message
    long = refused(500, b"x" * 10_000, url="http://n", doing="make it", key=None, collection=None)
    assert len(long.message) < 600


def test_redirects_are_not_followed_with_a_key() -> None:
    error = refused(307, b"", url="http://n", doing="make it", key=None, collection=None)
    assert isinstance(error, ServerFailed)


def test_something_else_than_qdrant(source: ReplaySource, node: Node) -> None:
    source.root = {"hello": "world"}
    with pytest.raises(ServerFailed, match="like a Qdrant server"):
        node.ask("GET", "/", "read its version")


def test_connections_are_kept_alive() -> None:
    assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in socket_options()
