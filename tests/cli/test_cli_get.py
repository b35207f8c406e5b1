"""`get`: the archive of a backup as a file, the same out of every layout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from tests.support.driving import do
from tests.support.replay import FIXTURES, ReplaySource
from tests.support.world import World, lent, make_world

ARCHIVE = FIXTURES / "basic/collection.snapshot"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> World:
    with ReplaySource(["basic"]) as source:
        world = make_world(
            tmp_path_factory.mktemp("get"), source.url,
            repositories=("plain", "vault"), chunked=("vault",),
        )  # fmt: skip
        end = do(world, "backup")
        assert end.verdict == "ok", end.reasons
    return world


@pytest.fixture
def world(made: World) -> Iterator[World]:
    with lent(made) as mine:
        yield mine


def rot(world: World, repository: str, kind: str) -> None:
    (path,) = world.folders[repository].rglob(f"*.{kind}")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("repository", ["plain", "vault"])
def test_an_archive_comes_out_as_it_was_made(
    world: World, qdr: Command, tmp_path: Path, repository: str
) -> None:
    out = tmp_path / "movies.snapshot"
    said = qdr("-c", world.file, "get", "movies@latest", "-r", repository, "--out", out, "--json")
    assert said.code == 0, said
    assert out.read_bytes() == ARCHIVE.read_bytes()
    (row,) = said.json["rows"]
    assert (row["repository"], row["file"]) == (repository, str(out))
    again = qdr("-c", world.file, "get", "movies@latest", "--out", out)
    assert again.code == 4
    assert "exists already" in again.err


def test_a_bad_copy_gives_way_to_a_good_one(world: World, qdr: Command, tmp_path: Path) -> None:
    rot(world, "plain", "snapshot")
    out = tmp_path / "movies.snapshot"
    said = qdr("-c", world.file, "get", "movies@latest", "--out", out)
    assert said.code == 0, said
    assert out.read_bytes() == ARCHIVE.read_bytes()
    assert "not from plain: " in said.err


def test_no_file_appears_if_no_copy_is_good(world: World, qdr: Command, tmp_path: Path) -> None:
    rot(world, "plain", "snapshot")
    rot(world, "vault", "pack")
    out = tmp_path / "out"
    out.mkdir()
    said = qdr("-c", world.file, "get", "movies@latest", "--out", out / "movies.snapshot")
    assert said.code == 1
    assert "no copy of collection.snapshot" in said.err
    assert not list(out.iterdir())


def test_a_part_must_be_one_that_there_is(world: World, qdr: Command, tmp_path: Path) -> None:
    out = tmp_path / "x"
    said = qdr("-c", world.file, "get", "movies@latest", "--part", "shard-7", "--out", out)
    assert said.code == 2
    assert "has no part 'shard-7': collection" in said.err


def test_show_says_how_to_get_it_out_of_blocks(world: World, qdr: Command) -> None:
    plain = qdr("-c", world.file, "show", "movies@latest").out
    assert "qdrant-dr get" not in plain  # a plain copy needs no tool of ours
    said = qdr("-c", world.file, "show", "movies@latest", "-r", "vault").out
    assert "qdrant-dr get movies@" in said
    assert "vault-format.md" in said
