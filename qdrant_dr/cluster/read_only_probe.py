"""Check, without harm, that a key which is called read-only cannot write."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass

from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.errors import AccessDenied, CollectionVanished, ServerFailed

NO_SUCH_SHARD = 2**32 - 1


@dataclass(frozen=True, slots=True)
class ReadOnlyProbe:
    """`proven` if every attempted write was forbidden; `could` names those that were not."""

    tried: int
    could: tuple[str, ...]

    @property
    def proven(self) -> bool:
        """Say whether something was tried and everything was forbidden."""
        return self.tried > 0 and not self.could


def probe_read_only(node: Node, collections: Iterable[str] = ()) -> ReadOnlyProbe:
    """Try writes that must fail, with the reading key; a forbidden one answers 403.

    It asks for a snapshot of a shard that cannot exist, of a collection that cannot exist and of
    each given one, because a token may be limited to some collections. Qdrant checks the key first,
    so 404 means that the key could have written. A snapshot of the collection itself needs the same
    rights but would leave an empty folder of that name on the node (measured on Qdrant 1.18.3).
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
