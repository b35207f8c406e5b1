"""The blocks of a damaged pack, found again: where recipes use them, and what others have there.

All recipes stay valid, because the pack is written anew under its name with the same numbers. A
block is believed by the SHA-256 in the pack's table or, where that is gone, because it was cut out
of a part whose bytes all equal its manifest's.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from qdrant_dr.errors import DRError
from qdrant_dr.vault.box import EMPTY, Block, Table, make_block
from qdrant_dr.vault.cut import cut
from qdrant_dr.vault.recipe import Recipe

LARGEST_RANGE = 8 * 2**20
"""Bytes of a part that are asked for at once."""


@dataclass(frozen=True, slots=True)
class Use:
    """Blocks of one pack that stand side by side in a part, and the byte of it they begin at."""

    folder: str
    part: str
    offset: int
    first: int
    count: int
    size: int

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.count)


@dataclass(frozen=True, slots=True)
class LostRange:
    """Bytes of a part that nobody has."""

    folder: str
    part: str
    start: int
    end: int


Fetch = Callable[[Use, int, int], Iterator[bytes]]
"""Gives bytes `start` to `end` of the part of a use, as one other repository after the other has
them."""


def uses_of(recipes: Iterable[Recipe], packs: Collection[str]) -> dict[str, list[Use]]:
    """Return where recipes use these packs, by pack. Pure."""
    found: defaultdict[str, list[Use]] = defaultdict(list)
    for recipe in recipes:
        wanted = {i for i, name in enumerate(recipe.packs) if name in packs}
        at = 0
        for step in recipe.steps() if wanted else ():
            if isinstance(step, bytes):
                at += len(step)
                continue
            if step.pack in wanted:
                use = Use(recipe.folder, recipe.part, at, step.first, step.blocks, step.size)
                found[recipe.packs[step.pack]].append(use)
            at += step.size
    return dict(found)


@dataclass(slots=True)
class Recovery:
    """One pack while its blocks are found again. `table` is None where it cannot be read."""

    uses: list[Use]
    table: Table | None
    found: dict[int, Block] = field(default_factory=dict)

    @property
    def missing(self) -> set[int]:
        """Return the numbers that recipes use and that were not found yet."""
        return {n for use in self.uses for n in use.numbers} - self.found.keys()

    @property
    def is_whole(self) -> bool:
        """Say whether every block that the table tells of was found, used or not."""
        table = self.table
        return table is not None and all(
            number in self.found for number in range(len(table)) if table[number].size
        )

    def take(self, number: int, data: bytes) -> bool:
        """Keep a block, if it is the one of the table."""
        if self.table is None or number >= len(self.table):
            return False
        entry = self.table[number]
        if len(data) != entry.size or hashlib.sha256(data).digest() != entry.sha256:
            return False
        self.found[number] = make_block(data)
        return True

    def ask(self, fetch: Fetch) -> None:
        """Ask others for the ranges of parts that missing blocks stand in."""
        for use in self.uses:
            for numbers, start, end in self._ranges(use):
                for data in fetch(use, start, end):
                    if self._split(numbers, data):
                        break

    def _ranges(self, use: Use) -> Iterator[tuple[list[int], int, int]]:
        """Missing blocks that stand side by side in a use, and which bytes of the part they are."""
        if self.table is None or use.first + use.count > len(self.table):
            return
        missing = self.missing
        together: list[int] = []
        start = at = use.offset
        for number in use.numbers:
            size = self.table[number].size
            if together and (number not in missing or at + size - start > LARGEST_RANGE):
                yield together, start, at
                together = []
            if number in missing:
                start = start if together else at
                together.append(number)
            at += size
        if together:
            yield together, start, at

    def _split(self, numbers: Iterable[int], data: bytes) -> bool:
        """Take what of these blocks is right; whether all of it is."""
        assert self.table is not None
        at, right = 0, True
        for number in numbers:
            size = self.table[number].size
            right &= self.take(number, data[at : at + size])
            at += size
        return right

    def blocks(self) -> list[Block]:
        """Return the blocks for the new pack: what nobody uses, and was not found, is empty."""
        known = len(self.table) if self.table is not None else 0
        size = max([known, *(n + 1 for n in self.found), *(u.first + u.count for u in self.uses)])
        return [self.found.get(number, EMPTY) for number in range(size)]

    def lost(self) -> list[LostRange]:
        """Return which bytes of which parts are not found."""
        missing, ranges = self.missing, []
        for use in self.uses:
            if missing.isdisjoint(use.numbers):
                continue
            at = use.offset
            whole = LostRange(use.folder, use.part, at, at + use.size)
            if self.table is None or use.first + use.count > len(self.table):
                ranges.append(whole)
                continue
            for number in use.numbers:
                size = self.table[number].size
                if number in missing:
                    ranges.append(LostRange(use.folder, use.part, at, at + size))
                at += size
        return _joined(ranges)


def _joined(ranges: Iterable[LostRange]) -> list[LostRange]:
    joined: list[LostRange] = []
    for lost in sorted(ranges, key=lambda r: (r.folder, r.part, r.start)):
        last = joined[-1] if joined else None
        if last and (last.folder, last.part, last.end) == (lost.folder, lost.part, lost.start):
            joined[-1] = LostRange(last.folder, last.part, last.start, lost.end)
        else:
            joined.append(lost)
    return joined


def recut(recipe: Recipe, stream: Iterable[bytes], bad: Mapping[str, Recovery]) -> bool:
    """Cut a whole part anew, and take the blocks that are missing. Say whether the part is cut as
    its recipe is.

    Nothing is taken before the stream has ended: it raises if its bytes are not the manifest's.
    """
    found: dict[tuple[str, int], Block] = {}
    missing = {name: recovery.missing for name, recovery in bad.items()}
    pieces = cut(stream)
    fits = True
    for step in recipe.steps():
        if isinstance(step, bytes):
            piece = next(pieces, None)
            fits = piece is not None and not piece.is_block and piece.data == step
        else:
            name, size = recipe.packs[step.pack], 0
            for number in range(step.first, step.first + step.blocks):
                piece = next(pieces, None)
                if piece is None or not piece.is_block:
                    fits = False
                    break
                size += len(piece.data)
                if number in missing.get(name, ()):
                    found[name, number] = make_block(piece.data)
            fits = fits and size == step.size
        if not fits:
            return False
    if any(True for _ in pieces):  # to its end: only that says that the bytes were right
        return False
    for (name, number), block in found.items():
        bad[name].found[number] = block
    return True


def recut_from_any(
    recipe: Recipe, streams: Iterable[Iterable[bytes]], bad: Mapping[str, Recovery]
) -> None:
    """The same with one stream after the other, until one is whole."""
    for stream in streams:
        try:
            if recut(recipe, stream, bad):
                return
        except DRError:
            continue  # another one may be whole; what is missing in the end is told
