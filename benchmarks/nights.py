"""365 nights of one collection in a chunked repository: what is stored, kept and read. Simulated.

The real `declined` decides; only the bytes are left out: a block is a number. Each night some
blocks change, anywhere or mostly in the newest tenth; the writer reuses the blocks of the two
nights before, but for those of declined packs, and appends the others to packs. "Kept" is what the
packs of 7 daily, 5 weekly and 12 monthly backups have, in archives (plain: 24); "read" is what the
packs have that the last backup touches, in archives.

With `QDRANT_BIN` also archives of a real server: BENCH_REAL_NIGHTS (16) nights of BENCH_POINTS
(100000) points of 128 dimensions, with HNSW graph and keyword index, of which 1 % is rewritten each
night. They are cut as they are stored, and the year goes on with what is measured of them
(`archives_of_nights`). BENCH_PACK_MIB (32) is the size of a pack: a tenth of it stands for ten
times the points.

BENCH_NIGHTS (365), BENCH_BLOCKS (50000; 0: real archives only).
"""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import machine
from benchmarks.archives_of_nights import Blocks, going_on, nightly_archives
from qdrant_dr.vault.box import BLOCK
from qdrant_dr.vault.decline import LEAST_USE, SHARE, PackUse, declined

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
    """The packs of one collection. A block is a number; `sizes` has the stored bytes of each."""

    sizes: np.ndarray
    share: float
    pack_bytes: int
    packs: np.ndarray = field(init=False, default_factory=lambda: np.zeros(0, np.int64))
    """The bytes of each pack."""
    stored: list[float] = field(init=False, default_factory=list)
    read: list[np.ndarray] = field(init=False, default_factory=list)
    """The packs that each backup takes blocks from."""
    _places: np.ndarray = field(init=False)
    _bases: deque[np.ndarray] = field(init=False, default_factory=lambda: deque(maxlen=2))

    def __post_init__(self) -> None:
        self._places = np.full(len(self.sizes), -1)

    def night(self, blocks: np.ndarray) -> None:
        """Back up: reuse the blocks of the nearest two backups, but for those of packs that are
        declined, and store the others."""
        stream = int(self.sizes[blocks].sum())
        based = np.zeros(len(self.sizes), bool)
        for base in self._bases:
            based[base] = True
        used = np.bincount(
            self._places[based], weights=self.sizes[based], minlength=len(self.packs)
        )
        uses = [
            PackUse(str(pack), int(self.packs[pack]), int(used[pack]))
            for pack in np.flatnonzero(used).tolist()
        ]
        names = declined(uses, stream_bytes=stream, share=self.share)
        used[[int(name) for name in names]] = 0
        places = self._places[blocks]
        again = (places < 0) | (np.append(used, 0)[places] == 0)
        new = blocks[again]
        self._store(new)
        self.stored.append(int(self.sizes[new].sum()) / stream)
        self.read.append(np.flatnonzero(np.bincount(self._places[blocks])))
        self._bases.append(blocks)

    def _store(self, new: np.ndarray) -> None:
        if len(new):
            sizes = self.sizes[new]
            pack = (np.cumsum(sizes) - sizes) // self.pack_bytes
            self._places[new] = len(self.packs) + pack
            filled = np.bincount(pack, weights=sizes).astype(np.int64)
            self.packs = np.concatenate((self.packs, filled))


def _simulated(blocks: int, churn: float, *, newest: bool, nights: int) -> Iterator[np.ndarray]:
    chance = np.random.default_rng(7)
    now = np.arange(blocks)
    yield now
    number = round(blocks * churn)
    for night in range(nights):
        late = number * 9 // 10 if newest else 0
        anywhere = chance.integers(0, blocks, number - late)
        changed = np.concatenate((anywhere, chance.integers(blocks * 9 // 10, blocks, late)))
        now = now.copy()
        now[changed] = np.arange(number) + (blocks + night * number)
        yield now


def _print_year(
    name: str, nights: Iterable[np.ndarray], sizes: np.ndarray, pack_bytes: int
) -> None:
    years = [Year(sizes, share, pack_bytes) for share in SHARES]
    for blocks in nights:
        for year in years:
            year.night(blocks)
    archive = sizes[blocks].sum()
    for year in years:
        last = year.read[-1]
        kept = np.unique(
            np.concatenate([year.read[-1 - day] for day in DAYS if day < len(year.read)])
        )
        default = " (default)" if year.share == SHARE else ""
        print(
            f"nights: {name}, at most {year.share:.0%} a night{default}: stored "
            f"{np.mean(year.stored[1:]):.1%} a night, read "
            f"{year.packs[last].sum() / archive:.1f}, {len(last)} packs, "
            f"kept {year.packs[kept].sum() / archive:.1f}",
            flush=True,
        )


def _print_real(nights: int, pack_bytes: int) -> None:
    """The same of archives of a real server, as far as they go, and of a year that goes on."""
    points = int(os.environ.get("BENCH_POINTS", "100000"))
    real = int(os.environ.get("BENCH_REAL_NIGHTS", "16"))
    blocks = Blocks()
    with TemporaryDirectory(prefix="qdr-bench-") as folder:
        found = []
        for archive in nightly_archives(Path(folder), points, real):
            found.append(blocks.of_archive(archive))
            archive.unlink()
    size = sum(blocks.sizes[b] for b in found[-1].tolist()) / 2**20
    last = f"the last of {len(found[-1])} blocks, {size:.0f} MiB stored"
    print(f"nights: {real} archives of Qdrant, {points} x 128, {last}", flush=True)
    _print_kinds(found, blocks)
    _print_year(f"{real} real nights", found, np.array(blocks.sizes), pack_bytes)
    chance = np.random.default_rng(7)
    year = list(going_on(found, blocks, nights + 1, chance))
    _print_year(f"{nights} nights like them", year, np.array(blocks.sizes), pack_bytes)


def _print_kinds(nights: Sequence[np.ndarray], blocks: Blocks) -> None:
    """What a night brings, by the file it comes from: the mean of all but the first."""
    new: Counter[str] = Counter()
    seen = set(nights[0].tolist())
    for night in nights[1:]:
        for block in set(night.tolist()) - seen:
            new[blocks.kinds[block]] += blocks.sizes[block]
        seen |= set(night.tolist())
    for kind, size in new.most_common(6):
        there = sum(blocks.sizes[b] for b in nights[-1].tolist() if blocks.kinds[b] == kind)
        each = size / (len(nights) - 1)
        print(f"  {kind:<24} {there / 2**20:7.1f} MiB, {each / 2**20:6.2f} new a night")


def main() -> None:
    """Print a row for each kind of churn and share that may be declined."""
    nights = int(os.environ.get("BENCH_NIGHTS", "365"))
    blocks = int(os.environ.get("BENCH_BLOCKS", "50000"))
    pack_bytes = int(float(os.environ.get("BENCH_PACK_MIB", "32")) * 2**20)
    print(machine(f"{blocks} blocks, {nights} nights, declined below {LEAST_USE:.0%} use"))
    for name, churn, newest in CHURN if blocks else ():
        sizes = np.full(blocks + nights * round(blocks * churn), BLOCK)
        year = _simulated(blocks, churn, newest=newest, nights=nights)
        _print_year(name, year, sizes, pack_bytes)
    if os.environ.get("QDRANT_BIN"):
        _print_real(nights, pack_bytes)
    else:
        print("nights: skipped: archives of a real server need QDRANT_BIN")


if __name__ == "__main__":
    main()
