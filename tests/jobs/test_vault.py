"""Whole jobs on chunked repositories: captured, proven, restored, damaged, found out and healed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qdrant_dr.records import RunEnd
from tests.support.contents import points_of
from tests.support.driving import do
from tests.support.replay import ReplaySource
from tests.support.servers import sandbox_server
from tests.support.thorough import few, thorough
from tests.support.world import World, lent, make_world, seed

REPOSITORIES = ("plain", "vault", "other")


@pytest.fixture(scope="module", params=few(["chunked", "encrypted"], "chunked"))
def proven(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> World:
    """Two equal backups of one collection, in a plain and in two chunked repositories."""
    with ReplaySource(["basic"]) as source:
        world = make_world(
            tmp_path_factory.mktemp("vault"), source.url,
            repositories=REPOSITORIES, **{request.param: ("vault", "other")},
        )  # fmt: skip
        for _ in range(2):
            end = do(world, "backup")
            assert end.verdict == "ok", end.reasons
    return world


@pytest.fixture
def world(proven: World) -> Iterator[World]:
    with lent(proven) as mine:
        yield mine


def files(world: World, repository: str, kind: str) -> list[Path]:
    return sorted(world.folders[repository].rglob(f"*.{kind}"))


def failed(end: RunEnd) -> set[tuple[str | None, str | None]]:
    return {
        (o.repository, o.error.code if o.error else None)
        for o in end.outcomes
        if o.verdict == "failed"
    }


def test_an_unchanged_collection_is_stored_once(world: World) -> None:
    for repository in ("vault", "other"):
        assert len(files(world, repository, "pack")) == 1
        assert len(files(world, repository, "recipe")) == 2
        assert not files(world, repository, "snapshot")
    assert len(files(world, "plain", "snapshot")) == 2
    manifests = {r: world.manifests(r) for r in REPOSITORIES}
    assert manifests["plain"] == manifests["vault"] == manifests["other"]


def flip(path: Path, at: float) -> None:
    data = bytearray(path.read_bytes())
    data[int((len(data) - 1) * at)] ^= 1
    path.write_bytes(data)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


DAMAGE: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a block": ("pack", lambda p: flip(p, 0.4), "bytes-differ"),
    "a table": ("pack", lambda p: flip(p, 0.9995), "bytes-differ"),
    "a footer": ("pack", lambda p: flip(p, 1.0), ""),
    "a pack that is cut": ("pack", halve, "bytes-differ"),
    "a pack that is gone": ("pack", Path.unlink, "bytes-differ"),
    "a recipe": ("recipe", lambda p: flip(p, 0.3), "bytes-differ"),
    "a recipe that is cut": ("recipe", halve, "bytes-differ"),
}


EVERY = [(what, depth) for depth in ("bytes", "content") for what in DAMAGE]
DAILY = [tried for tried in EVERY if tried[1] == "bytes" or tried[0] in ("a block", "a recipe")]


@pytest.mark.parametrize(
    ("what", "depth"),
    [pytest.param(*tried, marks=() if tried in DAILY else thorough) for tried in EVERY],
)
def test_damage_is_found_at_each_depth_and_healed(world: World, what: str, depth: str) -> None:
    kind, damage, code = DAMAGE[what]
    damage(files(world, "vault", kind)[-1])
    end = do(world, "verify", depth=depth)
    if not code:  # no block is concerned: reading does not depend on it
        assert failed(end) <= {("vault", "bytes-differ")}
        return
    assert end.verdict == "failed"
    assert failed(end) == {("vault", code)}
    end = do(world, "replicate")
    assert end.verdict == "ok", end.reasons
    assert do(world, "verify", depth=depth, which="all").verdict == "ok"
    assert do(world, "verify", depth="bytes", sample_per_mille=500).verdict == "ok"


@pytest.mark.parametrize("what", [w for w in DAMAGE if DAMAGE[w][2]])
def test_a_sample_that_meets_damage_fails(world: World, what: str) -> None:
    kind, damage, code = DAMAGE[what]
    damage(files(world, "vault", kind)[-1])
    end = do(world, "verify", depth="bytes", sample_per_mille=999)
    assert failed(end) == {("vault", code)}


def test_two_packs_or_recipes_under_each_others_names_are_found_out(world: World) -> None:
    first, second = files(world, "vault", "recipe")
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    end = do(world, "verify", depth="bytes", which="all")
    assert failed(end) == {("vault", "bytes-differ")}
    said = str([o.error for o in end.outcomes if o.error])
    assert "misplaced" in said or "another name" in said  # a box opens only where it belongs


def test_a_lost_copy_comes_back_in_every_layout(world: World) -> None:
    for repository in REPOSITORIES:
        for path in sorted(world.folders[repository].rglob("*"), reverse=True):
            if path.is_file() and path.parts[-4:-3] and "backups" in path.parts:
                path.unlink()
        end = do(world, "replicate", vouch=True)
        assert end.verdict == "ok", (repository, end.reasons)
        assert do(world, "verify", depth="content", which="all").verdict == "ok"
    for repository in ("vault", "other"):
        packs = [p.stat().st_size for p in files(world, repository, "pack")]
        assert len(packs) == 1 + len(files(world, repository, "recipe"))
        assert sorted(packs)[-2] <= 128 * 1024 < max(packs)  # decision 194: one block each


def test_every_way_back_out_of_a_vault_alone(proven: World, tmp_path: Path) -> None:
    with sandbox_server(tmp_path / "source") as source:
        seed(source.url, "movies", points=400)
        world = make_world(
            tmp_path / "world", source.url, repositories=("vault",), chunked=("vault",)
        )
        end = do(world, "backup")
        assert end.verdict == "ok", end.reasons
        truth = points_of(source.url, "/collections/movies")
    end = do(world, "drill")
    assert end.verdict == "ok", end.reasons
    with sandbox_server(tmp_path / "target") as target:
        end = do(world, "restore", backups=("movies@latest",), to=target.url, dry_run=False)
        assert end.verdict == "ok", end.reasons
        assert points_of(target.url, "/collections/movies") == truth
        end = do(
            world, "restore", backups=("movies@latest",), to=target.url, name="by-url", way="url",
            dry_run=False,
        )  # fmt: skip
        assert end.verdict != "ok"
        assert "no URL of it is an archive" in str(end.reasons)
        assert "--way upload" in str(end.reasons)
