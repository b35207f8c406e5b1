"""Scopes of snapshots on a node: the whole instance, a collection, or one of its shards."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from qdrant_dr.cluster.node import path_of, piece_of
from qdrant_dr.records import Manifest


@dataclass(frozen=True, slots=True)
class SnapshotScope:
    """The three scopes have the same calls under different paths. Without a collection: the
    instance."""

    collection: str | None = None
    shard: int | None = None

    def path(self, *rest: str) -> str:
        """Return the REST path of the list, or of one file in it."""
        if self.collection is None:
            return "/".join(["/snapshots", *map(piece_of, rest)])
        if self.shard is None:
            return path_of(self.collection, "snapshots", *rest)
        return path_of(self.collection, "shards", self.shard, "snapshots", *rest)

    @property
    def key(self) -> str:
        """Return the folder below the root of the node's snapshots, the same in S3 mode and on disk
        (measured on Qdrant 1.18.3); empty for the instance."""
        shard = f"/shards/{self.shard}" if self.shard is not None else ""
        return f"{self.collection}{shard}" if self.collection is not None else ""

    def may_hold(self, name: str) -> bool:
        """Say whether a create call in this scope could have given a file this name: servers in S3
        mode also list the files of narrower scopes (measured on Qdrant 1.18.3)."""
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


INSTANCE = SnapshotScope()
_STAMP = re.compile(r"-(\d{4}(?:-\d\d){5})\.snapshot$")
_OF_SHARD = re.compile(r"-shard-\d+-\d{4}(-\d\d){5}\.snapshot$")
_PLAIN = "".join(c for c in map(chr, range(32, 127)) if c not in '\\{^}%`]">[~<#|*?/')

Where = str | SnapshotScope
"""The name of a collection, or a scope."""


def scope_of(where: Where) -> SnapshotScope:
    """Return the scope that is meant."""
    return where if isinstance(where, SnapshotScope) else SnapshotScope(where)


def stamp_of(name: str) -> datetime | None:
    """Return the second, by the node's clock, in which a snapshot of this name was begun (for a
    full one, the end of its parts); None for names that no create call gives."""
    if (match := _STAMP.search(name)) is None:
        return None
    try:
        return datetime.strptime(match[1], "%Y-%m-%d-%H-%M-%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def server_snapshots(manifest: Manifest) -> Iterator[tuple[str, SnapshotScope, str]]:
    """Yield node, scope and name of the snapshot from which each part came."""
    for part in manifest.parts:
        if not part.server_name:
            continue
        # re-framed shards come from an archive of the collection, the parts of a full snapshot
        # from one of the instance
        of_shard = part.kind == "shard" and not part.reframed
        scope = SnapshotScope(manifest.collection, part.shards[0] if of_shard else None)
        name = part.server_name.partition("/")[0]  # `<full snapshot>/<its member>` of a full one
        yield part.node, INSTANCE if manifest.method == "full" else scope, name


def key_piece(piece: str) -> str:
    """Encode a piece of a path as in the key of an object, and so in the lists of a server in S3
    mode: its library encodes characters that are not ASCII or that stores advise against
    (object_store 0.13.2, path/parts.rs), while the answer to a create call has the plain name.
    """
    return quote(piece, safe=_PLAIN).replace("~", "%7E")
