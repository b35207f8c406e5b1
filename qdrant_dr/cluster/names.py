"""Limits for the length of a collection's name: a server accepts 255 bytes, but adds to file names.

The bytes that Qdrant 1.18.3 adds were found by trying each length: with one byte more it answers
500, "File name too long".
"""

from __future__ import annotations

from qdrant_dr.records.manifest import Method

LONGEST_FILE_NAME = 255
"""In bytes, on most file systems."""
_TIME = "-2026-11-22-10-15-30.snapshot"
WAY_OUT = (
    "copy its points into a collection with a shorter name and use this name as an alias of that "
    "one, or exclude it in `collections.exclude`, with the reason"
)


def longest_captured(
    method: Method, *, peer_id: int | None, shard: int, surely: bool = False
) -> int:
    """Return the longest name, in bytes, of which a snapshot can be made; `shard` is the highest
    id.

    `surely`: beyond this even the finished file's name is too long, whatever name the server's
    version uses while it makes the file.
    """
    if method in ("shard", "stream"):
        return LONGEST_FILE_NAME - len(f"-shard-{shard}{_TIME}{'' if surely else '-temp-XXXXXX'}")
    return LONGEST_FILE_NAME - len(f"-{peer_id or ''}{_TIME}{'' if surely else '-arc-XXXXXX'}")


def longest_restored(*, whole: bool, shard: int) -> int:
    """Return the longest name, in bytes, under which an archive can be restored, whole or by
    shard."""
    if whole:
        return LONGEST_FILE_NAME - len("XXXX-recovery-XXXXXX")
    return LONGEST_FILE_NAME - len(f"-shard-{shard}XXXXXX")


def too_long(name: str, longest: int) -> bool:
    """Say whether a name has more bytes than `longest`."""
    return len(name.encode()) > longest
