"""What is taken of a stream of bytes in passing: size, SHA-256, and the SHA-256 of every block."""

from __future__ import annotations

import hashlib

SAMPLE_BLOCK = 8 << 20
"""Bytes of a block: what a sample reads, and compares with its digest in the manifest."""


class StreamDigest:
    """Takes the digests that a manifest keeps of a part: of the whole, and of each `SAMPLE_BLOCK`.

    Whoever hands the bytes on feeds it; whoever knows what they should be asks it at the end.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self._whole = hashlib.sha256()
        self._block = self._whole  # of the first block, it is that of all so far
        self._done: list[str] = []
        self._room = SAMPLE_BLOCK

    def update(self, data: bytes) -> None:
        """Append."""
        self.size_bytes += len(data)
        rest = memoryview(data)
        while rest:
            piece, rest = rest[: self._room], rest[self._room :]
            for digest in {self._whole, self._block}:
                digest.update(piece)
            self._room -= len(piece)
            if not self._room:
                self._done.append(self._block.hexdigest())
                self._block, self._room = hashlib.sha256(), SAMPLE_BLOCK

    @property
    def sha256(self) -> str:
        """Of all bytes so far, in hex."""
        return self._whole.hexdigest()

    def of(self, start: int, size: int) -> str | None:
        """Return the SHA-256 of these bytes, in hex, if it is known without reading them: they are
        a whole block, and passed already."""
        number = start // SAMPLE_BLOCK
        if start % SAMPLE_BLOCK or size != SAMPLE_BLOCK or number >= len(self._done):
            return None
        return self._done[number]

    @property
    def blocks(self) -> tuple[str, ...]:
        """SHA-256 of each block so far, the last one perhaps short."""
        last = () if self._room == SAMPLE_BLOCK else (self._block.hexdigest(),)
        return (*self._done, *last)
