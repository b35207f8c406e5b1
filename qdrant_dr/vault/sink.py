"""A part being written into a chunked repository: new blocks into packs, its recipe last."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from qdrant_dr.errors import BlockMissing, PlanRefused, Stalled
from qdrant_dr.quantities import format_size
from qdrant_dr.records.base import LARGEST
from qdrant_dr.stores.bandwidth import BandwidthLimit, Resting
from qdrant_dr.stores.base import Stat, Store, fill
from qdrant_dr.vault.box import Block, Table, seal_bytes
from qdrant_dr.vault.cut_once import CutOnce
from qdrant_dr.vault.known_blocks import KnownBlocks, Pack, Place
from qdrant_dr.vault.master_key import Keyring
from qdrant_dr.vault.pack_writer import PackPlaces, PackWriter
from qdrant_dr.vault.recipe import RecipeBuilder

_AHEAD = 4
"""Buffers of the stream whose blocks are compressed while the one before them is packed."""


@dataclass(frozen=True, slots=True)
class RecipePlace:
    """Where the recipe goes, and of what it is. `replace`: a repair puts it in the place of what is
    there, and marks it so: at least one block lies in a pack of the repair."""

    path: str
    folder: str
    part: str
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Vault:
    """What a sink needs of its repository: the blocks that it holds, names for new packs, the packs
    as they are listed now; nothing is committed after `until`."""

    store: Store
    keys: Keyring | None
    known: KnownBlocks
    places: PackPlaces
    listed: Callable[[], dict[str, Stat]]
    until: datetime
    limit: BandwidthLimit | None = None
    written: Callable[[str], None] | None = None
    """Is told the name of each pack that was written."""


class PieceOf(Protocol):
    """A piece of a part; a block has its SHA-256, and is compressed when it is to be stored."""

    @property
    def is_block(self) -> bool: ...
    @property
    def sha256(self) -> bytes: ...
    @property
    def data(self) -> bytes:
        """Return the bytes of a literal."""
        ...

    def compress(self) -> object: ...
    def block(self) -> Block: ...


class PartWriter(Resting):
    """Stores the blocks of one part that are not there yet, then its recipe. Nothing is visible
    before `finish`: packs alone are no part of anything."""

    def __init__(self, vault: Vault, place: RecipePlace) -> None:
        super().__init__()
        self._vault, self._place = vault, place
        self._packs = PackWriter(
            vault.store, vault.places, vault.keys, pace=self._pace, written=self._written
        )
        self._recipe = RecipeBuilder()
        self._begun: deque[Sequence[PieceOf]] = deque()
        self._ended = False
        self._unmarked = place.replace

    @property
    def is_marked(self) -> bool:
        """Say whether the recipe has the mark of a repair by now, or needs none: until then the
        next block is stored, known or not."""
        return not self._unmarked

    def holds(self, sha256: bytes) -> bool:
        """Say whether a block is there already."""
        return self._find(sha256) is not None

    def add(self, pieces: Sequence[PieceOf]) -> None:
        """Append what comes next. What is new is compressed while what came before is packed."""
        for piece in pieces:
            if piece.is_block and self._find(piece.sha256) is None:
                piece.compress()
        self._begun.append(pieces)
        if len(self._begun) > _AHEAD:
            self._take(self._begun.popleft())

    def settle(self) -> None:
        """Know where each block lies that was added."""
        while self._begun:
            self._take(self._begun.popleft())

    def finish(self, size_bytes: int, sha256: str) -> None:
        """Send what is left, ask for every pack again, then write the recipe."""
        self.settle()
        self._packs.finish()
        recipe = self._recipe.finish(self._place.folder, self._place.part, sha256)
        if recipe.size_bytes != size_bytes:
            raise Stalled(
                f"{self._place.part} has {size_bytes} bytes, and its recipe makes "
                f"{recipe.size_bytes}: it is not written"
            )
        text = recipe.to_bytes()
        if len(text) > LARGEST:
            raise PlanRefused(
                f"{self._place.part} is so scattered that its recipe has "
                f"{format_size(len(text))}, at most {format_size(LARGEST)} are written",
                "use a repository of layout `plain` for this collection.",
            )
        self._refuse_missing()
        if datetime.now(UTC) > self._vault.until:
            raise PlanRefused(
                f"{self._place.part} took so long that blocks it relies on may be swept by now: "
                "its recipe is not written any more",
                "find out what took so long, then run it again: what was stored is found again.",
            )
        store, path = self._vault.store, self._place.path
        box = seal_bytes(path, text, self._vault.keys)
        if self._place.replace:
            fill(store.sink(path, size_hint=len(box), replace=True), [box])
        else:
            store.create(path, box)
        self._ended = True

    def abort(self) -> None:
        """Leave what was sent to a sweep, or to the next run: it may be in use already."""
        self._begun.clear()
        if not self._ended:
            self._packs.leave()

    def _take(self, pieces: Sequence[PieceOf]) -> None:
        for piece in pieces:
            if not piece.is_block:
                self._recipe.add_bytes(piece.data)
                continue
            place = None if self._unmarked else self._find(piece.sha256)
            place = place or self._packs.add(piece.block())
            self._unmarked = False
            self._recipe.add_block(place.pack, place.number, place.size)

    def _find(self, sha256: bytes) -> Place | None:
        return self._packs.find(sha256) or self._vault.known.find(sha256)

    def _written(self, pack: Pack, table: Table) -> None:
        self._vault.known.add(pack, table)
        if self._vault.written is not None:
            self._vault.written(pack.name)

    def _pace(self, size: int) -> bool:
        limit = self._vault.limit
        return limit is None or self.rest(limit.reserve(size))

    def _refuse_missing(self) -> None:
        """Raise BlockMissing unless every pack that the recipe names is what it was."""
        listed = self._vault.listed()
        for pack in self._recipe.packs:
            there = listed.get(pack.name)
            if there is None or pack.stat is None or not _same(there, pack.stat):
                raise BlockMissing(
                    f"repository {self._vault.store.name}: pack {pack.name} "
                    f"{'is gone' if there is None else 'was changed'} while "
                    f"{self._place.part} was written",
                    "run it again: the blocks are stored anew.",
                )


class ChunkedSink(PartWriter):
    """A part that comes as a stream, which is cut here."""

    def __init__(self, vault: Vault, place: RecipePlace, stream: CutOnce) -> None:
        super().__init__(vault, place)
        self._stream = stream
        self._buffers = 0

    def write(self, block: bytes) -> None:
        self.add(self._stream.pieces(self._buffers, block))
        self._buffers += 1

    def commit(self) -> None:
        self.add(self._stream.pieces(self._buffers, None))
        self.finish(self._stream.size_bytes, self._stream.sha256)


def _same(a: Stat, b: Stat) -> bool:
    """Whether both are of one object. Time decides only where there are no marks, and by whole
    seconds if one of them has no finer ones: MinIO lists milliseconds, and asked it gives none."""
    if a.size_bytes != b.size_bytes:
        return False
    if a.mark and b.mark:
        return a.mark == b.mark
    if a.modified_at.microsecond and b.modified_at.microsecond:
        return a.modified_at == b.modified_at
    return a.modified_at.replace(microsecond=0) == b.modified_at.replace(microsecond=0)
