"""Stream shard archives: nothing is stored on the node, and there is no checksum.

Such a stream has neither length nor checksum, and one that fails half-way ends as a clean 200
(measured on Qdrant 1.18.3: paused for 330 s, it gave 4.4 of 76.6 MB and ended). Only the end of the
tar shows that it is complete.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator

from qdrant_dr.cluster.capture_conditions import full_replica
from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.errors import ArchiveForeign, ArchiveInvalid, DownloadMismatch, Interrupted
from qdrant_dr.tar import BlockReader, Buffer, members

BLOCK = 2**20
MAX_MEMBERS = 1_000_000
_LAST = ["replica_state.json", "shard_config.json"]


def stream_shard(
    node: Node, collection: str, shard: int, *, stop: threading.Event | None = None
) -> Iterator[bytes]:
    """Yield the blocks of a shard's present archive; read them at full speed.

    Raise NodeUnreachable, AccessDenied, CollectionVanished, ServerFailed, DownloadMismatch (a
    proxy encodes it), Interrupted. Its end does not mean that it is complete: see `whole_shard`.
    """
    doing = f"stream shard {shard} of {collection!r}"
    path = path_of(collection, "shards", shard, "snapshot")
    with node.stream(path, doing, headers={}) as response:
        node.must_be_good(response, doing, write=False, collection=collection)
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise DownloadMismatch(f"shard {shard} of {collection!r} was sent {encoding}-encoded")
        for block in response.iter_raw(BLOCK):
            if stop is not None and stop.is_set():
                raise Interrupted(f"asked to stop while {node.url} streams shard {shard}")
            yield block


def whole_shard(blocks: Iterable[Buffer], name: str, *, peer: int | None = None) -> None:
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
