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

    A snapshot of a shard that cannot exist, of a collection that cannot exist and, because a token
    may be limited to some collections, of each one given: Qdrant looks at the key first, so 404
    means that the key could have written. A snapshot of the collection itself wants the same rights
    and would leave an empty folder of its name on the node (measured on Qdrant 1.18.3).
    Raise AccessDenied if the key may not even read, NodeUnreachable.
    """
    node.ask("GET", "/collections", "list the collections")
    nowhere = f"qdr-probe-{secrets.token_hex(8)}"
    whom = {nowhere: "any collection"} | {c: repr(c) for c in collections}
    writes = {
        path_of(name, "shards", NO_SUCH_SHARD, "snapshots"): f"make a snapshot of {said}"
        for name, said in whom.items()
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
