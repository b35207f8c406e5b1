"""Known blocks: found by all of their digest, and only where they still are."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from qdrant_dr.vault.box import EMPTY, Block, Table, build_box, read_table
from qdrant_dr.vault.known_blocks import KnownBlocks, Pack
from tests.support.thorough import examples


def block(number: int, digest: bytes | None = None) -> Block:
    data = number.to_bytes(8, "big") * 2
    return Block(digest or hashlib.sha256(data).digest(), len(data), 0, data)


def table(blocks: Sequence[Block]) -> Table:
    box = build_box("p", blocks, None)
    return read_table("p", box, len(box), None)


def known(packs: Sequence[Sequence[Block]]) -> tuple[KnownBlocks, dict[str, Table]]:
    tables = {f"{n}": table(blocks) for n, blocks in enumerate(packs)}
    found = KnownBlocks(lambda pack: tables.get(pack.name))
    for name, of in tables.items():
        found.add(Pack(name), of)
    return found, tables


@given(st.lists(st.lists(st.integers(0, 60), max_size=30), max_size=12))
@settings(max_examples=examples(60), deadline=None)
def test_what_was_added_is_found_and_nothing_else(packs: list[list[int]]) -> None:
    found, tables = known([[block(n) for n in numbers] for numbers in packs])
    everything = {n for numbers in packs for n in numbers}
    for number in range(70):
        wanted = block(number)
        place = found.find(wanted.sha256)
        assert (place is not None) == (number in everything)
        if place is not None:
            entry = tables[place.pack.name][place.number]
            assert (entry.sha256, entry.size) == (wanted.sha256, place.size)


def test_eight_equal_bytes_are_no_equal_block() -> None:
    prefix = bytes(range(8))
    twins = [block(n, prefix + bytes([n]) * 24) for n in range(1, 4)]
    found, _ = known([twins[:2]])
    assert [found.find(t.sha256) is not None for t in twins] == [True, True, False]


def test_a_block_that_was_left_empty_is_not_known() -> None:
    found, _ = known([[EMPTY, block(1)]])
    assert found.find(EMPTY.sha256) is None
    place = found.find(block(1).sha256)
    assert place is not None
    assert place.number == 1


def test_a_block_whose_table_is_gone_is_not_known() -> None:
    found, tables = known([[block(1)]])
    tables.clear()
    assert found.find(block(1).sha256) is None


def test_a_block_costs_twelve_bytes() -> None:
    rows = np.zeros(4096, table([block(1)]).rows.dtype)
    rows["stored"] = rows["size"] = 16
    rows["sha256"] = np.random.default_rng(1).integers(0, 256, (4096, 32), np.uint8)
    of = Table(rows, bytes(32), bytes(8), bytes(32))
    found = KnownBlocks(lambda _: of)
    for number in range(50):
        found.add(Pack(str(number)), of)
    held = sum(a.nbytes + b.nbytes for a, b in found._levels)
    assert held == 12 * len(found) == 12 * 50 * 4096
    assert len(found._levels) < 8
