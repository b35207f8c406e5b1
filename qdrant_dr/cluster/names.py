"""How long a collection's name may be: a server takes 255 bytes, and makes longer file names of it.

Bytes of what Qdrant 1.18.3 adds to the name, found by trying each length: with one more it answers
500, "File name too long".
"""

from __future__ import annotations

from qdrant_dr.records.manifest import Method

LONGEST_FILE_NAME = 255
"""Bytes, on most file systems."""
_TIME = "-2026-11-22-10-15-30.snapshot"
WAY_OUT = (
    "copy its points into a collection with a shorter name and give that one this name as an "
    "alias, or exclude it in `collections.exclude`, with the reason"
)


def longest_captured(
    method: Method, *, peer_id: int | None, shard: int, surely: bool = False
) -> int:
    """Bytes of the longest name of which a snapshot can be made; `shard` is the greatest id.

    `surely`: beyond this not even the finished file can have its name, whatever the server's
    version calls it while it is made.
    """
    if method in ("shard", "stream"):
        return LONGEST_FILE_NAME - len(f"-shard-{shard}{_TIME}{'' if surely else '-temp-XXXXXX'}")
    return LONGEST_FILE_NAME - len(f"-{peer_id or ''}{_TIME}{'' if surely else '-arc-XXXXXX'}")


def longest_restored(*, whole: bool, shard: int) -> int:
    """Bytes of the longest name that an archive can be restored under, as a whole or by shard."""
    if whole:
        return LONGEST_FILE_NAME - len("XXXX-recovery-XXXXXX")
    return LONGEST_FILE_NAME - len(f"-shard-{shard}XXXXXX")


def too_long(name: str, longest: int) -> bool:
    """Whether a name has more bytes than that."""
    return len(name.encode()) > longest
