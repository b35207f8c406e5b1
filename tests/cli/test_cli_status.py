"""`status`: a line per collection, as red as the worst, and metrics that others can alert on."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.driving import do, rot
from tests.support.servers import sandbox_server
from tests.support.world import World, make_world, seed


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with sandbox_server(tmp_path_factory.mktemp("source")) as server:
        seed(server.url, "movies", points=30)
        seed(server.url, "odd,name", points=3)
        yield server.url


@pytest.fixture
def world(source: str, tmp_path: Path) -> World:
    excluded = {"exclude": [{"match": "tmp_*", "reason": "rebuilt nightly"}]}
    return make_world(tmp_path, source, collections=excluded, objectives={"drill_every": "90d"})


def rows(said: Any) -> dict[str, dict[str, Any]]:
    return {row["collection"]: row for row in said.json["rows"]}


def test_before_the_first_backup_nothing_is_green(qdr: Callable[..., Any], world: World) -> None:
    said = qdr("-c", world.reference, "status")
    assert said.code == 1
    assert "no collection has been recorded yet" in said.err


def test_protected_then_rotten(qdr: Callable[..., Any], world: World) -> None:
    assert do(world, "backup").verdict == "ok"
    said = qdr("-c", world.reference, "--json", "status")
    assert rows(said)["movies"]["copies"] == 2
    assert rows(said)["movies"]["domains"] == 2
    assert 0 <= rows(said)["movies"]["rpo_seconds"] < 300
    before = rows(said)["movies"]["status"]
    rot(world, "two", "movies")
    do(world, "verify", depth="bytes")
    said = qdr("-c", world.reference, "--json", "status")
    assert said.code == 1
    assert rows(said)["movies"]["status"] != "protected"
    assert rows(said)["movies"]["next_command"].startswith("qdrant-dr replicate")
    assert before in ("protected", "degraded")


def metrics(text: str) -> dict[str, float]:
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        match = re.fullmatch(r'(qdrant_dr_[a-z_]+\{(?:[a-z]+="(?:[^"\\]|\\.)*",?)*\}) (\S+)', line)
        assert match, line
        found[match[1]] = float(match[2])
    return found


def test_metrics_say_what_the_table_says(
    qdr: Callable[..., Any], world: World, tmp_path: Path
) -> None:
    do(world, "backup")
    file = tmp_path / "qdr.prom"
    said = qdr("-c", world.reference, "status", "--format", "prometheus", "--out", str(file))
    assert said.out == ""
    found = metrics(file.read_text())
    movies = 'cluster="shop",collection="movies"'
    assert found[f"qdrant_dr_collection_copies{{{movies}}}"] == 2
    assert 0 <= found[f"qdrant_dr_collection_rpo_seconds{{{movies}}}"] < 300
    assert f"qdrant_dr_collection_rto_seconds{{{movies}}}" not in found  # never measured
    odd = 'cluster="shop",collection="odd,name"'
    assert found[f"qdrant_dr_collection_domains{{{odd}}}"] == 2
    statuses = [v for k, v in found.items() if "collection_status" in k and "movies" in k]
    assert sorted(statuses) == [0, 0, 0, 0, 0, 1]
    (world.folders["two"] / "repository.json").unlink()
    said = qdr("-c", world.reference, "status", "--format", "prometheus")
    assert said.code == 1
    found = metrics(said.out)
    assert (
        found['qdrant_dr_repository_readable{cluster="shop",repository="two",domain="disk-two"}']
        == 0
    )


def test_a_file_that_cannot_be_written_is_said(qdr: Callable[..., Any], world: World) -> None:
    said = qdr("-c", world.reference, "status", "--format", "prometheus", "--out", "/no/such/place")
    assert said.code == 2
    assert "cannot be written" in said.err
    assert qdr("-c", world.reference, "status", "--out", "x").code == 2
