"""`qdrant-dr restore`: the plan on stdout, refusals with exit 4, and the deed on a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.support.driving import do
from tests.support.replay import ReplaySource
from tests.support.servers import Server, sandbox_server
from tests.support.world import World, make_world


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    with ReplaySource(["basic", "single"]) as source:
        made = make_world(tmp_path_factory.mktemp("cli-restore"), source.url)
        end = do(made, "backup")
        assert end.verdict == "ok", end.reasons
    return made


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with sandbox_server(tmp_path_factory.mktemp("target")) as server:
        yield server


@pytest.fixture
def say(qdr: Callable[..., Any], world: World, target: Server) -> Callable[..., Any]:
    def run(*words: object) -> Any:
        return qdr("-c", world.reference, "restore", *words, "--to", target.url)

    return run


def names(target: Server) -> list[str]:
    found = httpx.get(f"{target.url}/collections", timeout=30).json()["result"]["collections"]
    return sorted(c["name"] for c in found)


def test_the_plan_is_printed_and_nothing_done(
    say: Callable[..., Any], world: World, target: Server
) -> None:
    before = len(world.ends("one"))
    said = say("movies@latest-proven")
    assert said.code == 0, said.err
    assert "1. create 'movies' on " in said.out
    assert "compare all 2000 points with the seal" in said.out
    assert "s until proven (assumed" in said.out
    assert "nothing was changed" in said.err
    assert names(target) == []
    assert len(world.ends("one")) == before


def test_a_plan_for_machines(say: Callable[..., Any]) -> None:
    said = say("movies@latest-proven", "--json").json
    (row,) = said["rows"]
    assert (said["verdict"], row["possible"], row["route"]) == ("ok", True, "whole")
    assert row["steps"][0].startswith("create 'movies'")


def test_refusals_come_all_at_once(say: Callable[..., Any], target: Server) -> None:
    said = say("movies@latest-proven", "--way", "url", "--replication-factor", "1")
    assert said.code == 4
    assert said.err.count("error: ") == 2  # one per repository that signs nothing
    assert "no URL that a server could fetch" in said.err
    assert names(target) == []
    assert say("movies@latest-proven", "--way", "url", "--execute").code == 4


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ((), "name backups, or say `--all`"),
        (("movies@latest", "--all"), "one of them"),
        (("movies@latest", "single@latest", "--as", "x"), "`--as` gives one backup another name"),
        (("movies@latest", "--run", "20261122T000000Z-aaaaaa"), "`--run` belongs to `--all`"),
        (("movies@latest", "movies@latest"), "two of these backups are of one collection"),
        (("movies@latest", "--bandwidth", "fast"), "is not a size"),
        (("--all", "--run", "yesterday"), "is no id of a run"),
    ],
)
def test_words_that_mean_nothing(say: Callable[..., Any], words: tuple[str, ...], why: str) -> None:
    said = say(*words)
    assert said.code == 2, said.err
    assert why in said.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--parallel", "0"), "--parallel: must be 1 or more"),
        (("--replication-factor", "0"), "--replication-factor: must be 1 or more"),
        (("--to-key", "hush"), "--to-key: must be a reference (env:NAME"),
    ],
)
def test_refused_words_name_their_option(
    say: Callable[..., Any], words: tuple[str, ...], why: str
) -> None:
    said = say("movies@latest", *words)
    assert said.code == 2, said.err
    assert why in said.err
    assert "defect" not in said.err
    assert "hush" not in said.err + said.out


def test_an_address_must_not_carry_a_key(qdr: Callable[..., Any], world: World) -> None:
    said = qdr(
        "-c", world.reference, "restore", "movies@latest", "--to", "http://me:hush@localhost:1"
    )
    assert said.code == 2
    assert "hush" not in said.err + said.out


def test_a_target_that_is_away(qdr: Callable[..., Any], world: World) -> None:
    said = qdr("-c", world.reference, "restore", "movies@latest", "--to", "http://127.0.0.1:9")
    assert said.code == 5
    assert "check the address given with `--to`" in said.err


def test_restore_with_execute_restores(
    say: Callable[..., Any], world: World, target: Server
) -> None:
    said = say("--all", "--execute", "--ticket", "INC-9")
    assert said.code == 0, said.err
    assert names(target) == ["movies", "single"]
    assert f"movies on {target.url}, content equal" in said.out
    end = world.ends("one")[-1]
    assert {o.detail.ticket for o in end.outcomes} == {"INC-9"}
    assert say("single@latest", "--execute").code == 4  # it exists now
    again = say("single@latest", "--as", "single-2", "--execute", "-r", "two")
    assert again.code == 0, again.err
    assert world.ends("one")[-1].outcomes[0].detail.sources == ("two",)
