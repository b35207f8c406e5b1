"""A strict streaming reader of the tar that Qdrant writes: GNU, uncompressed, sparse members.

Python's `tarfile` lists an archive that was cut at a member boundary without a word, and so do
Qdrant's own unpackers. This reader accepts directories, regular files and GNU sparse files under
harmless names, wants both zero blocks at the end, and refuses everything else. It reads blocks as
they come, once, and never holds more than one of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from qdrant_dr.errors import ArchiveHostile, ArchiveInvalid, ArchiveTooLarge, ArchiveTruncated

BLOCK = 512
_ZEROS = bytes(BLOCK)
_MAX_NAME = 4096
_MAX_PADDING = 20 * BLOCK  # GNU tar and Python's tarfile fill the last record of 20 blocks

Buffer = bytes | memoryview


class BlockReader:
    """Exact reads from an iterator of blocks; `position` counts what was handed out."""

    def __init__(self, blocks: Iterable[Buffer], name: str = "archive") -> None:
        self._blocks = iter(blocks)
        self._rest = memoryview(b"")
        self.name = name
        self.position = 0

    def take(self, limit: int) -> memoryview:
        """Up to `limit` bytes; empty at the end of the stream."""
        while not self._rest:
            block = next(self._blocks, None)
            if block is None:
                return self._rest
            self._rest = memoryview(block)
        taken, self._rest = self._rest[:limit], self._rest[limit:]
        self.position += len(taken)
        return taken

    def chunks(self, length: int) -> Iterator[memoryview]:
        """Exactly `length` bytes. Raise ArchiveTruncated if the stream ends before."""
        while length:
            taken = self.take(length)
            if not taken:
                raise ArchiveTruncated(
                    f"{self.name} ends at byte {self.position}, {length} bytes too early"
                )
            length -= len(taken)
            yield taken

    def exactly(self, length: int) -> bytes:
        """`length` bytes in one piece. Raise ArchiveTruncated if there are fewer."""
        return b"".join(self.chunks(length))


@dataclass(frozen=True)
class Member:
    """One file or directory. `size` is what it unpacks to, `stored` what the archive holds of it.

    `runs` are the (offset, length) pieces of data; what lies between them is a hole. `header` and
    `extension` (the rest of a sparse map) are the blocks as they stood before the data.
    """

    name: str
    is_folder: bool
    size: int
    stored: int
    runs: tuple[tuple[int, int], ...]
    header: bytes
    extension: bytes
    source: BlockReader

    def chunks(self) -> Iterator[memoryview]:
        """The stored bytes, run after run. To be used once, before the next member is asked for."""
        return self.source.chunks(self.stored)


def members(source: BlockReader, *, max_members: int, nested: bool = False) -> Iterator[Member]:
    """Every member in order, then the end: both zero blocks and nothing behind them.

    A `nested` tar may also simply stop behind a member: Qdrant writes its segments so (measured on
    1.18.3), and the member that holds it says how long it is. Raise ArchiveTruncated,
    ArchiveInvalid, ArchiveHostile, or ArchiveTooLarge for more than `max_members`.
    """
    seen: set[str] = set()
    files: set[str] = set()
    while (entry := _entry(source, nested=nested)) is not None:
        header, kind, name = entry
        size = _number(header[124:136], source)
        _refuse_twice(name, seen, files, source)
        if len(seen) > max_members:
            raise ArchiveTooLarge(f"{source.name} has more than {max_members} members")
        if kind == b"5":
            if size:
                raise ArchiveInvalid(f"folder {name!r} of {source.name} has {size} bytes of data")
            yield Member(name, True, 0, 0, (), header, b"", source)
            continue
        files.add(name)
        apparent, runs, extension = size, [(0, size)], b""
        if kind == b"S":
            apparent, runs, extension = _sparse_map(header, size, source)
        start = source.position
        yield Member(name, False, apparent, size, tuple(runs), header, extension, source)
        for _ in source.chunks(size - (source.position - start)):
            pass  # what the caller did not want
        _skip_padding(source, size)


def _entry(source: BlockReader, *, nested: bool) -> tuple[bytes, bytes, str] | None:
    """Header, type and name of the next member, None at the end."""
    header = _header(source, may_stop=nested)
    if not header:
        return None
    if header == _ZEROS:
        _end(source)
        return None
    kind, name = _checked_kind(header, source), None
    if kind == b"L":
        size = _number(header[124:136], source)
        if not 0 < size <= _MAX_NAME:
            raise ArchiveHostile(f"{source.name} has a long name of {size} bytes")
        name = _decode(source.exactly(size).removesuffix(b"\0"), source)
        _skip_padding(source, size)
        header = source.exactly(BLOCK)
        kind = _checked_kind(header, source)
        if kind == b"L":
            raise ArchiveHostile(f"{source.name} has two long names for one member")
    return header, kind, _harmless(name or _name(header, source), source, is_folder=kind == b"5")


def _header(source: BlockReader, *, may_stop: bool) -> bytes:
    first = bytes(source.take(BLOCK))
    if not first and may_stop:
        return first
    return first + source.exactly(BLOCK - len(first))


def _checked_kind(header: bytes, source: BlockReader) -> bytes:
    expected = _number(header[148:156], source)
    if sum(header) - sum(header[148:156]) + 8 * 0x20 != expected:
        raise ArchiveInvalid(
            f"header at byte {source.position - BLOCK} of {source.name} is damaged"
        )
    if header[257:263] not in (b"ustar ", b"ustar\0"):
        raise ArchiveInvalid(f"{source.name} is not a tar that Qdrant writes")
    kind = header[156:157]
    if kind not in (b"0", b"\0", b"5", b"S", b"L"):
        raise ArchiveHostile(
            f"{source.name} has a member of type {kind!r} at byte {source.position - BLOCK}; "
            "only files and folders are unpacked"
        )
    return kind


def _number(field: bytes, source: BlockReader) -> int:
    """Octal text, or base-256 where the first bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
        if field[0] != 0x80 or value >= 2**63:
            raise ArchiveHostile(f"{source.name} declares an impossible size")
        return value
    text = field.strip(b" \0")
    if text and not text.isdigit():
        raise ArchiveInvalid(f"{source.name} has a number that is none: {field!r}")
    try:
        return int(text or b"0", 8)
    except ValueError:
        raise ArchiveInvalid(f"{source.name} has a number that is none: {field!r}") from None


def _name(header: bytes, source: BlockReader) -> str:
    name = header[:100].split(b"\0", 1)[0]
    if header[257:263] == b"ustar\0" and (prefix := header[345:500].split(b"\0", 1)[0]):
        name = prefix + b"/" + name
    return _decode(name, source)


def _decode(name: bytes, source: BlockReader) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise ArchiveHostile(f"{source.name} has a name that is not UTF-8: {name!r}") from None


def _harmless(name: str, source: BlockReader, *, is_folder: bool) -> str:
    plain = name.removesuffix("/") if is_folder else name
    pieces = plain.split("/")
    if "\0" in plain or "\\" in plain or any(p in ("", ".", "..") for p in pieces):
        raise ArchiveHostile(f"{source.name} has a member named {name!r}")
    if max(len(p.encode()) for p in pieces) > 255:
        raise ArchiveHostile(f"{source.name} has a name of more than 255 bytes")
    return plain


def _refuse_twice(name: str, seen: set[str], files: set[str], source: BlockReader) -> None:
    pieces = name.split("/")
    parents = {"/".join(pieces[:n]) for n in range(1, len(pieces))}
    if name in seen or parents & files:
        raise ArchiveHostile(f"{source.name} has {name!r} twice, or a file where a folder is")
    seen.add(name)


def _sparse_map(
    header: bytes, stored: int, source: BlockReader
) -> tuple[int, list[tuple[int, int]], bytes]:
    """Old GNU format: four pairs in the header, 21 in each block that follows it."""
    if header[257:263] != b"ustar ":
        raise ArchiveInvalid(f"{source.name} has a sparse file in a header that is not GNU's")
    apparent = _number(header[483:495], source)
    pairs = _pairs(header[386:482], source)
    extended, blocks = header[482], []
    while extended:
        block = source.exactly(BLOCK)
        blocks.append(block)
        pairs += _pairs(block[:504], source)
        extended = block[504]
        if len(pairs) > stored // BLOCK + 64:
            raise ArchiveInvalid(f"{source.name} has a sparse map larger than its data")
    runs, at = [], 0
    for offset, length in pairs:
        if offset < at or offset + length > apparent:
            raise ArchiveInvalid(f"{source.name} has a sparse map that overlaps or overflows")
        at = offset + length
        if length:
            runs.append((offset, length))
    if sum(length for _, length in runs) != stored:
        raise ArchiveInvalid(f"{source.name} has a sparse map that does not match its data")
    return apparent, runs, b"".join(blocks)


def _pairs(table: bytes, source: BlockReader) -> list[tuple[int, int]]:
    pairs = []
    for at in range(0, len(table) - 23, 24):
        entry = table[at : at + 24]
        if not entry[0] and not entry[12]:
            break
        pairs.append((_number(entry[:12], source), _number(entry[12:], source)))
    return pairs


def _skip_padding(source: BlockReader, size: int) -> None:
    if any(source.exactly(-size % BLOCK)):
        raise ArchiveInvalid(f"padding before byte {source.position} of {source.name} is not zero")


def _end(source: BlockReader) -> None:
    if source.exactly(BLOCK) != _ZEROS:
        raise ArchiveInvalid(f"{source.name} has one zero block at its end, not two")
    end = source.position
    while tail := source.take(_MAX_PADDING):
        if any(tail) or source.position - end > _MAX_PADDING:
            raise ArchiveInvalid(f"{source.name} goes on behind its end, at byte {end}")
