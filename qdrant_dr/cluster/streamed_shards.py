"""Stream shard archives: nothing is stored on the node, and there is no checksum.

Such a stream has neither length nor checksum, and one that fails half-way ends as a clean 200
(measured on Qdrant 1.18.3: paused for 330 s, it gave 4.4 of 76.6 MB and ended). Only the end of the
tar shows that it is complete.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.errors import DownloadMismatch, Interrupted

BLOCK = 2**20


def stream_shard(
    node: Node, collection: str, shard: int, *, stop: threading.Event | None = None
) -> Iterator[bytes]:
    """Yield the blocks of a shard's present archive; read them at full speed.

    Raise NodeUnreachable, AccessDenied, CollectionVanished, ServerFailed, DownloadMismatch (a
    proxy encodes it), Interrupted. Its end does not mean that it is complete: see
    `check_shard_is_complete`.
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
