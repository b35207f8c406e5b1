"""What is taken of bytes in passing: size, SHA-256, and the digest of every block.

A sample reads some blocks, chosen by a seed, and compares each with the digest in the manifest:
without those it could only tell that something can be read.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from qdrant_dr.records import Part, Sample

SAMPLE_BLOCK = 8 << 20


class BlockDigests:
    """Takes the SHA-256 of every `SAMPLE_BLOCK` bytes of a stream: what `Part.blocks` keeps."""

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
        """Of all blocks so far, the last one perhaps short."""
        last = () if self._room == SAMPLE_BLOCK else (self._current.hexdigest(),)
        return (*self._done, *last)


class Tally:
    """Counts and hashes a stream of known length, in a thread of its own, one block behind.

    A stream that goes on after `expected` bytes is cut off there: it may have no end.
    """

    def __init__(self, expected: int) -> None:
        self.expected = expected
        self.size_bytes = 0
        self._sha256 = hashlib.sha256()

    def watch(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the blocks unchanged."""
        pending: Future[None] | None = None
        with ThreadPoolExecutor(1) as hasher:
            for block in blocks:
                if pending:
                    pending.result()
                pending = hasher.submit(self._sha256.update, block)
                self.size_bytes += len(block)
                yield block
                if self.size_bytes > self.expected:
                    break

    @property
    def sha256(self) -> str:
        """Of all that was yielded, once the stream is at its end."""
        return self._sha256.hexdigest()


@dataclass(frozen=True)
class SampleRequest:
    """How much of the bytes to look at, and which: the same seed chooses the same blocks."""

    per_mille: int
    seed: int

    def choose(self, part: Part) -> list[int]:
        """Numbers of the blocks to read of one part, at least one of a part that has any."""
        count = -(-part.size_bytes // SAMPLE_BLOCK)
        wanted = min(count, max(1, -(-count * self.per_mille // 1000)))
        return sorted(random.Random(f"{self.seed}:{part.name}").sample(range(count), wanted))

    def record(self, parts: Iterable[Part]) -> Sample:
        """The sample as taken; the chance to see one damaged block is the share of blocks read."""
        parts = list(parts)
        chosen = sum(len(self.choose(p)) for p in parts)
        blocks = sum(-(-p.size_bytes // SAMPLE_BLOCK) for p in parts)
        return Sample(
            seed=self.seed,
            per_mille=self.per_mille,
            block_bytes=SAMPLE_BLOCK,
            detection_ppm=chosen * 1_000_000 // blocks if blocks else 0,
        )
