"""Does a key that is called read-only really do no more? Asked without harming anything."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.errors import AccessDenied, CollectionVanished, ServerFailed

NO_SUCH_SHARD = 2**32 - 1


@dataclass(frozen=True, slots=True)
class ReadOnlyProbe:
    """`proven` if every write that was tried was forbidden; `could` names those that were not."""

    tried: int
    could: tuple[str, ...]

    @property
    def proven(self) -> bool:
        """Nothing tried is not a proof."""
        return self.tried > 0 and not self.could


def probe_read_only(node: Node, collections: Iterable[str] = ()) -> ReadOnlyProbe:
    """Try writes that can only fail with the key that reads; what is forbidden answers 403.

    A snapshot of a collection that cannot exist, and, because a token may be limited to some
    collections, a snapshot of a shard that cannot exist in each one given: Qdrant looks at the
    key first, so 404 means that the key could have written.
    Raise AccessDenied if the key may not even read, NodeUnreachable.
    """
    node.ask("GET", "/collections", "list the collections")
    nowhere = f"qdr-probe-{secrets.token_hex(8)}"
    writes = {path_of(nowhere, "snapshots"): "make a snapshot of any collection"} | {
        path_of(c, "shards", NO_SUCH_SHARD, "snapshots"): f"make a snapshot of {c!r}"
        for c in collections
    }
    could = [what for path, what in writes.items() if not _forbidden(node, path, what)]
    return ReadOnlyProbe(len(writes), tuple(could))


def _forbidden(node: Node, path: str, what: str) -> bool:
    try:
        node.exchange("POST", path, what, collection="")
    except AccessDenied:
        return True
    except (CollectionVanished, ServerFailed):
        return False
    return False
