"""A backup in a repository, of bytes made up."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import timedelta

from qdrant_dr.records import Manifest
from qdrant_dr.repository import Repository, fan_out
from tests.support import records as made

MIB = 2**20


DATA = b"".join(n.to_bytes(4, "little") * (MIB // 4) for n in range(12))


def blocks(data: bytes = DATA) -> Iterator[bytes]:
    for at in range(0, len(data), MIB):
        yield data[at : at + MIB]


def backed_up(repository: Repository) -> Manifest:
    plain = made.manifest()
    part = plain.parts[0].model_copy(
        update={"size_bytes": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest()}
    )
    manifest = plain.model_copy(update={"parts": (part,)})
    done = fan_out(
        blocks(),
        {repository.name: lambda: repository.part_sink(manifest.key, part.file, len(DATA))},
        stall_timeout=timedelta(seconds=60),
    )
    assert done.receipts[repository.name].sha256 == part.sha256
    repository.commit(manifest)
    return manifest
