"""`--log json`: stderr is JSON lines, whatever happens, and stdout is as ever."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.servers import sandbox_server
from tests.support.world import World, make_world, seed

KEY = "s3cr3t-of-the-node"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with sandbox_server(tmp_path_factory.mktemp("source"), api_key=KEY) as server:
        seed(server.url, "movies", points=30, api_key=KEY)
        yield server.url


@pytest.fixture
def world(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("NODE_KEY", KEY)
    return make_world(
        tmp_path, source, cluster={"name": "shop", "nodes": [source], "api_key": "env:NODE_KEY"}
    )


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_backup_line_by_line(qdr: Callable[..., Any], world: World) -> None:
    said = qdr("-c", world.reference, "backup", "--log", "json", "-v")
    assert said.code == 0, said.err
    assert "VERDICT" in said.out, "the table is for whoever reads stdout"
    assert KEY not in said.err
    told = lines(said.err)
    runs = [t for t in told if t.get("event", "").startswith("run-")]
    assert [t["event"] for t in runs] == ["run-began", "run-ended"]
    assert runs[1]["verdict"] == "ok"
    run_id = runs[0]["run_id"]
    units = [t for t in told if t.get("event", "").startswith("unit-")]
    assert len(units) >= 4
    assert {t["run_id"] for t in units} == {run_id}
    began = [(t["unit"], t["collection"]) for t in units if t["event"] == "unit-began"]
    ended = [(t["unit"], t["collection"]) for t in units if t["event"] == "unit-ended"]
    assert sorted(began) == sorted(ended)
    assert ("capture", "movies") in began
    capture, *_ = [t for t in units if t["unit"] == "capture"]
    assert capture["repositories"] == ["one", "two"]
    for verify in (t for t in units if t["unit"] == "verify"):
        assert verify["repository"] in ("one", "two")
        assert verify["backup"].startswith("movies@")
    for end in (t for t in units if t["event"] == "unit-ended"):
        assert end["verdict"] == "ok"
        assert end["seconds"] >= 0


def test_without_it_nothing_is_json_and_events_are_quiet(
    qdr: Callable[..., Any], world: World
) -> None:
    said = qdr("-c", world.reference, "backup")
    assert said.code == 0
    assert "{" not in said.err
    assert "began" not in said.err


def test_an_error_has_its_code_and_its_next_command(
    qdr: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QDR_LOG", "json")
    said = qdr("-c", str(tmp_path / "nothing.yaml"), "status")
    assert said.code == 2
    (line,) = lines(said.err)
    assert line["level"] == "error"
    assert line["code"]
    assert line["hint"]
    assert "nothing.yaml" in line["message"]


@pytest.mark.parametrize(
    "words", [("--log", "json", "no-such-command"), ("backup", "--no-such-option", "--log=json")]
)
def test_a_line_that_cannot_be_parsed_is_an_event_too(
    qdr: Callable[..., Any], words: tuple[str, ...]
) -> None:
    said = qdr(*words)
    assert said.code == 2
    assert [line["level"] for line in lines(said.err)] == ["error"]


def test_another_format_is_refused(qdr: Callable[..., Any], monkeypatch: Any) -> None:
    said = qdr("status", "--log", "xml")
    assert said.code == 2
    assert "xml" in said.err
    monkeypatch.setenv("QDR_LOG", "xml")
    said = qdr("status")
    assert said.code == 2
    assert "QDR_LOG is none of text, json" in said.err


def test_what_is_asked_for_wins_over_the_environment(
    qdr: Callable[..., Any], monkeypatch: Any
) -> None:
    monkeypatch.setenv("QDR_LOG", "json")
    assert qdr("status", "--log", "text").err.startswith("error: ")
