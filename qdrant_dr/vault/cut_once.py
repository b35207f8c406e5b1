"""One stream for several chunked repositories: cut, hashed and compressed once."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache

from qdrant_dr.digests import StreamDigest
from qdrant_dr.errors import Stalled
from qdrant_dr.vault.box import Block, make_block
from qdrant_dr.vault.cut import Cutter, Piece

_AHEAD = 24
"""How many buffers of the stream one repository may be ahead of another: more than a fan-out lets
it be."""


class Digested:
    """A piece of the stream; a block has its SHA-256, and is compressed when somebody needs it."""

    __slots__ = ("_block", "_data", "_lock", "is_block", "sha256", "size")

    def __init__(self, piece: Piece) -> None:
        self.is_block, self._data, self.size = piece.is_block, piece.data, len(piece.data)
        self.sha256 = hashlib.sha256(piece.data).digest() if piece.is_block else b""
        self._block: Future[Block] | None = None
        self._lock = threading.Lock()

    @property
    def data(self) -> bytes:
        """Return the bytes of a literal."""
        return self._data

    def compress(self) -> Future[Block]:
        """Begin to compress it, and to decode that again, once for all repositories."""
        with self._lock:
            if self._block is None:
                self._block = workers().submit(make_block, self._data, self.sha256)
                self._data = b""
            return self._block

    def block(self) -> Block:
        """Return it compressed."""
        return self.compress().result()


class CutOnce:
    """Hands the pieces of one stream to several sinks, each in its own thread.

    Every sink gets the same buffers: whoever comes first with one cuts it, and what all of them
    have taken is forgotten. `digest` is fed by whoever reads the stream; without one, it is here.
    """

    def __init__(self, sinks: int = 1, digest: StreamDigest | None = None) -> None:
        self._sinks = sinks
        self._digest, self._ours = digest or StreamDigest(), digest is None
        self._cutter = Cutter()
        self._lock = threading.Lock()
        self._done = 0
        self._kept: dict[int, tuple[list[Digested], int]] = {}

    @property
    def size_bytes(self) -> int:
        """Return how many bytes the stream has so far."""
        return self._digest.size_bytes

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the whole stream, in hex, once it has ended."""
        return self._digest.sha256

    def pieces(self, number: int, data: bytes | None) -> Sequence[Digested]:
        """Return the pieces that are known with buffer `number`; None is the end.

        Raise Stalled for a buffer that is not kept: the others did not wait, or it could not be
        cut.
        """
        with self._lock:
            if number == self._done:
                self._done += 1  # before: what fails half-way must not be fed again
                self._kept[number] = self._cut(data), 0
                self._kept.pop(number - _AHEAD, None)
            if number not in self._kept:
                raise Stalled("it fell behind the other repositories")
            found, taken = self._kept.pop(number)
            if taken + 1 < self._sinks:
                self._kept[number] = found, taken + 1
            return found

    def _cut(self, data: bytes | None) -> list[Digested]:
        if data is not None and self._ours:
            self._digest.update(data)
        cut = self._cutter.finish() if data is None else self._cutter.feed(data)
        return [Digested(p) for p in cut]  # beside the workers, which compress what came before


@cache
def workers() -> ThreadPoolExecutor:
    """Return the threads that compress, for all streams of this process."""
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="blocks")
