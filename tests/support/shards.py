"""What one shard of a server holds."""

from __future__ import annotations

from tests.support.archives import put_together, take_apart


def of_shard(archive: bytes, shard: int) -> bytes:
    """A collection archive re-framed as an archive of one shard, log and all."""
    members = []
    for member in take_apart(archive):
        if member.name.startswith(f"{shard}/"):
            head = bytearray(member.header)
            head[:100] = member.name.removeprefix(f"{shard}/").encode().ljust(100, b"\0")
            head[148:156] = b" " * 8
            head[148:156] = b"%06o\0 " % sum(head[:512])
            members.append(type(member)(bytes(head), member.data))
    return put_together(members)
