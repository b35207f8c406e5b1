"""`find`: points are followed through backups; one that cannot be read never looks like absence."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr import configfile
from qdrant_dr.jobs.find_point import search as search_module
from tests.cli.conftest import Command
from tests.support.contents import ask
from tests.support.driving import do
from tests.support.servers import sandbox_server
from tests.support.world import World, lent, make_world

UUID_ID = "00000000-0000-0000-0000-00000000002a"
LARGE = 2**64 - 1


def put(url: str, *points: dict[str, Any]) -> None:
    ask(url, "PUT", "/collections/movies/points?wait=true", {"points": list(points)})


def point(point_id: Any, year: int, x: float = 1.0) -> dict[str, Any]:
    return {"id": point_id, "vector": [x, 0.5, -1.0, 2.0], "payload": {"year": year, "n": None}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Four backups: point 1 changes its payload before the second, its vector before the fourth;
    LARGE comes with the second, the UUID goes after it; nothing changes before the third."""
    folder = tmp_path_factory.mktemp("find")
    with sandbox_server(folder / "server") as server:
        url = server.url
        body = {"vectors": {"size": 4, "distance": "Dot"}}
        ask(url, "PUT", "/collections/movies", body)
        put(url, *(point(n, 1900 + n) for n in range(60)), point(UUID_ID, 7))
        world = make_world(folder / "world", url, repositories=("one",))
        for step in range(4):
            if step == 1:
                put(url, point(1, 2001), point(LARGE, 3000))
            if step == 3:
                put(url, point(1, 2001, 9.0))
                points = {"points": [UUID_ID]}
                ask(url, "POST", "/collections/movies/points/delete?wait=true", points)
            end = do(world, "backup", prove="content")
            assert end.verdict == "ok", end.reasons
        yield world


@pytest.fixture
def world(made: World) -> Iterator[World]:
    with lent(made) as mine:
        yield mine


def backups(world: World) -> list[str]:
    return [m.backup_id for m in world.manifests("one")][::-1]


def rows_of(qdr: Command, world: World, *arguments: object, code: int = 0) -> list[dict[str, Any]]:
    said = qdr("-c", world.file, "find", "movies", *arguments, "--json")
    assert said.code == code, said
    return list(said.json["rows"])


def test_each_point_is_followed_from_the_newest_backup_on(world: World, qdr: Command) -> None:
    rows = rows_of(qdr, world, "--id", "1", str(LARGE), UUID_ID.upper(), "99", "--vectors")
    four, three, two, one = backups(world)
    history = {
        ident: [(r["backup_id"], r["state"], r["differs"]) for r in rows if r["id"] == ident]
        for ident in (1, LARGE, UUID_ID, 99)
    }
    assert history == {
        1: [(four, "there", []), (three, "there", ["vector:"]), (two, "there", []),
            (one, "there", ["payload"])],
        LARGE: [(four, "there", []), (three, "there", []), (two, "there", []),
                (one, "absent", ["id"])],
        UUID_ID: [(four, "absent", []), (three, "there", ["id"]), (two, "there", []),
                  (one, "there", [])],
        99: [(four, "absent", []), (three, "absent", []), (two, "absent", []),
             (one, "absent", [])],
    }  # fmt: skip
    of_one = {r["backup_id"]: r for r in rows if r["id"] == 1}
    assert of_one[four]["vector"] == [9.0, 0.5, -1.0, 2.0]
    assert of_one[three]["vector"] == [1.0, 0.5, -1.0, 2.0]
    assert of_one[three]["payload"] == {"year": 2001, "n": None}
    assert of_one[two]["payload"] is None  # the same as in the newer one
    assert of_one[one]["payload"]["year"] == 1901


def test_a_backup_whose_seal_tells_is_not_read(
    world: World, qdr: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    look_up = search_module.look_up

    def counting(config: Any, backup: Any) -> Any:
        read.append(backup.key.backup_id)
        return look_up(config, backup)

    monkeypatch.setattr(search_module, "look_up", counting)
    four, three, _, one = backups(world)
    rows = rows_of(qdr, world, "--id", "1")
    assert read == [four, three, one]
    assert [r["read"] for r in rows] == [True, True, False, True]
    read.clear()
    rows_of(qdr, world, "--id", "30")  # its bucket never changed
    assert read == [four]


def test_what_cannot_be_read_never_looks_like_absence(world: World, qdr: Command) -> None:
    four, three, two, _ = backups(world)
    (bad,) = world.folders["one"].glob(f"backups/**/{three}/*.snapshot")
    bad.write_bytes(bad.read_bytes()[:-1000])
    said = qdr("-c", world.file, "find", "movies", "--id", "1")
    assert said.code == 3, said
    lines = said.out.splitlines()
    assert len(lines) == 4
    assert three in lines[1]
    assert "COULD NOT BE READ" in lines[1]
    assert "not there" not in lines[1]
    assert f"other vector: than in {four}" in lines[2]  # compared with what was read last
    assert two in lines[2]


def test_a_filter_finds_points_and_follows_them(world: World, qdr: Command) -> None:
    where = json.dumps({"must": [{"key": "year", "range": {"gte": 2001}}]})
    rows = rows_of(qdr, world, "--filter", where)
    four, _, _, one = backups(world)
    found = {(r["backup_id"], r["id"]): r for r in rows}
    assert {i for b, i in found if b == four} == {1, LARGE}
    assert found[one, 1]["payload"]["year"] == 1901  # it does not match there, and is followed
    assert found[one, LARGE]["state"] == "absent"


def test_since_and_limit_bound_what_is_read(world: World, qdr: Command) -> None:
    assert len(rows_of(qdr, world, "--id", "1", "--limit", "2")) == 2
    assert len(rows_of(qdr, world, "--id", "1", "--since", "1d")) == 4
    assert rows_of(qdr, world, "--id", "1", "--since", "2999-01-01") == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((), 2, "give ids of points, or a filter"),
        (("--id", "-1"), 2, ""),
        (("--id", "x"), 2, "'x' is no id of a point"),
        (("--id", str(2**64)), 2, "is no id of a point"),
        (("--filter", "{"), 2, "is no JSON"),
        (("--filter", "[]"), 2, "is no object"),
        (("--filter", '{"must": [{"key": 7}]}'), 2, ""),
        (("--id", "1", "--since", "soon"), 2, "neither a date nor a duration"),
    ],
)
def test_wrong_words_are_refused(
    made: World, qdr: Command, arguments: tuple[str, ...], code: int, words: str
) -> None:
    said = qdr("-c", made.file, "find", "movies", *arguments)
    assert said.code == code, said
    assert words in said.err


def test_too_many_points_are_refused(
    made: World, qdr: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_module, "MOST_POINTS", 10)
    where = json.dumps({"must": [{"key": "year", "range": {"lt": 2000}}]})
    said = qdr("-c", made.file, "find", "movies", "--filter", where)
    assert said.code == 2
    assert "more than 10 points" in said.err


def test_nothing_is_left_behind_and_no_run_recorded(made: World, qdr: Command) -> None:
    before = len(made.ends("one"))
    assert rows_of(qdr, made, "--id", "1", "--limit", "1")
    assert len(made.ends("one")) == before
    spool = Path(configfile.load(made.reference).capture.spool.path)
    assert not list(spool.glob("qdr-find-*"))


def test_another_name_is_said(made: World, qdr: Command) -> None:
    said = qdr("-c", made.file, "find", "films", "--id", "1")
    assert said.code != 0
    assert "there is no backup of 'films'" in said.err
