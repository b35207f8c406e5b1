"""What stays on a node is named where it lies; an unconfirmed deletion is looked after."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from qdrant_dr.cluster import Node, SnapshotScope, create_snapshot, list_snapshots, node_facts
from qdrant_dr.cluster.snapshots import delete_own_snapshot
from qdrant_dr.cluster.source_nodes import AnsweringNode
from qdrant_dr.errors import SnapshotFailed, SnapshotUnanswered
from qdrant_dr.jobs.backup.created_snapshots import Creation, delete_created
from qdrant_dr.jobs.run.call_journal import CallJournal
from tests.support import records
from tests.support.servers import CLUSTER_PEERS, sandbox_cluster, sandbox_server
from tests.support.spy import Spy

ID = "20261122T101530Z-7f3a9c"


def test_behind_a_load_balancer_the_node_itself_is_named(tmp_path: Path) -> None:
    """It was asked of one peer, and another answers when it is to be deleted."""
    with (
        sandbox_cluster(tmp_path / "nodes", holding=["movies"]) as (a, b, _),
        Spy(a.url) as balancer,
        Node(balancer.url) as node,
        Node(a.url) as itself,
    ):
        source = AnsweringNode(node, node_facts(node))
        made = create_snapshot(node, "movies")
        created = [Creation(1, source, SnapshotScope("movies"), made, (), records.NOW, records.NOW)]
        journal = CallJournal(tmp_path / "spool")
        balancer.target = b.url
        named = {str(CLUSTER_PEERS["a"]): a.url}
        said, (kept,) = delete_created(created, named, journal, ID)
        assert f"is answered by peer {CLUSTER_PEERS['b']} now" in said
        assert (kept.node, kept.collection, kept.name) == (a.url, "movies", made.name)
        assert [s.name for s in list_snapshots(itself, "movies")] == [made.name]
        assert balancer.count("DELETE", "/snapshots/") == 0
        balancer.target = a.url
        assert delete_created(created, named, journal, ID) == ("deleted", ())
        # nothing to delete is nothing that was left
        said, nothing = delete_created(created, named, journal, ID)
        assert said.endswith("is not on the node any more")
        assert nothing == ()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with sandbox_server(tmp_path_factory.mktemp("server")) as found:
        body = {"vectors": {"size": 2, "distance": "Dot"}}
        httpx.put(f"{found.url}/collections/movies", json=body).raise_for_status()
        yield found.url


@pytest.mark.parametrize("status", [500, 504])
def test_a_deletion_that_was_not_confirmed_is_looked_after(server: str, status: int) -> None:
    with Spy(server) as spy, Node(spy.url) as node:
        made = create_snapshot(node, "movies")
        spy.answer_late("DELETE", "/snapshots/", seconds=0.5, status=status)
        assert delete_own_snapshot(node, "movies", made, ()) == "deleted"
        assert list_snapshots(node, "movies") == ()


def test_a_deletion_that_did_not_happen_is_said(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from qdrant_dr.cluster import snapshots

    monkeypatch.setattr(snapshots, "DELETED_SECONDS", 0.2)
    with Spy(server) as spy, Node(spy.url) as node:
        made = create_snapshot(node, "movies")
        spy.answer_late("DELETE", "/snapshots/", seconds=0, instead=lambda: None)
        said = delete_own_snapshot(node, "movies", made, ())
        assert said.startswith("not known to be deleted")
        assert delete_own_snapshot(node, "movies", made, ()) == "deleted"


def test_a_create_call_that_failed_and_left_a_file_names_it(server: str) -> None:
    """The file was moved to its place, and its checksum could not be written."""
    path = f"{server}/collections/movies/snapshots"
    with Spy(server) as spy, Node(spy.url) as node:
        spy.answer_late(
            "POST", "/snapshots$", seconds=0, words="Service internal error: No space left",
            instead=lambda: httpx.post(path, timeout=30).raise_for_status(),
        )  # fmt: skip
        with pytest.raises(SnapshotUnanswered, match="No space left") as unanswered:
            create_snapshot(node, "movies")
        (left,) = list_snapshots(node, "movies")
        assert left.name in unanswered.value.message
        assert "curl -X DELETE" in unanswered.value.hint
        assert delete_own_snapshot(node, "movies", left, ()) == "deleted"
        spy.answer_late("POST", "/snapshots$", seconds=0, words="no", instead=lambda: None)
        with pytest.raises(SnapshotFailed):
            create_snapshot(node, "movies")
