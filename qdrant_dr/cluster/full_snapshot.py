"""Split a full snapshot as it streams: every collection's own archive, then their mapping.

`POST /snapshots` makes a tar of each collection's archive, one after the other, with `config.json`
as its last member: it maps files to collections and lists all aliases (content_manager/snapshots/
mod.rs of Qdrant 1.18.3). In a cluster the call answers 200 and holds the asked node's shards only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from qdrant_dr.errors import ArchiveInvalid, ArchiveTooLarge
from qdrant_dr.tar import BlockReader, Buffer, Member, members

CONFIG = "config.json"
_CONFIG_MAX = 16 << 20
_MAX_COLLECTIONS = 100_000
_ZEROS = bytes(1 << 20)
_FILE = re.compile(r"(?s)(.+)-\d+-\d{4}(?:-\d\d){5}\.snapshot")


@dataclass(frozen=True, slots=True)
class FullMember:
    """One collection's archive in a full snapshot. Read `blocks` before you ask for the next
    one."""

    collection: str
    file: str
    size_bytes: int
    blocks: Iterator[bytes]


class FullArchive:
    """A full snapshot as it streams. `files` and `aliases` are known once `members` has ended."""

    def __init__(self, blocks: Iterable[Buffer], name: str) -> None:
        self.name = name
        self.files: dict[str, str] = {}
        self.aliases: dict[str, str] = {}
        self._source = BlockReader(blocks, name)

    def members(self) -> Iterator[FullMember]:
        """Yield each collection's archive, in the order of the snapshot.

        A member's collection is read from its file name, because the mapping comes last, and is
        compared with the mapping at the end. Believe nothing of it before this iterator has ended.
        Raise ArchiveInvalid if a file name, the mapping or the order is not Qdrant's, and the
        errors of the tar itself."""
        found: dict[str, str] = {}
        config: bytes | None = None
        for member in members(self._source, max_members=_MAX_COLLECTIONS):
            if config is not None:
                raise ArchiveInvalid(f"{self.name} has {member.name} after {CONFIG}")
            if member.name == CONFIG:
                config = self._config(member)
                continue
            match = _FILE.fullmatch(member.name)
            if match is None or member.is_folder:
                raise ArchiveInvalid(f"{self.name} has a member that is no snapshot: {member.name}")
            found[match[1]] = member.name
            yield FullMember(match[1], member.name, member.size, _expanded(member))
        if config is None:
            raise ArchiveInvalid(f"{self.name} has no {CONFIG}, so its content is unknown")
        self._believe(config, found)

    def _config(self, member: Member) -> bytes:
        if member.size > _CONFIG_MAX:
            raise ArchiveTooLarge(f"{self.name}: {CONFIG} has {member.size} bytes")
        return b"".join(_expanded(member))

    def _believe(self, config: bytes, found: dict[str, str]) -> None:
        try:
            said = json.loads(config)
            files, aliases = dict(said["collections_mapping"]), dict(said["collections_aliases"])
        except (ValueError, KeyError, TypeError, RecursionError) as e:
            raise ArchiveInvalid(f"{self.name}: {CONFIG} cannot be read: {e!r}") from None
        if files != found:
            odd = sorted({*files.items()} ^ {*found.items()})[:3]
            raise ArchiveInvalid(f"{self.name}: {CONFIG} does not match the files: {odd}")
        self.files, self.aliases = files, aliases


def _expanded(member: Member) -> Iterator[bytes]:
    """Yield the original file: on a file system that reports holes, the member is sparse."""
    source, at = BlockReader(member.chunks(), member.name), 0
    for offset, length in (*member.runs, (member.size, 0)):
        while at < offset:
            hole = min(offset - at, len(_ZEROS))
            at += hole
            yield _ZEROS[:hole]
        for chunk in source.chunks(length):
            at += len(chunk)
            yield bytes(chunk)
