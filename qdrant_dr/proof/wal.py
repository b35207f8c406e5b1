"""Find out from a write-ahead log's own files whether it goes beyond its segments.

File format, as measured on Qdrant 1.18.3: `closed-<first operation>` and `open-<n>`, each 8 bytes
`wal\\0` and a seed, then entries of length (u64, little endian), data, padding and CRC (u32), the
whole padded to 8 bytes, until a zero length. The number of an operation is its position.
"""

from __future__ import annotations

import os
from pathlib import Path

_HEADER = 8


def last_operation(folder: Path) -> int | None:
    """Return the number of the last entry in `folder`, None if it has none or cannot be parsed.

    This is an upper bound: entries of an earlier use of a file may be counted as well.
    """
    closed = sorted((int(p.name.removeprefix("closed-")), p) for p in folder.glob("closed-*"))
    opened = sorted((int(p.name.removeprefix("open-")), p) for p in folder.glob("open-*"))
    first, path = closed[-1] if closed else (0, None)
    count = _entries(path) if path else 0
    count += sum(_entries(p) for _, p in opened)
    return first + count - 1 if count else None


def _entries(path: Path) -> int:
    size = path.stat().st_size
    count, at = 0, _HEADER
    with path.open("rb") as file:
        while at + 16 <= size:
            length = int.from_bytes(os.pread(file.fileno(), 8, at), "little")
            if not length or at + length > size:
                break
            count += 1
            at += (8 + length + 4 + 7) & ~7
    return count
