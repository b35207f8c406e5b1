"""Check that a stream without a checksum is complete: only the end of its tar shows it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator

from qdrant_dr.cluster.capture_conditions import full_replica
from qdrant_dr.errors import ArchiveForeign, ArchiveInvalid, ArchiveTruncated
from qdrant_dr.tar import BlockReader, Buffer, members

MAX_MEMBERS = 1_000_000
_LAST = ["replica_state.json", "shard_config.json"]


def check_shard_is_complete(
    blocks: Iterable[Buffer], name: str, *, peer: int | None = None
) -> None:
    """Read an archive of one shard to its end. Raise ArchiveTruncated unless both zero blocks are
    there, ArchiveInvalid or ArchiveForeign unless it is a shard of this node, and what
    `full_replica` raises unless it is of `peer`."""
    segments, names = 0, [""]
    for member in members(BlockReader(blocks, name), max_members=MAX_MEMBERS):
        names = [*names[-1:], member.name]
        segments += member.name.startswith("segments/")
        if member.name == _LAST[0]:
            try:
                state = json.loads(b"".join(member.chunks()))
                local = state["is_local"]
            except (ValueError, KeyError, TypeError):
                raise ArchiveInvalid(f"{_LAST[0]} of {name} is not what Qdrant writes") from None
            if local is not True:
                raise ArchiveForeign(f"{name} is of a shard on another node")
            if peer is not None:
                full_replica(state, peer, name)
    if names != _LAST or not segments:
        raise ArchiveInvalid(f"{name} ends with {names} and has {segments} files of segments")


def check_tar_is_complete(blocks: Iterable[bytes], name: str) -> Iterator[bytes]:
    """Yield the blocks unchanged. Raise ArchiveTruncated unless every member of the tar is complete
    up to its end: vector files hold long runs of zeros, in which a cut looks like the end."""
    passing: deque[bytes] = deque()

    def seen() -> Iterator[bytes]:
        for block in blocks:
            passing.append(block)
            yield block

    try:
        for member in members(BlockReader(seen(), name), max_members=MAX_MEMBERS):
            for _ in member.chunks():
                while passing:
                    yield passing.popleft()
    except ArchiveTruncated as e:
        raise ArchiveTruncated(
            f"{e.message}, and the server states no checksum",
            "the snapshot on the server is truncated: delete it there, and back up again.",
        ) from None
    yield from passing
