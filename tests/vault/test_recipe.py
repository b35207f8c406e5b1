"""Recipes: there and back, and nothing believed that does not add up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdrant_dr.errors import RecipeDamaged, RecordUnknown
from qdrant_dr.vault.box import BLOCK, MOST_BLOCKS
from qdrant_dr.vault.known_blocks import Pack
from qdrant_dr.vault.recipe import Recipe, RecipeBuilder, Run, read_recipe
from tests.support.thorough import examples

FOLDER = "prod/movies-6a7b8c9d/20261122T101530Z-7f3a9c"
PART = "collection.snapshot"
PACKS = [Pack(f"20261122T101530Z-7f3a9c-{n}") for n in range(1, 5)]
DIGEST = "ab" * 32
STEPS = st.lists(
    st.one_of(
        st.binary(min_size=1, max_size=100),
        st.tuples(
            st.integers(0, 3), st.integers(0, 20), st.integers(1, BLOCK),
        ),
    ),
    max_size=40,
)  # fmt: skip


def read(text: bytes, folder: str = FOLDER, part: str = PART) -> Recipe:
    return read_recipe("a.recipe", text, folder=folder, part=part)


@given(STEPS)
def test_a_recipe_is_read_back(steps: list[bytes | tuple[int, int, int]]) -> None:
    builder, size = RecipeBuilder(), 0
    expected: list[bytes | tuple[str, int, int]] = []
    for step in steps:
        if isinstance(step, bytes):
            builder.add_bytes(step)
            expected.append(step)
            size += len(step)
        else:
            builder.add_block(PACKS[step[0]], step[1], step[2])
            expected.append((PACKS[step[0]].name, step[1], step[2]))
            size += step[2]
    recipe = builder.finish(FOLDER, PART, DIGEST)
    assert read(recipe.to_bytes()) == recipe
    assert recipe.size_bytes == size
    found: list[object] = []
    for step in recipe.steps():
        if isinstance(step, bytes):
            found.append(step)
        else:
            name = recipe.packs[step.pack]
            found += [(name, step.first + n) for n in range(step.blocks)]
    assert found == [e if isinstance(e, bytes) else e[:2] for e in expected]


def text(**changed: str) -> bytes:
    lines = {
        "first": "qdr recipe 1",
        "backup": f"backup {FOLDER}",
        "part": f"part {PART}",
        "size": f"size {3 + 2 * BLOCK}",
        "sha256": f"sha256 {DIGEST}",
        "packs": f"packs 1\n{PACKS[0].name}",
        "bytes": "bytes YWJj",
        "run": f"run 0 0 2 {2 * BLOCK}",
        **changed,
    }
    return "".join(f"{line}\n" for line in lines.values() if line is not None).encode()


def test_the_text_of_a_recipe_stays_as_it_is() -> None:
    recipe = read(text())
    assert list(recipe.steps()) == [b"abc", Run(0, 0, 2, 2 * BLOCK)]
    assert recipe.to_bytes() == text()


WRONG = {
    "no recipe": {"first": "something else"},
    "another backup": {"backup": f"backup {FOLDER[:-1]}d"},
    "another part": {"part": "part shard-0.snapshot"},
    "a size that is none": {"size": "size 007"},
    "another size": {"size": "size 5"},
    "no digest": {"sha256": "sha256 xyz"},
    "a pack of another cluster": {"packs": f"packs 1\n../../other/{PACKS[0].name}"},
    "itself": {"packs": "packs 1\ncollection.recipe"},
    "no pack": {"packs": "packs 0"},
    "a pack that it does not use": {"packs": f"packs 2\n{PACKS[0].name}\n{PACKS[1].name}"},
    "a pack twice": {"packs": f"packs 2\n{PACKS[0].name}\n{PACKS[0].name}"},
    "more packs than it has lines": {"packs": "packs 99999999999"},
    "a run of nothing": {"run": "run 0 0 0 0"},
    "a run beyond the end": {"run": f"run 0 {MOST_BLOCKS - 1} 2 {2 * BLOCK}"},
    "a run that is too long": {"run": f"run 0 0 1 {2 * BLOCK}"},
    "a run of a pack that is not listed": {"run": f"run 1 0 2 {2 * BLOCK}"},
    "a run in another form": {"run": f"run 0 00 2 {2 * BLOCK}"},
    "a run below zero": {"run": f"run 0 -1 2 {2 * BLOCK}"},
    "an unknown step": {"run": f"jump 0 0 2 {2 * BLOCK}"},
    "no base64": {"bytes": "bytes YW&j"},
    "base64 in another form": {"bytes": "bytes YWJj="},
    "no bytes": {"bytes": "bytes "},
}


@pytest.mark.parametrize("what", WRONG)
def test_a_recipe_that_cannot_be_true_is_refused(what: str) -> None:
    with pytest.raises(RecipeDamaged):
        read(text(**WRONG[what]))


def test_a_recipe_that_is_cut_is_refused_at_every_byte() -> None:
    whole = text()
    for end in range(len(whole)):
        with pytest.raises(RecipeDamaged):
            read(whole[:end])


@given(st.binary(max_size=300))
@settings(max_examples=examples(50))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(RecipeDamaged):
        read(data)


def test_a_later_format_is_not_damage() -> None:
    with pytest.raises(RecordUnknown, match="format 2"):
        read(text(first="qdr recipe 2"))
