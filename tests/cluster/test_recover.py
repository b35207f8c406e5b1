"""The drill target: what goes up is checked, what is left behind is removed, nothing else is."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from qdrant_dr.cluster import (
    Node,
    drop_target,
    leftovers,
    list_snapshots,
    recover_by_upload,
    wait_ready,
)
from qdrant_dr.cluster.recover import recover_from, wait_unoccupied
from qdrant_dr.cluster.upload import must_be_restored
from qdrant_dr.errors import (
    AccessDenied,
    BytesDiffer,
    Interrupted,
    NodeBusy,
    NodeUnreachable,
    RecoverFailed,
    RecoverUnanswered,
    TargetNotDisposable,
)
from tests.support.replay import FIXTURES, ReplaySource
from tests.support.spy import Spy

ARCHIVE = (FIXTURES / "sharded" / "collection.snapshot").read_bytes()
SHA256 = hashlib.sha256(ARCHIVE).hexdigest()
TARGET = "qdr-drill-7f3a9c"


def blocks(data: bytes = ARCHIVE) -> Iterator[bytes]:
    return (data[i : i + 100_000] for i in range(0, len(data), 100_000))


def restore(node: Node, data: bytes = ARCHIVE, **changed: object) -> str:
    told = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} | changed
    return recover_by_upload(node, TARGET, blocks(data), **told)  # type: ignore[arg-type]


def test_restored_ready_and_tidy(source: ReplaySource, node: Node) -> None:
    name = restore(node)
    assert name.endswith(".snapshot")
    assert source.deleted == [(TARGET, name)]
    assert list_snapshots(node, TARGET) == ()
    facts = wait_ready(node, TARGET)
    assert facts.exact_points == 900
    assert leftovers(node) == (TARGET,)
    assert drop_target(node, TARGET)
    assert not drop_target(node, TARGET)
    assert leftovers(node) == ()


def test_two_uploads_never_share_a_name(source: ReplaySource, node: Node) -> None:
    assert restore(node) != restore(node)


def test_a_checksum_is_always_sent_and_compared(source: ReplaySource, node: Node) -> None:
    with pytest.raises(RecoverFailed, match="Checksum mismatch"):
        restore(node, sha256="0" * 64)
    assert TARGET not in source.collections


def test_the_servers_words_when_it_fails(source: ReplaySource, node: Node) -> None:
    with pytest.raises(RecoverFailed, match="Malformed tar"):
        restore(node, data=b"not a tar" * 1000)


def test_blocks_that_fail_restore_nothing(source: ReplaySource, node: Node) -> None:
    def rotten() -> Iterator[bytes]:
        yield ARCHIVE[:300_000]
        raise BytesDiffer("rot")

    with pytest.raises(BytesDiffer, match="rot"):
        recover_by_upload(node, TARGET, rotten(), size=len(ARCHIVE), sha256=SHA256)
    assert TARGET not in source.collections


@pytest.mark.parametrize("wrong_by", [-1, 1])
def test_blocks_of_another_size_restore_nothing(
    source: ReplaySource, node: Node, wrong_by: int
) -> None:
    with pytest.raises(RecoverFailed, match=f"{len(ARCHIVE) + wrong_by} were announced"):
        restore(node, size=len(ARCHIVE) + wrong_by)
    assert TARGET not in source.collections


def test_denied_and_unreachable(source: ReplaySource, node: Node) -> None:
    source.faults.deny = 403
    with pytest.raises(AccessDenied):
        restore(node)
    with ReplaySource(["single"]) as gone:
        url = gone.url
    with Node(url) as nowhere, pytest.raises(NodeUnreachable):
        restore(nowhere)


def test_not_ready_is_waited_for_and_then_named(source: ReplaySource, node: Node) -> None:
    restore(node)
    served = source.collections[TARGET]
    served.info["update_queue"] = {"length": 4, "deferred_points": 2}
    served.cluster["local_shards"][1]["state"] = "Partial"
    with pytest.raises(RecoverFailed) as e:
        wait_ready(node, TARGET, timeout=timedelta(milliseconds=300))
    for words in ("4 updates are queued", "2 points are deferred", "shard 1 is Partial"):
        assert words in e.value.message


def test_red_stays_red_and_is_not_waited_for(source: ReplaySource, node: Node) -> None:
    restore(node)
    source.collections[TARGET].info["status"] = "red"
    with pytest.raises(RecoverFailed, match="red"):
        wait_ready(node, TARGET, timeout=timedelta(hours=1))


def test_only_what_a_drill_made_is_deleted(source: ReplaySource, node: Node) -> None:
    with pytest.raises(TargetNotDisposable):
        drop_target(node, "movies")
    assert "movies" in source.collections
    assert not any(line.startswith("DELETE") for line in source.log)


def test_files_of_a_killed_upload_go_with_the_target(source: ReplaySource, node: Node) -> None:
    restore(node)
    source.add_snapshot(TARGET, "qdr-left.snapshot", b"left")
    assert drop_target(node, TARGET)
    assert (TARGET, "qdr-left.snapshot") in source.deleted


@pytest.mark.parametrize("status", [408, 502, 503, 504])
def test_a_time_limit_on_the_way_is_no_refusal(node: Node, status: int) -> None:
    with pytest.raises(RecoverUnanswered) as e:
        must_be_restored(node, status, b"gateway", doing="restore it")
    assert not e.value.transient, "a blind repeat would start a second recovery"
    with pytest.raises(NodeBusy):
        must_be_restored(node, 429, b"not now", doing="restore it")


def test_sent_and_not_answered(source: ReplaySource, node: Node) -> None:
    """The server has it all and goes on; without the last byte it would restore nothing."""
    short = timedelta(seconds=0.5)
    with Spy(source.url) as spy, Node(spy.url, timeouts=node.timeouts) as through:
        spy.hold("POST", "/snapshots/upload$", forward=True)
        with pytest.raises(RecoverUnanswered, match="did not answer"):
            recover_by_upload(
                through, TARGET, blocks(), size=len(ARCHIVE), sha256=SHA256, timeout=short
            )
        spy.hold("PUT", "/snapshots/recover$", forward=False)
        with pytest.raises(RecoverUnanswered, match="did not answer"):
            recover_from(through, TARGET, "file:///x.snapshot", sha256=SHA256, timeout=short)
    assert TARGET in source.collections


class Telling:
    """A node whose telemetry counts recoveries, one answer after the other."""

    def __init__(self, node: Node, *counts: int) -> None:
        self.url, self.timeouts, self.counts = node.url, node.timeouts, list(counts)

    def ask(self, _method: str, path: str, _doing: str, **_: object) -> object:
        assert path == "/telemetry"
        at_work = self.counts.pop(0)
        told = [{"id": TARGET, "running_snapshot_recovery": at_work}]
        return {"collections": {"snapshots": [{"id": "x", "running_snapshot_recovery": 9}, *told]}}


def test_a_recovery_at_work_is_waited_for(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdrant_dr.cluster.recover.RECOVERY_LOOK_SECONDS", 0.01)
    stop = threading.Event()
    busy = Telling(node, 2, 1, 0)
    assert wait_unoccupied([busy], TARGET, stop=stop) > 0  # type: ignore[list-item]
    assert busy.counts == []
    assert wait_unoccupied([node], TARGET, stop=stop) < 1, "one that does not tell"
    with pytest.raises(RecoverUnanswered, match="still runs 1 recovery into"):
        wait_unoccupied([Telling(node, 1)], TARGET, stop=stop, timeout=timedelta.resolution)  # type: ignore[list-item]
    stop.set()
    with pytest.raises(Interrupted):
        wait_unoccupied([Telling(node, 1)], TARGET, stop=stop)  # type: ignore[list-item]
