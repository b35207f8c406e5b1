"""Equal compositions make equal bytes, however blocks are spread over packs and runs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.errors import BlockMissing
from qdrant_dr.vault.box import EMPTY, Block, Table, build_box, make_block, read_table
from qdrant_dr.vault.composition import composition
from qdrant_dr.vault.known_blocks import Pack
from qdrant_dr.vault.recipe import Recipe, RecipeBuilder

STEPS = st.lists(st.tuples(st.booleans(), st.binary(min_size=1, max_size=8)), max_size=12)
FOLDER = "prod/movies-a941e049/20261121T060000Z-a86105"


def table(blocks: Sequence[Block]) -> Table:
    box = build_box("packs/x", blocks, None)
    return read_table("packs/x", box, len(box), None)


def spread(steps: Sequence[tuple[bool, bytes]], packs: int) -> tuple[Recipe, dict[str, Table]]:
    """A recipe of literals and blocks, the blocks dealt out to so many packs."""
    builder, held = RecipeBuilder(), [(Pack(f"p{n}"), list[Block]()) for n in range(packs)]
    for number, (is_block, data) in enumerate(steps):
        if not is_block:
            builder.add_bytes(data)
            continue
        pack, blocks = held[number % packs]
        builder.add_block(pack, len(blocks), len(data))
        blocks.append(make_block(data))
    tables = {pack.name: table(blocks) for pack, blocks in held}
    return builder.finish(FOLDER, "collection.snapshot", "0" * 64), tables


def composed(steps: Sequence[tuple[bool, bytes]], packs: int) -> str:
    recipe, tables = spread(steps, packs)
    return composition(recipe, tables.__getitem__)


@given(STEPS, STEPS)
def test_it_is_of_the_bytes_and_not_of_where_they_lie(
    steps: list[tuple[bool, bytes]], others: list[tuple[bool, bytes]]
) -> None:
    assert composed(steps, 1) == composed(steps, 3)
    assert (composed(steps, 2) == composed(others, 2)) == (steps == others)


def test_a_block_that_was_left_empty_makes_nothing() -> None:
    recipe, _ = spread([(True, b"one"), (True, b"two")], 1)
    for blocks in ([make_block(b"one"), EMPTY], [make_block(b"one")]):
        tables = {"p0": table(blocks)}
        with pytest.raises(BlockMissing, match="lacks blocks"):
            composition(recipe, tables.__getitem__)
