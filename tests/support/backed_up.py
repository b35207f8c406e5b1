"""A backup in a repository, of bytes made up."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial

from qdrant_dr.digests import StreamDigest
from qdrant_dr.records import Manifest
from qdrant_dr.repository import Repository, fan_out
from qdrant_dr.vault.cut_once import CutOnce
from tests.support import records as made

MIB = 2**20


DATA = b"".join(n.to_bytes(4, "little") * (MIB // 4) for n in range(12))


def blocks(data: bytes = DATA) -> Iterator[bytes]:
    for at in range(0, len(data), MIB):
        yield data[at : at + MIB]


def backed_up(*repositories: Repository, data: bytes = DATA, at: datetime = made.NOW) -> Manifest:
    """One backup, in all of them, captured at a time of one's own."""
    manifest = written(*repositories, data=data, at=at)
    for repository in repositories:
        repository.commit(manifest)
    return manifest


def written(*repositories: Repository, data: bytes = DATA, at: datetime = made.NOW) -> Manifest:
    """The same, before its manifest."""
    plain = made.manifest(at=at)
    digest = StreamDigest()
    digest.update(data)
    part = plain.parts[0].model_copy(
        update={"size_bytes": len(data), "sha256": digest.sha256, "blocks": digest.blocks}
    )
    manifest = plain.model_copy(update={"parts": (part,)})
    feed = StreamDigest()
    cut = CutOnce(sum(r.record.layout == "chunked" for r in repositories), feed)
    done = fan_out(
        blocks(data),
        {
            r.name: partial(r.part_sink, manifest.key, part.file, len(data), cut)
            for r in repositories
        },
        stall_timeout=timedelta(seconds=60),
        digest=feed,
    )
    assert not done.left_behind
    assert {r.sha256 for r in done.receipts.values()} == {part.sha256}
    return manifest
