"""Read a part back out of packs, in the order of the stream, without a disk.

The recipe is read in windows of some MiB: what a window needs of a pack is joined into few ranges,
fetched side by side while the window before is handed out. Decoded blocks are kept as long as there
is room, since a block may come again soon.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from qdrant_dr.errors import BlockMissing, BoxDamaged, BytesDiffer, ObjectMissing, RecipeDamaged
from qdrant_dr.stores.base import Stat, Store
from qdrant_dr.vault.box import Table, open_block
from qdrant_dr.vault.master_key import Keyring
from qdrant_dr.vault.recipe import Recipe, Run
from qdrant_dr.vault.tables import Tables, read_piece

WINDOW = 8 * 2**20
"""Bytes of the stream that are fetched at once."""
GAP = 256 * 1024
"""Bytes that are fetched for nothing rather than asked for in two requests."""
LARGEST_RANGE = 8 * 2**20
CACHE = 32 * 2**20
_SIDE_BY_SIDE = 8
_HANDED = 2**20

Block = tuple[str, int]
"""The name of a pack, and a number in it."""
Instead = Callable[[BoxDamaged, int], bytes]
"""Is given an error and how many bytes are missing for it: returns what stands for them."""


@dataclass(slots=True)
class _Piece:
    """Bytes of the stream: of a block or literal, from `start` to `stop` of it."""

    source: bytes | Block
    start: int
    stop: int
    size: int
    """Of all of the block or literal."""


@dataclass(slots=True)
class _Window:
    """Consecutive pieces, and where each block of them comes from."""

    pieces: list[_Piece] = field(default_factory=list)
    size: int = 0
    blocks: dict[Block, bytes | Future[dict[Block, bytes]]] = field(default_factory=dict)


class PartReader:
    """Reads one part, once. `listed` are the packs of its collection, `path` is where each lies.

    With `instead`, what cannot be read does not end it.
    """

    def __init__(
        self,
        store: Store,
        keys: Keyring | None,
        tables: Tables,
        recipe: Recipe,
        listed: Mapping[str, Stat],
        path: Callable[[str], str],
        instead: Instead | None = None,
    ) -> None:
        self._store, self._keys, self._tables = store, keys, tables
        self._recipe, self._listed, self._path = recipe, dict(listed), path
        self._instead = instead
        self._cache: OrderedDict[Block, bytes] = OrderedDict()
        self._cached = 0

    def read(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from `start` up to `end`. Raise BoxDamaged and what a store raises."""
        end = self._recipe.size_bytes if end is None else min(end, self._recipe.size_bytes)
        pool = ThreadPoolExecutor(_SIDE_BY_SIDE, thread_name_prefix="packs")
        try:
            before = _Window()
            for window in self._windows(start, end):
                self._fetch(window, before, pool)
                yield from self._hand_out(before)
                before = window
            yield from self._hand_out(before)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _windows(self, start: int, end: int) -> Iterator[_Window]:
        """What lies between two bytes of the stream."""
        window = _Window()
        for at, size, source in self._sources(start, end):
            if at + size <= start or at >= end:
                continue
            piece = _Piece(source, max(0, start - at), min(size, end - at), size)
            window.pieces.append(piece)
            window.size += piece.stop - piece.start
            if window.size >= WINDOW:
                yield window
                window = _Window()
        if window.pieces:
            yield window

    def _sources(self, start: int, end: int) -> Iterator[tuple[int, int, bytes | Block]]:
        """Where each literal and each block begins, its size, and what it is; what lies before
        `start` may be left out."""
        at = 0
        for step in self._recipe.steps():
            if at >= end:
                return
            size = len(step) if isinstance(step, bytes) else step.size
            if isinstance(step, bytes):
                yield at, size, step
            elif at + size > start:
                here = at
                for source, length in self._blocks(step):
                    yield here, length, source
                    here += length
            at += size

    def _blocks(self, run: Run) -> Iterator[tuple[bytes | Block, int]]:
        name = self._recipe.packs[run.pack]
        try:
            sizes = self._sizes(name, run)
        except BoxDamaged as e:
            left = run.size
            while left:  # how it is divided is not known
                size = min(left, _HANDED)
                yield self._replace(e, size), size
                left -= size
            return
        for number, size in enumerate(sizes, run.first):
            yield (name, number), size

    def _sizes(self, pack: str, run: Run) -> list[int]:
        rows = self._table(pack).rows["size"][run.first : run.first + run.blocks]
        if len(rows) < run.blocks or not rows.all():
            raise BlockMissing(f"{self._path(pack)} lacks blocks that a recipe takes from it")
        if int(rows.sum(dtype=np.int64)) != run.size:
            raise RecipeDamaged(
                f"{self._recipe.part} of {self._recipe.folder}: its recipe takes {run.size} bytes "
                f"in {run.blocks} blocks from {self._path(pack)}, which has others there"
            )
        sizes: list[int] = rows.tolist()
        return sizes

    def _table(self, pack: str) -> Table:
        if pack not in self._listed:  # a list may be older than the pack
            self._look_again(pack)
        if (there := self._listed.get(pack)) is None:
            raise BlockMissing(f"{self._path(pack)} is not there")
        try:
            return self._tables.of(there)
        except BoxDamaged:  # a repair may have rewritten it since it was listed
            self._look_again(pack)
            return self._tables.of(self._listed[pack])

    def _replace(self, error: BoxDamaged, size: int) -> bytes:
        if self._instead is None:
            raise error
        return self._instead(error, size)

    def _fetch(self, window: _Window, before: _Window, pool: ThreadPoolExecutor) -> None:
        """Begin to fetch what is neither at hand nor on its way."""
        wanted: defaultdict[str, dict[int, int]] = defaultdict(dict)
        for piece in window.pieces:
            block = piece.source
            if isinstance(block, bytes) or block in window.blocks:
                continue
            if block in self._cache:
                self._cache.move_to_end(block)
                window.blocks[block] = self._cache[block]
            elif block in before.blocks:
                window.blocks[block] = before.blocks[block]
            else:
                wanted[block[0]][block[1]] = piece.size
        for pack, sizes in wanted.items():
            numbers = sorted(sizes)
            try:
                ranges = list(joined(numbers, self._table(pack)))
            except BoxDamaged:
                ranges = [tuple(numbers)]  # whoever fetches it says what is missing
            for together in ranges:
                fetched = pool.submit(self._fetch_range, pack, {n: sizes[n] for n in together})
                window.blocks.update(dict.fromkeys(((pack, n) for n in together), fetched))

    def _hand_out(self, window: _Window) -> Iterator[bytes]:
        out: list[bytes] = []
        size = 0
        for piece in window.pieces:
            data = piece.source
            if not isinstance(data, bytes):
                data = self._block(window, data)
            out.append(data[piece.start : piece.stop])
            size += piece.stop - piece.start
            if size >= _HANDED:
                yield b"".join(out)
                out, size = [], 0
        if out:
            yield b"".join(out)
        for block in window.blocks:
            self._keep(block, self._block(window, block))

    def _block(self, window: _Window, block: Block) -> bytes:
        found = window.blocks[block]
        if not isinstance(found, bytes):
            found = window.blocks[block] = found.result()[block]
        return found

    def _keep(self, block: Block, data: bytes) -> None:
        if block in self._cache:
            return
        self._cache[block] = data
        self._cached += len(data)
        while self._cached > CACHE:
            self._cached -= len(self._cache.popitem(last=False)[1])

    def _fetch_range(self, pack: str, sizes: Mapping[int, int]) -> dict[Block, bytes]:
        """Read blocks that stand close together; what is wrong is looked at once more, since a
        repair may have rewritten the pack meanwhile."""
        try:
            return self._read_range(pack, sizes, self._refuse)
        except BoxDamaged:
            self._look_again(pack)
        return self._read_range(pack, sizes, self._replace)

    def _read_range(
        self, pack: str, sizes: Mapping[int, int], instead: Instead
    ) -> dict[Block, bytes]:
        """Read blocks by number, in order; their sizes are for what stands `instead` of them."""
        path, first, last = self._path(pack), min(sizes), max(sizes)
        try:
            table = self._table(pack)
            if len(table) <= last:
                raise BlockMissing(f"{path} has {len(table)} blocks, and no block {last}")
            offsets = table.offsets
            start = int(offsets[first])
            data = read_piece(self._store, path, start, int(offsets[last + 1]))
        except BoxDamaged as e:
            return {(pack, number): instead(e, size) for number, size in sizes.items()}
        found: dict[Block, bytes] = {}
        for number, size in sizes.items():
            stored = data[int(offsets[number]) - start : int(offsets[number + 1]) - start]
            try:
                found[pack, number] = open_block(path, table, number, stored, self._keys)
            except BoxDamaged as e:
                found[pack, number] = instead(e, size)
        return found

    def _refuse(self, error: BoxDamaged, size: int) -> bytes:  # noqa: ARG002 -- as `instead`
        raise error

    def _look_again(self, pack: str) -> None:
        there = self._store.stat(self._path(pack))
        if there is not None:
            if pack in self._listed:
                self._tables.forget(self._listed[pack])
            self._listed[pack] = there


@contextmanager
def blaming(what: str) -> Iterator[None]:
    """Raise ObjectMissing for a block that is gone, BytesDiffer for one that is damaged: they are
    of `what`."""
    try:
        yield
    except BlockMissing as e:
        raise ObjectMissing(f"{what}: {e.message}") from None
    except BoxDamaged as e:
        raise BytesDiffer(f"{what}: {e.message}") from None


def joined(numbers: list[int], table: Table) -> Iterator[tuple[int, ...]]:
    """Join blocks of one pack, in order, into ranges worth one request each. Pure."""
    offsets = table.offsets
    together: list[int] = []
    for number in numbers:
        if together:
            apart = int(offsets[number] - offsets[together[-1] + 1])
            size = int(offsets[number + 1] - offsets[together[0]])
            if apart > GAP or size > LARGEST_RANGE:
                yield tuple(together)
                together = []
        together.append(number)
    if together:
        yield tuple(together)
