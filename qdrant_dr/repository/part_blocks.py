"""A part of a chunked repository as blocks, for another one to take those that it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from qdrant_dr import layout
from qdrant_dr.errors import BlockMissing
from qdrant_dr.records import BackupKey, Part
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.vault.box import Table
from qdrant_dr.vault.copy_blocks import PartBlocks
from qdrant_dr.vault.reader import PartReader, blaming
from qdrant_dr.vault.recipe import Recipe
from qdrant_dr.vault.tables import Tables


def part_blocks(vault: ChunkedRepository, key: BackupKey, part: Part) -> PartBlocks:
    """Return a part block by block. What tells of its blocks may be remembered; what is read is
    checked. Raise what `read_recipe` raises; reading raises what `read_part` does."""
    path = partial(layout.pack, key.cluster, key.collection)
    what = f"{part.file} of {key} in {vault.name}"
    listed, tables = vault.list_packs(key), Tables(vault.store, vault.keys)

    def table_of(name: str) -> Table:
        with blaming(what):
            if name not in listed:
                raise BlockMissing(f"{path(name)} is not there")
            return vault.known_table_of(listed[name])

    def read(recipe: Recipe) -> Iterator[bytes]:
        with blaming(what):
            yield from PartReader(vault.store, vault.keys, tables, recipe, listed, path).read()

    return PartBlocks(vault.read_recipe(key, part.file), table_of, read)
