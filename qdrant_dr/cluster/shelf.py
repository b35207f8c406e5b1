"""Where a node keeps snapshots: of the whole instance, of a collection, or of one of its shards."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from qdrant_dr.cluster.node import path_of, piece_of


@dataclass(frozen=True, slots=True)
class Shelf:
    """The three kinds have the same calls below different paths. No collection: the instance."""

    collection: str | None = None
    shard: int | None = None

    def path(self, *rest: str) -> str:
        """The REST path of the list, or of one file in it."""
        if self.collection is None:
            return "/".join(["/snapshots", *map(piece_of, rest)])
        if self.shard is None:
            return path_of(self.collection, "snapshots", *rest)
        return path_of(self.collection, "shards", self.shard, "snapshots", *rest)

    @property
    def key(self) -> str:
        """Folder below the root of the node's snapshots, in S3 mode and on disk alike (measured on
        Qdrant 1.18.3); empty for the instance."""
        shard = f"/shards/{self.shard}" if self.shard is not None else ""
        return f"{self.collection}{shard}" if self.collection is not None else ""

    def may_hold(self, name: str) -> bool:
        """Whether a create call here could have given a file this name: servers in S3 mode list
        what lies on the shelves below, too (measured on Qdrant 1.18.3)."""
        if self.collection is None:
            return name.startswith("full-snapshot-")
        begins = tuple({self.collection, key_piece(self.collection)})
        if self.shard is not None:
            return name.startswith(tuple(f"{b}-shard-{self.shard}-" for b in begins))
        return name.startswith(begins) and not _OF_SHARD.search(name)

    def __str__(self) -> str:
        if self.collection is None:
            return "the whole instance"
        shard = f"shard {self.shard} of " if self.shard is not None else ""
        return f"{shard}{self.collection!r}"


INSTANCE = Shelf()
_OF_SHARD = re.compile(r"-shard-\d+-\d{4}(-\d\d){5}\.snapshot$")
_PLAIN = "".join(c for c in map(chr, range(32, 127)) if c not in '\\{^}%`]">[~<#|*?/')

Where = str | Shelf
"""The name of a collection, or a shelf."""


def shelf_of(where: Where) -> Shelf:
    """The shelf that is meant."""
    return where if isinstance(where, Shelf) else Shelf(where)


def key_piece(piece: str) -> str:
    """A piece of a path as it stands in the key of an object, and so in the lists of a server in
    S3 mode: its library encodes what is not ASCII and what storages advise against
    (object_store 0.13.2, path/parts.rs), while the answer to a create call has the name as it is.
    """
    return quote(piece, safe=_PLAIN).replace("~", "%7E")
