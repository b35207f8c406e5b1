"""Cuts the shards out of a node's collection archive, in passing: one archive of its own for each.

A collection archive holds what lies on one node: its local shards below `<shard>/`, log included,
then the files of the collection. A shard re-framed so (prefix dropped from the names, all else
byte for byte) is taken by Qdrant's shard upload and its log is replayed: equal content, measured on
1.18.3, on one node, on several, and with custom sharding.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from itertools import groupby
from typing import Any

from qdrant_dr.cluster.gates import full_replica
from qdrant_dr.errors import ArchiveForeign, ArchiveInvalid, ArchiveTooLarge
from qdrant_dr.tar import BLOCK, Buffer, Member, Source, members

OUTPUT_BLOCK = 256 * 1024
"""Smaller pieces are joined up to this: every block costs a step through each queue behind."""
MAX_MEMBERS = 1_000_000
MAX_FILE = 16 * 2**20
"""Bytes of a file of metadata: those are kept in memory."""
COLLECTION_FILES = ("version.info", "config.json", "shard_key_mapping.json", "payload_index.json")
"""In the order of the archive, at its end (collection/snapshots.rs of Qdrant 1.18.3)."""

_END = bytes(2 * BLOCK)
_STATE, _CONFIG = "replica_state.json", "shard_config.json"


class Reframing:
    """The wanted shards of one archive, each as a shard archive. Flat memory, one pass.

        reframing = Reframing(blocks, wanted={0, 2})
        for shard, archive in reframing.shards():   # in the order of the archive
            store(shard, archive)                   # consumed before the next is asked for
        reframing.uuid, reframing.logged            # after the end only

    `files` are those of the collection, `every` all shards that it names, also those that lie
    elsewhere. With `peer` it must be that peer's, and its replicas full. `logged` are the wanted
    shards whose log is in the archive: a listener puts an empty one in, which is a `closed-` file
    and no `open-` one (lib/wal of Qdrant 1.18.3).

    What the archive is, is judged as strictly as in a proof: an archive that is cut, has members
    that Qdrant does not write, or lacks a wanted shard raises ArchiveTruncated, ArchiveInvalid,
    ArchiveHostile, ArchiveTooLarge, ArchiveForeign or CollectionChanged, at the latest at the end
    of `shards()`. Until then no shard that came out of it may be believed.
    """

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
        """Each wanted shard's number and archive. To be called once and gone through to the end."""
        everything = members(Source(self._blocks, self.name), max_members=MAX_MEMBERS)
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
                    pass  # what the caller left: it must be whole all the same
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
        """Which life of the collection it is: clusters give each one. Raise ArchiveInvalid."""
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
            raise ArchiveInvalid(f"shard {shard} of {self.name} ends with {names[-2:]}: it is cut")
        if not segments:
            raise ArchiveInvalid(f"shard {shard} of {self.name} has no segment")
        yield _END

    def _state_of(self, shard: int, member: Member) -> bytes:
        data = _small(member)
        state = _parsed(data, f"{member.name} of {self.name}")
        where = f"shard {shard} in {self.name}"
        if state.get("is_local") is not True:
            raise ArchiveForeign(f"{where} lies on another node: the archive names it only")
        if self.peer is not None:
            full_replica(state, self.peer, where)
        return data

    def _keep(self, member: Member) -> None:
        if member.is_folder:
            raise ArchiveInvalid(f"{self.name} has a folder {member.name!r} that is no shard")
        self.files[member.name] = _small(member)


def _shard_of(member: Member) -> int | None:
    """The shard that a member belongs to; None for the files of the collection."""
    top, slash, _ = member.name.partition("/")
    if not slash and not member.is_folder:
        return None
    if not (top.isascii() and top.isdigit()) or str(int(top)) != top:
        raise ArchiveInvalid(f"{member.source.name} has {member.name!r} where shards are expected")
    return int(top)


def _renamed(member: Member, name: str) -> bytes:
    """Its header under another name, its checksum made anew; a name that is too long for it
    stands in a member before it, as GNU tar writes it."""
    encoded = name.encode() + (b"/" if member.is_folder else b"")
    head = bytearray(member.header)
    if head[257:263] == b"ustar\0":
        head[345:500] = bytes(155)  # the other form keeps the start of a long name there
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
    """The same bytes in blocks of at least `OUTPUT_BLOCK`, the last one apart; each is copied at
    most once, and a block that came whole is handed on as it is."""
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
