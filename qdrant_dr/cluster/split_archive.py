"""Split a node's collection archive into one archive per shard, as it streams.

A collection archive holds one node's data: its local shards below `<shard>/`, log included, then
the files of the collection. A shard re-framed this way (prefix removed from the names, all else
byte for byte) is accepted by Qdrant's shard upload and its log is replayed: equal content, measured
on 1.18.3, on one node, on several, and with custom sharding."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from typing import Any

from qdrant_dr.cluster.capture_conditions import full_replica
from qdrant_dr.errors import ArchiveForeign, ArchiveInvalid, ArchiveTooLarge
from qdrant_dr.tar import BLOCK, BlockReader, Buffer, Member, members

OUTPUT_BLOCK = 256 * 1024
"""Smaller pieces are joined up to this size: every block costs a step through each later queue."""
MAX_MEMBERS = 1_000_000
MAX_FILE = 16 * 2**20
"""The largest metadata file, in bytes: these are kept in memory."""
COLLECTION_FILES = ("version.info", "config.json", "shard_key_mapping.json", "payload_index.json")
"""In the order of the archive, at its end (collection/snapshots.rs of Qdrant 1.18.3)."""

_END = bytes(2 * BLOCK)
_STATE, _CONFIG = "replica_state.json", "shard_config.json"


class ShardSplitter:
    """The wanted shards of one archive, each as a shard archive. Flat memory, one pass.

        reframing = ShardSplitter(blocks, wanted={0, 2})
        for shard, archive in reframing.shards():   # in the order of the archive
            store(shard, archive)                   # read it before you ask for the next
        reframing.uuid, reframing.logged            # after the end only

    `files` are those of the collection, `every` all shards that it names, also those on other
    nodes. With `peer` it must be that peer's, and its replicas complete. `logged` are the wanted
    shards whose log is in the archive: a listener writes an empty one, which has a `closed-` file
    but no `open-` one (lib/wal of Qdrant 1.18.3).

    The archive is judged as strictly as in a proof: if it is truncated, has members that Qdrant
    does not write, or lacks a wanted shard, it raises ArchiveTruncated, ArchiveInvalid,
    ArchiveHostile, ArchiveTooLarge, ArchiveForeign or CollectionChanged, at the latest at the end
    of `shards()`. Until then no shard from it may be believed."""

    def __init__(
        self,
        blocks: Iterable[Buffer],
        wanted: Collection[int],
        name: str = "archive",
        *,
        peer: int | None = None,
    ) -> None:
        self.name = name
        self.peer = peer
        self.files: dict[str, bytes] = {}
        self.every: list[int] = []
        self.logged: set[int] = set()
        self._wanted = frozenset(wanted)
        self._blocks = blocks

    def shards(self) -> Iterator[tuple[int, Iterator[bytes]]]:
        """Yield each wanted shard's number and archive. Call once, and iterate to the end."""
        everything = members(BlockReader(self._blocks, self.name), max_members=MAX_MEMBERS)
        for shard, group in groupby(everything, _shard_of):
            if shard is None:
                for member in group:
                    self._keep(member)
                continue
            if self.files or shard in self.every:
                raise ArchiveInvalid(f"the members of shard {shard} of {self.name} are scattered")
            self.every.append(shard)
            if shard in self._wanted:
                archive = _joined(self._reframed(shard, group))
                yield shard, archive
                for _ in archive:
                    pass  # read what the caller left, because it must be complete as well
        if tuple(self.files) != COLLECTION_FILES:
            raise ArchiveInvalid(
                f"{self.name} ends with {', '.join(self.files) or 'no file of the collection'} "
                f"instead of {', '.join(COLLECTION_FILES)}"
            )
        if absent := sorted(self._wanted - set(self.every)):
            raise ArchiveInvalid(
                f"{self.name} does not hold the shards {absent}, only {self.every}"
            )

    @property
    def uuid(self) -> str | None:
        """Return the collection's uuid, which clusters give each incarnation. Raise
        ArchiveInvalid."""
        uuid = _parsed(self.files.get("config.json", b""), f"config.json of {self.name}").get(
            "uuid"
        )
        return None if uuid is None else str(uuid)

    def _reframed(self, shard: int, group: Iterable[Member]) -> Iterator[Buffer]:
        segments, names = 0, []
        for member in group:
            below = member.name.partition("/")[2]
            if not below:
                continue  # the folder of the shard itself
            names.append(below)
            segments += below.startswith("segments/") and not member.is_folder
            if below.startswith("wal/open-"):
                self.logged.add(shard)
            yield _renamed(member, below)
            yield member.extension
            if below == _STATE:
                yield self._state_of(shard, member)
            else:
                yield from member.chunks()
            yield bytes(-member.stored % BLOCK)
        if names[-2:] != [_STATE, _CONFIG]:
            raise ArchiveInvalid(f"shard {shard} of {self.name} is truncated after {names[-2:]}")
        if not segments:
            raise ArchiveInvalid(f"shard {shard} of {self.name} has no segment")
        yield _END

    def _state_of(self, shard: int, member: Member) -> bytes:
        data = _small(member)
        state = _parsed(data, f"{member.name} of {self.name}")
        where = f"shard {shard} in {self.name}"
        if state.get("is_local") is not True:
            raise ArchiveForeign(f"{where} is on another node: the archive only names it")
        if self.peer is not None:
            full_replica(state, self.peer, where)
        return data

    def _keep(self, member: Member) -> None:
        if member.is_folder:
            raise ArchiveInvalid(f"{self.name} has a folder {member.name!r} that is no shard")
        self.files[member.name] = _small(member)


def _shard_of(member: Member) -> int | None:
    """Return the shard to which a member belongs; None for the files of the collection."""
    top, slash, _ = member.name.partition("/")
    if not slash and not member.is_folder:
        return None
    if not (top.isascii() and top.isdigit()) or str(int(top)) != top:
        raise ArchiveInvalid(f"{member.source.name} has {member.name!r} where shards are expected")
    return int(top)


def _renamed(member: Member, name: str) -> bytes:
    """Return its header under another name with a new checksum; a name that is too long goes into a
    member before it, as GNU tar does."""
    encoded = name.encode() + (b"/" if member.is_folder else b"")
    head = bytearray(member.header)
    if head[257:263] == b"ustar\0":
        head[345:500] = bytes(155)  # ustar keeps the start of a long name there
    head[:100] = encoded[:100].ljust(100, b"\0")
    long = b"" if len(encoded) <= 100 else _long_name(encoded + b"\0")
    return long + _summed(head)


def _long_name(encoded: bytes) -> bytes:
    head = bytearray(BLOCK)
    head[:13] = b"././@LongLink"
    head[100:108] = b"0000644\0"
    head[108:124] = b"0000000\0" * 2
    head[124:136] = b"%011o\0" % len(encoded)
    head[136:148] = b"00000000000\0"
    head[156:157] = b"L"
    head[257:265] = b"ustar  \0"
    return _summed(head) + encoded + bytes(-len(encoded) % BLOCK)


def _summed(head: bytearray) -> bytes:
    head[148:156] = b" " * 8
    head[148:156] = b"%06o\0 " % sum(head)
    return bytes(head)


def _small(member: Member) -> bytes:
    if member.size > MAX_FILE:
        raise ArchiveTooLarge(
            f"{member.name} of {member.source.name} has {member.size} bytes, {MAX_FILE} are allowed"
        )
    if member.size != member.stored:
        raise ArchiveInvalid(f"{member.name} of {member.source.name} has holes")
    return b"".join(member.chunks())


def _parsed(data: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ArchiveInvalid(f"{what} is not what Qdrant writes")
    return found


def _joined(pieces: Iterable[Buffer]) -> Iterator[bytes]:
    """Yield the same bytes in blocks of at least `OUTPUT_BLOCK`, except the last. Each byte is
    copied at most once; a block that is large enough is passed on as it is."""
    waiting: list[Buffer] = []
    length = 0
    for piece in pieces:
        if not piece:
            continue
        waiting.append(piece)
        length += len(piece)
        if length >= OUTPUT_BLOCK:
            yield _whole(waiting)
            waiting, length = [], 0
    if waiting:
        yield _whole(waiting)


def _whole(pieces: list[Buffer]) -> bytes:
    first = pieces[0]
    if len(pieces) == 1:
        if isinstance(first, bytes):
            return first
        if isinstance(first.obj, bytes) and len(first.obj) == len(first):
            return first.obj
    return b"".join(pieces)
