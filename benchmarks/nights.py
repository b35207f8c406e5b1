"""365 nights of one collection in a chunked repository: what is stored, kept and read. Simulated.

The real `declined` decides; only the bytes are left out: a block is a number. Each night some
blocks change, anywhere or mostly in the newest tenth; the writer reuses the blocks of the night
before, but for those of declined packs, and appends the others to packs. "Kept" is what the packs
of 7 daily, 5 weekly and 12 monthly backups have, in archives (plain: 24); "read" is what the packs
have that the last backup touches, in archives.

BENCH_NIGHTS (365), BENCH_BLOCKS (50000).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from benchmarks import machine
from qdrant_dr.vault.box import BLOCK
from qdrant_dr.vault.decline import LEAST_USE, SHARE, PackUse, declined

PACK = 512
"""Blocks of 64 KiB in 32 MiB."""
DAYS = [*range(7), *range(7, 42, 7), *range(30, 390, 30)]
"""How old, in nights, the backups are that retention keeps."""
CHURN = (
    ("1.5 % anywhere", 0.015, False),
    ("1.4 %, nine tenths in the newest tenth", 0.014, True),
    ("0.5 % anywhere", 0.005, False),
    ("0.1 % anywhere", 0.001, False),
)
SHARES = (0.0, SHARE / 5, SHARE, 1.0)


@dataclass
class Year:
    """The packs of one collection: `places` is the pack of each block of the last backup."""

    blocks: int
    share: float
    places: np.ndarray = field(init=False)
    sizes: list[int] = field(init=False, default_factory=list)
    stored: list[float] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.places = np.zeros(self.blocks, np.int64)
        self._store(np.arange(self.blocks))

    def night(self, changed: np.ndarray) -> None:
        """Store what changed, and what the packs that are declined have."""
        used = np.bincount(self.places)
        uses = [
            PackUse(str(pack), self.sizes[pack] * BLOCK, int(used[pack]) * BLOCK)
            for pack in np.flatnonzero(used).tolist()
        ]
        names = declined(uses, stream_bytes=self.blocks * BLOCK, share=self.share)
        again = np.isin(self.places, [int(name) for name in names])
        again[changed] = True
        new = np.flatnonzero(again)
        self.stored.append(len(new) / self.blocks)
        self._store(new)

    @property
    def touched(self) -> frozenset[int]:
        """Return the packs that the last backup takes blocks from."""
        return frozenset(np.unique(self.places).tolist())

    def archives(self, packs: frozenset[int]) -> float:
        """Return the blocks of some packs, in archives."""
        return sum(self.sizes[pack] for pack in packs) / self.blocks

    def _store(self, new: np.ndarray) -> None:
        for at in range(0, len(new), PACK):
            some = new[at : at + PACK]
            self.places[some] = len(self.sizes)
            self.sizes.append(len(some))


def _changes(blocks: int, churn: float, *, newest: bool, nights: int) -> Iterator[np.ndarray]:
    chance = np.random.default_rng(7)
    for _ in range(nights):
        number = round(blocks * churn)
        late = number * 9 // 10 if newest else 0
        anywhere = chance.integers(0, blocks, number - late)
        yield np.concatenate((anywhere, chance.integers(blocks * 9 // 10, blocks, late)))


def main() -> None:
    """Print a row for each kind of churn and share that may be declined."""
    nights = int(os.environ.get("BENCH_NIGHTS", "365"))
    blocks = int(os.environ.get("BENCH_BLOCKS", "50000"))
    print(machine(f"{blocks} blocks, {nights} nights, declined below {LEAST_USE:.0%} use"))
    for name, churn, newest in CHURN:
        for share in SHARES:
            year = Year(blocks, share)
            touched = [year.touched]
            for changed in _changes(blocks, churn, newest=newest, nights=nights):
                year.night(changed)
                touched.append(year.touched)
            kept = frozenset().union(*(touched[-1 - day] for day in DAYS if day <= nights))
            default = " (default)" if share == SHARE else ""
            print(
                f"nights: {name}, at most {share:.0%} a night{default}: stored "
                f"{np.mean(year.stored):.1%} a night, read {year.archives(touched[-1]):.1f}, "
                f"{len(touched[-1])} packs, kept {year.archives(kept):.1f}"
            )


if __name__ == "__main__":
    main()
