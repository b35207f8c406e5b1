"""Copy a part from one chunked repository to another: only blocks that the other lacks are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from qdrant_dr.errors import BlockMissing, DRError
from qdrant_dr.vault.box import Block, Table
from qdrant_dr.vault.cut import Piece
from qdrant_dr.vault.cut_once import Digested
from qdrant_dr.vault.known_blocks import Pack
from qdrant_dr.vault.recipe import Recipe, RecipeBuilder
from qdrant_dr.vault.sink import PartWriter, PieceOf

_AT_ONCE = 4096
"""Blocks that are looked up before those that are missing are read."""
_TOGETHER = 16


@dataclass(frozen=True, slots=True)
class Held:
    """A block that is there already, or comes again: nothing of it was read."""

    sha256: bytes
    is_block: bool = True
    data: bytes = b""

    def compress(self) -> None:
        pass

    def block(self) -> Block:
        raise BlockMissing(
            f"block {self.sha256.hex()[:12]} was there a moment ago, and is gone",
            "run it again: it is stored anew.",
        )


class _Row(NamedTuple):
    """One block of a part, and where it lies."""

    pack: str
    number: int
    size: int
    sha256: bytes


class PartBlocks:
    """A part in a chunked repository, block by block.

    `table_of` gives the table of a pack by its name, `read` the bytes of any recipe of its packs.
    `fault` is what reading raised: who also writes tells by it whose error it is.
    """

    def __init__(
        self,
        recipe: Recipe,
        table_of: Callable[[str], Table],
        read: Callable[[Recipe], Iterator[bytes]],
    ) -> None:
        self.recipe = recipe
        self.bytes_read = 0
        self.fault: DRError | None = None
        self.table_of, self._read = table_of, read

    def copy_to(self, writer: PartWriter) -> Iterator[bytes]:
        """Write the part, and yield what is read for it. Raise what either repository raises."""
        for pieces in self._windows():
            lacking = self._lacking(pieces, writer)
            blocks = self._blocks(pieces, lacking)
            together: list[PieceOf] = []
            for number, piece in enumerate(pieces):
                if isinstance(piece, bytes):
                    together.append(Digested(Piece(piece, is_block=False)))
                elif number in lacking:
                    data = next(blocks)
                    together.append(Digested(Piece(data, is_block=True)))
                    yield data
                else:
                    together.append(Held(piece.sha256))
                if len(together) == _TOGETHER:
                    writer.add(together)
                    together = []
            writer.add(together)
            writer.settle()  # what comes again in the next window is known there
            yield b""

    def _windows(self) -> Iterator[list[bytes | _Row]]:
        """The literals and blocks of the part, in order."""
        found: list[bytes | _Row] = []
        for step in self.recipe.steps():
            if isinstance(step, bytes):
                found.append(step)
            else:
                name = self.recipe.packs[step.pack]
                rows = self._told(name).rows[step.first : step.first + step.blocks]
                for number, (size, sha256) in enumerate(
                    zip(rows["size"].tolist(), rows["sha256"], strict=True), step.first
                ):
                    found.append(_Row(name, number, size, sha256.tobytes()))
            if len(found) >= _AT_ONCE:
                yield found
                found = []
        if found:
            yield found

    def _told(self, pack: str) -> Table:
        try:
            return self.table_of(pack)
        except DRError as e:
            self.fault = e
            raise

    @staticmethod
    def _lacking(pieces: list[bytes | _Row], writer: PartWriter) -> frozenset[int]:
        """Which of these blocks the writer needs, each once."""
        numbers: list[int] = []
        wanted: set[bytes] = set()
        to_mark = not writer.is_marked
        for number, piece in enumerate(pieces):
            if isinstance(piece, bytes) or piece.sha256 in wanted:
                continue
            if to_mark or not writer.holds(piece.sha256):
                numbers.append(number)
                wanted.add(piece.sha256)
                to_mark = False
        return frozenset(numbers)

    def _blocks(self, pieces: list[bytes | _Row], lacking: frozenset[int]) -> Iterator[bytes]:
        """Read those blocks, in order."""
        wanted = [pieces[number] for number in sorted(lacking)]
        builder, packs = RecipeBuilder(), dict[str, Pack]()
        sizes: list[int] = []
        for row in wanted:
            assert not isinstance(row, bytes)
            pack = packs.setdefault(row.pack, Pack(row.pack))
            builder.add_block(pack, row.number, row.size)
            sizes.append(row.size)
        recipe = builder.finish(self.recipe.folder, self.recipe.part, self.recipe.sha256)
        held = b""
        stream = self._read(recipe)
        try:
            for size in sizes:
                while len(held) < size:
                    held += next(stream)
                self.bytes_read += size
                yield held[:size]
                held = held[size:]
        except DRError as e:
            self.fault = e
            raise
