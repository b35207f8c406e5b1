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
        (("movies@latest", "--missing"), "add `--points`"),
        (("movies@latest", "--points"), "needs to know which"),
        (("movies@latest", "--points", "--missing", "--as", "x"), "--as: only for whole"),
        (("movies@latest", "--points", "--all", "--salvage"), "--salvage: only for whole"),
        (("movies@latest", "--undo", "20261122T000000Z-aaaaaa"), "one of them"),
        (("movies@latest", "--points", "--filter", "city=x"), "--filter is not JSON"),
        (("movies@latest", "--points", "--ids", "/none"), "cannot be read"),
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


def test_points_come_back_by_word(
    qdr: Callable[..., Any], say: Callable[..., Any], world: World, target: Server
) -> None:
    """After the restore above: 40 of the points are deleted there."""
    where = f"{target.url}/collections/movies/points"

    def count() -> int:
        answer = httpx.post(f"{where}/count", json={"exact": True}, timeout=30)
        return int(answer.json()["result"]["count"])

    ids = [p["id"] for p in httpx.post(f"{where}/scroll", json={"limit": 40}, timeout=30)
           .json()["result"]["points"]]  # fmt: skip
    httpx.post(f"{where}/delete", json={"points": ids}, params={"wait": "true"}, timeout=30)
    plan = say("movies@latest", "--points", "--missing")
    assert plan.code == 0, plan.err
    assert "create 40 points" in plan.out
    assert f"create {ids[0]}" in plan.out
    assert "nothing was changed" in plan.err
    assert count() == 1960
    row = say("movies@latest", "--points", "--missing", "--json").json["rows"][0]
    assert (row["create"], row["possible"], len(row["first"])) == (40, True, 10)
    done = say("movies@latest", "--points", "--missing", "--execute", "--ticket", "INC-10")
    assert done.code == 0, done.err
    assert "40 created; proven" in done.out
    assert count() == 2000
    run = world.ends("one")[-1].start.run_id
    undo = qdr("-c", world.reference, "restore", "--undo", run)  # it knows its target
    assert undo.code == 0, undo.err
    assert "delete 40 points" in undo.out
    assert qdr("-c", world.reference, "restore", "--undo", run, "--execute").code == 0
    assert count() == 1960
    nobody = qdr("-c", world.reference, "restore", "--undo", "20261122T000000Z-aaaaaa")
    assert nobody.code == 1
    assert "no repository has an undo record" in nobody.err


def test_a_restore_needs_a_server(qdr: Callable[..., Any], world: World) -> None:
    said = qdr("-c", world.reference, "restore", "movies@latest")
    assert said.code == 2
    assert "add `--to URL`" in said.err
