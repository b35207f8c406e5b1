"""Which shard a point belongs to: Qdrant's own consistent hash ring.

A hundred places a shard on a ring of SipHash-2-4 with zero keys; a point goes to the first place
at or after its own hash (read in Qdrant 1.18.3, lib/collection/src/hash_ring.rs; compared with
archives of a real server).
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache
from uuid import UUID

_SCALE = 100
_MASK = 2**64 - 1
_INITIAL = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)


def shard_of(point: int | str | UUID, shards: Iterable[int]) -> int:
    """Return the shard of a point among `shards`, which must not be empty."""
    places, owners = _ring(tuple(shards))
    at = bisect_left(places, _siphash(_key(point)))
    return owners[at % len(owners)]


@lru_cache(maxsize=64)
def _ring(shards: tuple[int, ...]) -> tuple[list[int], list[int]]:
    entries = sorted(
        (_siphash(struct.pack("<II", shard, place)), shard)
        for shard in shards
        for place in range(_SCALE)
    )
    return [place for place, _ in entries], [shard for _, shard in entries]


def _key(point: int | str | UUID) -> bytes:
    if isinstance(point, int):
        return struct.pack("<QQ", 0, point)
    raw = UUID(str(point)).bytes
    return struct.pack("<QQ", 1, len(raw)) + raw


def _siphash(message: bytes) -> int:
    state = _INITIAL
    whole = len(message) - len(message) % 8
    for (word,) in struct.iter_unpack("<Q", message[:whole]):
        state = _rounds(state[0], state[1], state[2], state[3] ^ word, 2)
        state = (state[0] ^ word, *state[1:])
    last = int.from_bytes(message[whole:], "little") | (len(message) & 0xFF) << 56
    state = _rounds(state[0], state[1], state[2], state[3] ^ last, 2)
    a, b, c, d = _rounds(state[0] ^ last, state[1], state[2] ^ 0xFF, state[3], 4)
    return a ^ b ^ c ^ d


def _rounds(a: int, b: int, c: int, d: int, count: int) -> tuple[int, int, int, int]:
    for _ in range(count):
        a = (a + b) & _MASK
        b = (b << 13 | b >> 51) & _MASK ^ a
        a = (a << 32 | a >> 32) & _MASK
        c = (c + d) & _MASK
        d = (d << 16 | d >> 48) & _MASK ^ c
        a = (a + d) & _MASK
        d = (d << 21 | d >> 43) & _MASK ^ a
        c = (c + b) & _MASK
        b = (b << 17 | b >> 47) & _MASK ^ c
        c = (c << 32 | c >> 32) & _MASK
    return a, b, c, d
