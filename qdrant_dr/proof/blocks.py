"""Samples of the blocks of a copy, compared with their digests.

A sample reads some blocks, chosen by a seed, and compares each with its digest in the manifest;
without these digests it could only show that the bytes can be read.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass

from qdrant_dr.digests import SAMPLE_BLOCK
from qdrant_dr.records import Part, Sample


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
