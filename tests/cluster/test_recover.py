"""The drill target: what goes up is checked, what is left behind is removed, nothing else is."""

from __future__ import annotations

import hashlib
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
from qdrant_dr.errors import (
    AccessDenied,
    BytesDiffer,
    NodeUnreachable,
    RecoverFailed,
    TargetNotDisposable,
)
from tests.support.replay import FIXTURES, ReplaySource

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
