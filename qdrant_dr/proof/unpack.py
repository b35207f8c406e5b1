"""Unpack an archive to disk, shard by shard, straight from its stream.

The result is `<folder>/<shard>/segments/<uuid>/...` and `<folder>/<shard>/wal/...`, ready for
Qdrant's engine. Three framings occur: a collection archive (members below `<shard>/`, segments as
nested tars), a stored or re-framed shard archive (the same without the prefix) and a streamed one
(segments as folders). Sparse members stay sparse. Errors are collected as faults, so that one
reading checks bytes and structure at once; nothing is unpacked after the first fault of the stream
itself.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from qdrant_dr.errors import (
    ArchiveError,
    ArchiveHostile,
    ArchiveInvalid,
    ArchiveTooLarge,
    StorageFull,
)
from qdrant_dr.proof.crash_cause import FULL, MORE_ROOM
from qdrant_dr.tar import BlockReader, Buffer, Member, members

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SEGMENT_TAR = re.compile(rf"segments/({_UUID})\.tar")
_SEGMENT_FILE = re.compile(rf"segments/({_UUID})/(?:files/)?(.+)")
_SHARD_FILE = re.compile(r"[a-z_]+\.json")
_WAL_FILE = re.compile(r"wal/[a-z0-9-]+")
_SHARD = re.compile(r"(0|[1-9]\d{0,9})/(.+)")
COLLECTION_FILES = ("version.info", "config.json", "shard_key_mapping.json", "payload_index.json")
_JSON_MAX = 64 << 20


@dataclass(frozen=True)
class Limits:
    """How much of this machine an archive may use, in bytes.

    `max_bytes` limits what is really stored, `max_apparent` the claimed length of sparse files.
    """

    max_bytes: int
    free_disk: int
    max_apparent: int
    max_members: int = 1_000_000

    @classmethod
    def of_part(cls, size_bytes: int, free_disk: int) -> Limits:
        """Return the limits for an archive whose size the manifest states."""
        return cls(size_bytes, free_disk, max(64 << 30, 64 * size_bytes))


@dataclass
class LaidShard:
    """One shard on disk, or only the two state files of one on another node."""

    shard: int
    folder: Path
    segments: dict[str, set[str]] = field(default_factory=dict)
    files: dict[str, Any] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    has_log: bool = False
    has_wal_folder: bool = False

    @property
    def is_local(self) -> bool:
        """Say whether this archive holds its data, according to the archive itself."""
        state = self.files.get("replica_state.json")
        return bool(state["is_local"]) if isinstance(state, dict) and "is_local" in state else True


@dataclass(frozen=True)
class LaidOut:
    """What was unpacked from an archive, and every fault of the archive in order."""

    kind: Literal["collection", "shard"]
    folder: Path
    shards: tuple[LaidShard, ...]
    files: dict[str, Any]
    last_members: tuple[str, ...]
    members: int
    size_bytes: int
    faults: tuple[ArchiveError, ...] = ()

    @property
    def uuid(self) -> str | None:
        """Return the collection's own identity; a single node writes null."""
        config = self.files.get("config.json")
        uuid = config.get("uuid") if isinstance(config, dict) else None
        return uuid if isinstance(uuid, str) else None

    @property
    def local_shards(self) -> tuple[LaidShard, ...]:
        return tuple(s for s in self.shards if s.is_local)


def lay_out(
    blocks: Iterable[Buffer],
    folder: Path,
    *,
    kind: Literal["collection", "shard"],
    shard: int = 0,
    limits: Limits,
    name: str = "archive",
    salvage: bool = False,
) -> LaidOut:
    """Read `blocks` to the first fault or the end, unpacking below `folder` (must be empty).

    `shard` is the number of a shard archive, which does not contain it. The archive's faults are in
    the result; raise StorageFull if this machine, not the archive, is the reason. In a `salvage` a
    segment whose own tar is broken is listed in its shard's `broken` and the reading continues.
    """
    work = _Layout(folder, kind, shard, limits, name, salvage=salvage)
    try:
        for member in members(BlockReader(blocks, name), max_members=limits.max_members):
            work.place(member)
    except ArchiveError as e:
        work.faults.append(e)
    except OSError as e:
        if e.errno in FULL:
            raise StorageFull(f"no space left below {folder} for {name}", MORE_ROOM) from e
        raise
    return work.result()


class _Layout:
    def __init__(
        self,
        folder: Path,
        kind: Literal["collection", "shard"],
        shard: int,
        limits: Limits,
        name: str,
        *,
        salvage: bool = False,
    ) -> None:
        self.kind, self.shard, self.limits, self.name = kind, shard, limits, name
        self.salvage = salvage
        self.folder = folder
        self.shards: dict[int, LaidShard] = {}
        self.files: dict[str, Any] = {}
        self.faults: list[ArchiveError] = []
        self.stored = self.apparent = self.members = 0
        self.last: list[str] = []

    def result(self) -> LaidOut:
        return LaidOut(
            kind=self.kind,
            folder=self.folder,
            shards=tuple(self.shards[n] for n in sorted(self.shards)),
            files=self.files,
            last_members=tuple(self.last[-2:]),
            members=self.members,
            size_bytes=self.stored,
            faults=tuple(self.faults),
        )

    def place(self, member: Member) -> None:
        self.last = [*self.last[-1:], member.name]
        if self.kind == "collection":
            if member.name in COLLECTION_FILES and not member.is_folder:
                self.files[member.name] = self._small(member, self.folder / member.name)
                return
            if not (match := _SHARD.fullmatch(member.name)):
                if member.is_folder and member.name.isdecimal():
                    return
                raise self._unexpected(member)
            number, inner = int(match[1]), match[2]
        else:
            number, inner = self.shard, member.name
        laid = self.shards.setdefault(number, LaidShard(number, self.folder / str(number)))
        self._place_in_shard(laid, replace(member, name=inner))

    def _place_in_shard(self, shard: LaidShard, member: Member) -> None:
        name = member.name
        if member.is_folder:
            shard.has_wal_folder |= name == "wal"
            if name.split("/")[0] not in ("wal", "segments"):
                raise self._unexpected(member)
        elif _SHARD_FILE.fullmatch(name):
            shard.files[name] = self._small(member, shard.folder / name)
        elif _WAL_FILE.fullmatch(name):
            shard.has_wal_folder = True
            shard.has_log |= name.startswith("wal/open-")  # an empty log has only a `closed-` file
            self._write(member, shard.folder / name)
        elif match := _SEGMENT_TAR.fullmatch(name):
            self._salvage_segment(shard, match[1], member)
        elif match := _SEGMENT_FILE.fullmatch(name):
            shard.segments.setdefault(match[1], set()).add(match[2])
            self._write(member, shard.folder / "segments" / match[1] / match[2])
        else:
            raise self._unexpected(member)

    def _salvage_segment(self, shard: LaidShard, uuid: str, outer: Member) -> None:
        try:
            self._open_segment(shard, uuid, outer)
        except ArchiveError as e:
            if not self.salvage:
                raise
            self.faults.append(e)
            shard.broken.add(uuid)

    def _open_segment(self, shard: LaidShard, uuid: str, outer: Member) -> None:
        if uuid in shard.segments or len(outer.runs) != 1:
            raise ArchiveInvalid(f"{self.name} has segment {uuid} of shard {shard.shard} twice")
        names = shard.segments[uuid] = set()
        inner = BlockReader(outer.chunks(), f"{self.name}:{outer.name}")
        for member in members(inner, max_members=self.limits.max_members, nested=True):
            name = member.name.removeprefix("snapshot/files/")
            if member.is_folder:
                continue
            if name == member.name:
                raise self._unexpected(member)
            names.add(name)
            self._write(member, shard.folder / "segments" / uuid / name)

    def _small(self, member: Member, path: Path) -> Any:
        """Read a file whose content is examined: JSON, or the plain text of `version.info`."""
        if member.size > _JSON_MAX or len(member.runs) > 1:
            raise ArchiveTooLarge(f"{self.name}: {member.name} has {member.size} bytes")
        data = b"".join(member.chunks())
        self._write(replace(member, source=BlockReader([data])), path)
        if not member.name.endswith(".json"):
            return data.decode(errors="replace")
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as e:
            self.faults.append(ArchiveInvalid(f"{self.name}: {member.name} is not JSON: {e}"))
            return None

    def _write(self, member: Member, path: Path) -> None:
        self.members += 1
        self.stored += member.stored
        self.apparent += member.size
        limits = self.limits
        if self.stored > limits.max_bytes or self.apparent > limits.max_apparent:
            raise ArchiveTooLarge(
                f"{self.name} declares {self.apparent} bytes, {self.stored} of them data, in "
                f"{self.members} members; at most {limits.max_apparent} and {limits.max_bytes} "
                "match its manifest"
            )
        if self.members > limits.max_members:
            raise ArchiveTooLarge(f"{self.name} has more than {limits.max_members} members")
        if self.stored > limits.free_disk:
            raise StorageFull(
                f"only {limits.free_disk} bytes are free below {self.folder}", MORE_ROOM
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as e:
            raise ArchiveHostile(f"{self.name} has {member.name!r} twice") from e
        try:
            _write_runs(file, member)
        finally:
            os.close(file)

    def _unexpected(self, member: Member) -> ArchiveInvalid:
        return ArchiveInvalid(
            f"{self.name} has a member {member.name!r} that is unknown in a {self.kind} archive"
        )


def _write_runs(file: int, member: Member) -> None:
    """Write data at its offsets, keep holes, and set the declared length."""
    source = BlockReader(member.chunks())
    for offset, length in member.runs:
        at = offset
        for chunk in source.chunks(length):
            rest = chunk
            while rest:
                done = os.pwrite(file, rest, at)
                rest, at = rest[done:], at + done
    os.ftruncate(file, member.size)
