"""A stream is believed by its end alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from qdrant_dr.cluster import Node, check_shard_is_complete, stream_shard
from qdrant_dr.cluster.stream_completeness import check_tar_is_complete
from qdrant_dr.errors import (
    ArchiveError,
    ArchiveForeign,
    ArchiveInvalid,
    ArchiveTruncated,
    CollectionVanished,
)
from tests.support.archives import archive, put_together, take_apart, tar
from tests.support.servers import sandbox_server
from tests.support.world import seed

SETS = ["basic", "rich", "empty", "single", "busy"]


@pytest.mark.parametrize("name", [f"{s}/{kind}-0" for s in SETS for kind in ("stream", "shard")])
def test_a_whole_one_is_taken_and_every_cut_is_seen(name: str) -> None:
    data = archive(name)
    check_shard_is_complete([data], name)
    edges, at = [], 0
    for member in take_apart(data):
        edges.append(at)
        at += len(member.to_bytes())
    for end in {*edges, *(len(data) * n // 20 for n in range(20)), at, at + 512}:
        with pytest.raises(ArchiveError):
            check_shard_is_complete([data[:end]], name)
        with pytest.raises(ArchiveError):  # an end that was put behind a cut
            check_shard_is_complete(
                [data[: end // 512 * 512], bytes(1024)] if end < at else [b""], name
            )


def test_what_is_no_shard_of_this_node() -> None:
    members = take_apart(archive("single/stream-0"))
    (state,) = [m for m in members if m.name == "replica_state.json"]
    for data, error in (
        (b'{"is_local":false}', ArchiveForeign),
        (b"{}", ArchiveInvalid),
        (b"?", ArchiveInvalid),
    ):
        changed = [state.with_data(data) if m is state else m for m in members]
        with pytest.raises(error):
            check_shard_is_complete([put_together(changed)], "it")
    alone = tar(("replica_state.json", b'{"is_local":true}'), ("shard_config.json", b""))
    with pytest.raises(ArchiveInvalid, match="0 files of segments"):
        check_shard_is_complete([alone], "it")


def test_from_a_server(tmp_path: Path) -> None:
    with sandbox_server(tmp_path) as server:
        seed(server.url, "movies", points=50)
        with Node(server.url) as node:
            blocks = list(stream_shard(node, "movies", 0))
            check_shard_is_complete(blocks, "movies")
            with pytest.raises(CollectionVanished):
                list(stream_shard(node, "gone", 0))


def test_a_tar_that_is_cut_anywhere_is_refused() -> None:
    """At the end of a member, in its tail, and amid zeros, which look like the end of a tar."""
    data = archive("basic/collection")
    zeros = [end for end in range(1024, len(data) - 2048, 512) if not any(data[end - 1024 : end])]
    assert len(zeros) > 50
    last = len(data)
    for end in [*zeros[::9], 0, 1, 512, 1024, last - 1, last - 511, last - 512, last - 513]:
        with pytest.raises(ArchiveTruncated, match="no checksum"):
            list(check_tar_is_complete([data[:end]], "a.snapshot"))
    for size in (512, 70_000, last):
        blocks = [data[at : at + size] for at in range(0, last, size)]
        assert list(check_tar_is_complete(blocks, "a.snapshot")) == blocks
