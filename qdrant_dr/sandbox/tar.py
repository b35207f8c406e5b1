"""GNU tar as Qdrant writes it: holes of sparse files stay holes, segments are nested archives.

Qdrant's WAL and page files are 32 MiB apparent and some kilobytes real. Python's `tarfile` reads
GNU sparse members but cannot write them, so the sparse map is put into its headers here: up to four
extents in the header (offset 386), the rest in extension blocks of 21, each extent as two octal
fields of twelve bytes, closed by an empty one at the end of the file; real size at offset 483.
"""

from __future__ import annotations

import errno
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_BLOCK = 512
_COPY = 1 << 20
_IN_HEADER, _IN_BLOCK = 4, 21
_MAP, _REAL_SIZE, _EXTENDED, _CHECKSUM = 386, 483, 482, 148


class TarWriter:
    """Members go to `out` at once; `close` writes the two zero blocks that end an archive."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def add_bytes(self, name: str, data: bytes) -> None:
        self._out.write(_header(name, len(data)))
        self._out.write(data)
        self._pad(len(data))

    def add_file(self, name: str, path: Path) -> None:
        """Add a file from disk with its time; sparse where the file system reports holes."""
        with path.open("rb") as source:
            size = os.fstat(source.fileno()).st_size
            mtime = int(os.fstat(source.fileno()).st_mtime)
            extents = list(_extents(source, size))
            stored = sum(length for _, length in extents)
            if stored == size:
                self._out.write(_header(name, size, mtime))
            else:
                self._out.write(_sparse_header(name, mtime, stored, size, extents))
            for offset, length in extents:
                source.seek(offset)
                _copy(source, self._out, length)
            self._pad(stored)

    def add_directory(self, name: str) -> None:
        self._out.write(_header(name, 0, kind=tarfile.DIRTYPE, mode=0o755))

    def add_sparse(self, name: str, data: bytes, size: int) -> None:
        """Add a file of `size` bytes that has `data` at its start and then only a hole."""
        self._out.write(_sparse_header(name, 0, len(data), size, [(0, len(data))]))
        self._out.write(data)
        self._pad(len(data))

    def add_folder(self, prefix: str, folder: Path) -> None:
        """Add all files below `folder`, named below `prefix`."""
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            self.add_file(f"{prefix}{path.relative_to(folder).as_posix()}", path)

    def add_nested(self, name: str, prefix: str, folder: Path) -> None:
        """Add all files below a folder as an archive of their own, one plain member of this one."""
        at = self._out.tell()
        self._out.write(_header(name, 0))
        start = self._out.tell()
        inner = TarWriter(self._out)
        inner.add_folder(prefix, folder)
        inner.close()
        end = self._out.tell()
        self._out.seek(at)
        self._out.write(_header(name, end - start))
        self._out.seek(end)

    def close(self) -> None:
        self._out.write(bytes(2 * _BLOCK))

    def _pad(self, size: int) -> None:
        self._out.write(bytes(-size % _BLOCK))


def _extents(source: BinaryIO, size: int) -> Iterator[tuple[int, int]]:
    """Where the file has data: (offset, length) in order."""
    offset = 0
    while offset < size:
        try:
            begin = os.lseek(source.fileno(), offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole up to the end
                return
            raise
        end = os.lseek(source.fileno(), begin, os.SEEK_HOLE)
        yield begin, end - begin
        offset = end


def _header(
    name: str, size: int, mtime: int = 0, kind: bytes = tarfile.REGTYPE, mode: int = 0o644
) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode, info.type = size, mtime, mode, kind
    return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _sparse_header(
    name: str, mtime: int, stored: int, size: int, extents: list[tuple[int, int]]
) -> bytes:
    raw = bytearray(_header(name, stored, mtime, tarfile.GNUTYPE_SPARSE))
    fields = [b"%011o\0%011o\0" % extent for extent in [*extents, (size, 0)]]
    last = len(raw) - _BLOCK  # a long name puts its own blocks in front
    _put(raw, last + _MAP, b"".join(fields[:_IN_HEADER]))
    _put(raw, last + _EXTENDED, b"\x01" if len(fields) > _IN_HEADER else b"\0")
    _put(raw, last + _REAL_SIZE, b"%011o\0" % size)
    _put(raw, last + _CHECKSUM, b" " * 8)
    _put(raw, last + _CHECKSUM, b"%06o\0 " % sum(raw[last:]))
    rest = fields[_IN_HEADER:]
    while rest:
        block = b"".join(rest[:_IN_BLOCK]).ljust(_IN_BLOCK * 24, b"\0")
        rest = rest[_IN_BLOCK:]
        raw += (block + (b"\x01" if rest else b"\0")).ljust(_BLOCK, b"\0")
    return bytes(raw)


def _put(raw: bytearray, offset: int, field: bytes) -> None:
    raw[offset : offset + len(field)] = field


def _copy(source: BinaryIO, out: BinaryIO, length: int) -> None:
    while length:
        block = source.read(min(length, _COPY))
        if not block:
            raise OSError(f"{source.name} became shorter while it was archived")
        out.write(block)
        length -= len(block)
