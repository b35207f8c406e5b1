"""Put a part together in a file: each of its packs is read once, as a whole, several at a time.

In the order of the stream a pack is asked for again in every window that takes something from it.
Where old nights lie scattered, that is many more requests than there are packs.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from qdrant_dr.errors import BlockMissing, BoxDamaged, ObjectMissing, RecipeDamaged
from qdrant_dr.stores.base import Store
from qdrant_dr.vault.box import open_block, read_table
from qdrant_dr.vault.master_key import Keyring
from qdrant_dr.vault.reader import WINDOW
from qdrant_dr.vault.recipe import Recipe, Run

AT_ONCE = 4
"""Packs in memory at a time: 128 MiB."""
OFTEN = 3
"""Times the requests of a part that lies in order, from which on packs are read whole."""
_HANDED = 2**20


@dataclass(frozen=True, slots=True)
class Scatter:
    """How a part lies in its packs: how many there are, in how many requests they are read in the
    order of the stream, at least, and in how many if each lay there in one piece."""

    packs: int
    requests: int
    in_order: int

    @property
    def is_wide(self) -> bool:
        """Say whether it is better to read packs as a whole."""
        return self.requests > OFTEN * self.in_order


def scatter_of(recipe: Recipe) -> Scatter:
    """Count the windows of the stream that take something from each pack. Pure."""
    asked: set[tuple[int, int]] = set()
    used = [0] * len(recipe.packs)
    at = 0
    for step in recipe.steps():
        size = len(step) if isinstance(step, bytes) else step.size
        if isinstance(step, Run):
            used[step.pack] += size
            for window in range(at // WINDOW, (at + size - 1) // WINDOW + 1):
                asked.add((step.pack, window))
        at += size
    return Scatter(len(used), len(asked), sum(1 - -size // WINDOW for size in used))


@dataclass(frozen=True, slots=True)
class WholePacks:
    """Where the packs of a part are: each at the `path` of its name."""

    store: Store
    keys: Keyring | None
    path: Callable[[str], str]

    def put_together(self, recipe: Recipe, file: Path) -> Iterator[bytes]:
        """Write the part into a new file. Yield nothing once for each pack, so that whoever waits
        can end it. Raise BoxDamaged and what a store raises; the file stays."""
        runs: defaultdict[str, list[tuple[int, Run]]] = defaultdict(list)
        out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.truncate(out, recipe.size_bytes)
            at = 0
            for step in recipe.steps():
                if isinstance(step, bytes):
                    os.pwrite(out, step, at)
                    at += len(step)
                else:
                    runs[recipe.packs[step.pack]].append((at, step))
                    at += step.size
            with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="packs") as pool:
                try:
                    for _ in pool.map(lambda name: self._take(name, runs[name], out), list(runs)):
                        yield b""
                finally:
                    pool.shutdown(cancel_futures=True)
        finally:
            os.close(out)

    def _take(self, name: str, runs: list[tuple[int, Run]], out: int) -> None:
        """Take what is needed of one pack; what is wrong is looked at once more, since a repair may
        have rewritten the pack while it was read."""
        try:
            self._write(name, runs, out)
        except BoxDamaged:
            self._write(name, runs, out)

    def _write(self, name: str, runs: list[tuple[int, Run]], out: int) -> None:
        path = self.path(name)
        try:
            data = b"".join(self.store.read_range(path))
        except ObjectMissing:
            raise BlockMissing(f"{path} is not there") from None
        table = read_table(path, data, len(data), self.keys)
        offsets = table.offsets
        for start, run in runs:
            at = start
            for number in range(run.first, run.first + run.blocks):
                if number >= len(table):
                    raise BlockMissing(f"{path} has {len(table)} blocks, and no block {number}")
                stored = data[int(offsets[number]) : int(offsets[number + 1])]
                block = open_block(path, table, number, stored, self.keys)
                if at + len(block) > start + run.size:
                    break
                os.pwrite(out, block, at)
                at += len(block)
            if at != start + run.size:
                raise RecipeDamaged(
                    f"{path}: a recipe takes {run.size} bytes in {run.blocks} blocks from it, and "
                    "it has others there"
                )


def hand_out(file: Path) -> Iterator[bytes]:
    """Yield the bytes of a file, which is removed at the end."""
    try:
        with file.open("rb") as opened:
            while data := opened.read(_HANDED):
                yield data
    finally:
        file.unlink(missing_ok=True)
