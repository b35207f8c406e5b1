"""The digest of every block of a stream, and samples that are compared with them.

A sample reads some blocks, chosen by a seed, and compares each with its digest in the manifest;
without these digests it could only show that the bytes can be read.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from qdrant_dr.records import Part, Sample

SAMPLE_BLOCK = 8 << 20


class BlockDigests:
    """Computes the SHA-256 of every `SAMPLE_BLOCK` bytes of a stream, for `Part.blocks`."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._current = hashlib.sha256()
        self._room = SAMPLE_BLOCK

    def watch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the blocks unchanged."""
        for block in blocks:
            rest = memoryview(block)
            while rest:
                piece, rest = rest[: self._room], rest[self._room :]
                self._current.update(piece)
                self._room -= len(piece)
                if not self._room:
                    self._done.append(self._current.hexdigest())
                    self._current, self._room = hashlib.sha256(), SAMPLE_BLOCK
            yield block

    @property
    def digests(self) -> tuple[str, ...]:
        """Return the digests of all blocks so far; the last one may be short."""
        last = () if self._room == SAMPLE_BLOCK else (self._current.hexdigest(),)
        return (*self._done, *last)


@dataclass(frozen=True)
class SampleRequest:
    """How much of the bytes to read, and which: the same seed chooses the same blocks."""

    per_mille: int
    seed: int

    def choose(self, part: Part) -> list[int]:
        """Return the numbers of the blocks to read of one part: at least one, if it has any."""
        count = -(-part.size_bytes // SAMPLE_BLOCK)
        wanted = min(count, max(1, -(-count * self.per_mille // 1000)))
        return sorted(random.Random(f"{self.seed}:{part.name}").sample(range(count), wanted))

    def record(self, parts: Iterable[Part]) -> Sample:
        """Record the sample; the chance of detecting one damaged block is the share of blocks
        read."""
        parts = list(parts)
        chosen = sum(len(self.choose(p)) for p in parts)
        blocks = sum(-(-p.size_bytes // SAMPLE_BLOCK) for p in parts)
        return Sample(
            seed=self.seed,
            per_mille=self.per_mille,
            block_bytes=SAMPLE_BLOCK,
            detection_ppm=chosen * 1_000_000 // blocks if blocks else 0,
        )
