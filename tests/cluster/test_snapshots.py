"""Snapshots are made once, believed only when answered, and only our own are deleted."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Sequence
from datetime import timedelta

import pytest

from qdrant_dr.cluster import (
    Node,
    create_snapshot,
    delete_command,
    delete_own_snapshot,
    list_snapshots,
    new_snapshots,
)
from qdrant_dr.errors import (
    AccessDenied,
    CollectionVanished,
    Interrupted,
    NodeUnreachable,
    SnapshotFailed,
    SnapshotUnanswered,
)
from qdrant_dr.records import ListedSnapshot
from tests.support.replay import ReplaySource, expected

CREATE = "POST /collections/movies/snapshots"


def test_create_answers_what_the_server_made(source: ReplaySource, node: Node) -> None:
    archive = expected()["sets"]["basic"]["archives"]["collection"]
    made = create_snapshot(node, "movies")
    assert (made.size_bytes, made.checksum) == (archive["size_bytes"], archive["sha256"])
    assert list_snapshots(node, "movies") == (made,)
    assert list_snapshots(node, "single") == ()


def test_our_own_is_deleted_and_nothing_else(source: ReplaySource, node: Node) -> None:
    source.add_snapshot("movies", "theirs.snapshot", b"theirs")
    before = list_snapshots(node, "movies")
    made = create_snapshot(node, "movies")
    assert delete_own_snapshot(node, "movies", made, before) == "deleted"
    assert source.deleted == [("movies", made.name)]
    assert source.snapshots("movies") == ("theirs.snapshot",)


def test_a_name_that_was_there_before_is_kept(source: ReplaySource, node: Node) -> None:
    source.faults.snapshot_name = "movies-1-2026-11-22-10-00-00.snapshot"
    source.add_snapshot("movies", source.faults.snapshot_name, b"theirs")
    before = list_snapshots(node, "movies")
    made = create_snapshot(node, "movies")
    said = delete_own_snapshot(node, "movies", made, before)
    assert said.startswith("kept: ")
    assert "before our call" in said
    assert source.deleted == []


def test_a_shared_name_that_now_holds_another_file_is_kept(
    source: ReplaySource, node: Node
) -> None:
    made = create_snapshot(node, "movies")
    source.add_snapshot("movies", made.name, b"x" * made.size_bytes)  # same second, same size
    said = delete_own_snapshot(node, "movies", made, ())
    assert said.startswith("kept: ")
    assert made.checksum is not None
    assert made.checksum in said
    assert source.deleted == []


def test_one_that_is_gone_is_reported(source: ReplaySource, node: Node) -> None:
    answered = ListedSnapshot(name="a.snapshot", size_bytes=1, checksum=None)
    assert "not on the node any more" in delete_own_snapshot(node, "movies", answered, ())


def test_tidying_up_never_fails_a_backup_that_is_safe(source: ReplaySource, node: Node) -> None:
    made = create_snapshot(node, "movies")
    source.faults.deny = 403
    said = delete_own_snapshot(node, "movies", made, ())
    assert said.startswith("not known to be deleted: ")
    assert "403" in said
    source.faults.deny = None
    source.vanish("movies")
    assert "does not exist" in delete_own_snapshot(node, "movies", made, ())


def test_new_files_are_those_that_were_not_there_or_changed(
    source: ReplaySource, node: Node
) -> None:
    for name in ("movies-a.snapshot", "movies-b.snapshot"):
        source.add_snapshot("movies", name, name.encode())
    before = list_snapshots(node, "movies")
    source.add_snapshot("movies", "movies-b.snapshot", b"other")
    source.add_snapshot("movies", "movies-c.snapshot", b"new")
    names = [s.name for s in new_snapshots(node, "movies", before)]
    assert names == ["movies-b.snapshot", "movies-c.snapshot"]
    source.add_snapshot("movies", "movies-shard-0-2026-11-22-10-00-00.snapshot", b"of a shard")
    assert [s.name for s in new_snapshots(node, "movies", before)] == names


def test_never_answered_is_reported_and_not_repeated(source: ReplaySource, node: Node) -> None:
    source.faults.never_answer_create = True
    source.add_snapshot("movies", "theirs.snapshot", b"theirs")
    with pytest.raises(SnapshotUnanswered) as e:
        create_snapshot(node, "movies", timeout=timedelta(seconds=1), poll_seconds=0.1)
    (ours,) = set(source.snapshots("movies")) - {"theirs.snapshot"}
    assert ours in e.value.message
    assert "theirs" not in e.value.message
    assert "curl" in e.value.hint
    assert f"{source.url}/collections/movies/snapshots" in e.value.hint
    assert source.log.count(CREATE) == 1
    assert source.deleted == []


@pytest.mark.parametrize("fault", ["cut", "gateway", "html"])
def test_an_answer_lost_on_the_way_is_unanswered(
    source: ReplaySource, node: Node, fault: str
) -> None:
    if fault == "cut":
        source.faults.cut_create = True
    elif fault == "gateway":
        source.faults.refuse_create = (504, "upstream timed out")
    else:
        source.faults.refuse_create = (200, "<html>")
    with pytest.raises(SnapshotUnanswered):
        create_snapshot(node, "movies")
    assert source.log.count(CREATE) == 1


def test_an_unanswered_create_on_a_node_that_died_says_so(source: ReplaySource, node: Node) -> None:
    source.faults.cut_create = True
    source.faults.after_create = lambda s, _: setattr(s.faults, "deny", 503)
    with pytest.raises(SnapshotUnanswered, match="cannot be listed"):
        create_snapshot(node, "movies")


def test_progress_and_stop_during_a_silent_create(source: ReplaySource, node: Node) -> None:
    source.faults.never_answer_create = True
    stop = threading.Event()
    seen: list[tuple[float, Sequence[ListedSnapshot]]] = []

    def progress(seconds: float, new: Sequence[ListedSnapshot]) -> None:
        seen.append((seconds, new))
        if len(seen) == 3:
            stop.set()

    with pytest.raises(Interrupted) as e:
        create_snapshot(node, "movies", stop=stop, progress=progress, poll_seconds=0.05)
    assert "curl" in e.value.hint
    assert len(seen[-1][1]) == 1
    assert seen[0][0] < seen[-1][0]


def test_a_slow_create_is_waited_for(source: ReplaySource, node: Node) -> None:
    source.faults.after_create = lambda *_: time.sleep(0.5)
    assert create_snapshot(node, "movies", poll_seconds=0.05).size_bytes > 0


def test_refusals_of_the_server_are_told_apart(source: ReplaySource, node: Node) -> None:
    source.faults.refuse_create = (500, "Service internal error: No space left on device")
    with pytest.raises(SnapshotFailed, match="No space left"):
        create_snapshot(node, "movies")
    source.faults.refuse_create = (403, "Forbidden: Global manage access is required")
    with pytest.raises(AccessDenied):
        create_snapshot(node, "movies")
    source.faults.refuse_create = None
    with pytest.raises(CollectionVanished):
        create_snapshot(node, "gone")


def test_a_collection_that_vanishes_before_the_call(source: ReplaySource, node: Node) -> None:
    source.faults.refuse_create = (404, "Not found: Collection `movies` doesn't exist!")
    with pytest.raises(CollectionVanished):
        create_snapshot(node, "movies")


def test_an_unreachable_node_was_asked_for_nothing(source: ReplaySource) -> None:
    with ReplaySource(["single"]) as gone:
        url = gone.url
    with Node(url) as node, pytest.raises(NodeUnreachable):
        create_snapshot(node, "single")


@pytest.mark.parametrize(
    ("collection", "name", "path"),
    [
        ("movies#old", "a.snapshot", "movies%23old/snapshots/a.snapshot"),
        ("movies", "it's $(here)?.snapshot", "movies/snapshots/it%27s%20%24%28here%29%3F.snapshot"),
        ("movies", "..", "movies/snapshots/%2E%2E"),
    ],
)
def test_the_command_to_delete_names_this_file_and_nothing_else(
    collection: str, name: str, path: str
) -> None:
    said = arguments(delete_command("http://node:6333/", collection, name), key="k")
    assert said == [
        "-X", "DELETE", "--path-as-is", "-H", "api-key: k",
        f"http://node:6333/collections/{path}",
    ]  # fmt: skip


def test_the_command_survives_an_address_with_a_quote() -> None:
    said = arguments(delete_command("http://node:6333/o'clock", "movies", "a.snapshot"), key="k")
    assert said[-1] == "http://node:6333/o'clock/collections/movies/snapshots/a.snapshot"


def test_a_hint_to_look_deletes_with_that_command(source: ReplaySource, node: Node) -> None:
    source.faults.cut_create = True
    with pytest.raises(SnapshotUnanswered) as e:
        create_snapshot(node, "movies")
    assert delete_command(node.url, "movies", "NAME") in e.value.hint


def arguments(command: str, *, key: str) -> list[str]:
    """What curl is given by a real shell."""
    script = f"curl() {{ printf '%s\\n' \"$@\"; }}\n{command}"
    ran = subprocess.run(
        ["sh", "-c", script], env={"KEY": key}, capture_output=True, text=True, check=True,
        timeout=10,
    )  # fmt: skip
    return ran.stdout.splitlines()


def test_a_checksum_that_appears_an_instant_later_is_found(
    source: ReplaySource, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = source.create
    monkeypatch.setattr(source, "create", lambda name: {**create(name), "checksum": None})
    made = create_snapshot(node, "movies")
    assert made.checksum == expected()["sets"]["basic"]["archives"]["collection"]["sha256"]
