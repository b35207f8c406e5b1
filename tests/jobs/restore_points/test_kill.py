"""SIGKILL at every step of a restore of points: the same command goes on, or it is taken back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.restored_points import (
    bring,
    delete,
    differing,
    id_of,
    take_back,
    the_detail,
    the_outcome,
    there,
    write,
)
from tests.support.servers import Server
from tests.support.thorough import thorough
from tests.support.world import World

STEPS = {
    "before the undo record": ("restore_points.undo:UndoWriter.complete", 1),
    "after the undo record": ("restore_points.journal:OpenPointsJournal.begin", 1),
    "before the first batch": ("restore_points.write_if_unchanged:Writer._send", 1),
    "between two batches": ("restore_points.write_if_unchanged:Writer._batch", 2),
    "a batch is written, not read back": ("restore_points.write_if_unchanged:Writer._read_back", 1),
    "before the proof": ("restore_points.unit:Restoration._prove", 1),
    "before the journal is dropped": ("restore_points.journal:OpenPointsJournal.drop", 1),
    "before the end record": ("run.run:Run.finish", 1),
}
HALF = {"between two batches", "a batch is written, not read back", "before the proof"}
"""Steps at which the journal says that points may be written."""
EVERY_DAY = {"a batch is written, not read back", "before the end record"}


def steps(*, but: str = "") -> list[Any]:
    """The steps as parameters; most of them are left out of every-day runs."""
    return [s if s in EVERY_DAY else pytest.param(s, marks=thorough) for s in STEPS if s != but]


KILLED = """
import importlib, os, signal, sys
place, number, *words = sys.argv[1:]
module, _, path = place.partition(":")
owner, _, name = path.partition(".")
kind = getattr(importlib.import_module(f"qdrant_dr.jobs.{module}"), owner)
real, calls = getattr(kind, name), []
def struck(*given, **named):
    calls.append(1)
    if len(calls) == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*given, **named)
setattr(kind, name, struck)
from qdrant_dr.cli.__main__ import main
sys.argv = ["qdrant-dr", *words]
main()
"""


@pytest.fixture
def ids(tmp_path: Path) -> Path:
    file = tmp_path / "ids.txt"
    file.write_text("".join(f"{id_of(n)}\n" for n in range(20, 60)))
    return file


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qdrant_dr.jobs.restore_points.change_file.BATCH", 16)


def kill(world: World, step: str, ids: Path, undo: str | None = None) -> None:
    """Run the command in a process of its own that is killed at a step."""
    place, number = STEPS[step]
    small = "import qdrant_dr.jobs.restore_points.change_file as c; c.BATCH = 16\n"
    words = ["-c", world.reference, "restore", "movies@latest-proven", "--points",
             "--ids", str(ids), "--execute"]  # fmt: skip
    if undo is not None:
        words = ["-c", world.reference, "restore", "--undo", undo, "--execute"]
    done = subprocess.run(
        [sys.executable, "-c", small + KILLED, place, str(number), *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        timeout=120,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def damage(server: Server) -> None:
    delete(server.url, range(20, 40))
    write(server.url, range(40, 60), seed=4000)


def left(world: World) -> list[Path]:
    """What lies in the spool, but for what is remembered of the ledgers."""
    files = [p for p in (world.file.parent / "spool").rglob("*") if p.is_file()]
    return [p for p in files if p.parent.name != "ledger"]


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("step", steps())
def test_the_same_command_goes_on(world: World, server: Server, ids: Path, step: str) -> None:
    before = there(server.url)
    damage(server)
    damaged = there(server.url)
    kill(world, step, ids)
    (killed,) = unended(world)
    mine: set[int | str] = set()
    if step in HALF:  # somebody changes a point of it before anybody goes on
        write(server.url, [59], seed=8000)
        mine = {id_of(59)}
    changed = there(server.url)[id_of(59)]
    end = bring(world, ids=str(ids))
    outcome, detail = the_outcome(end), the_detail(end)
    assert outcome.verdict == ("degraded" if mine else "ok"), outcome
    assert detail.proven
    assert detail.resumed == (step in HALF or step == "before the first batch"
                              or step == "before the journal is dropped")  # fmt: skip
    assert set(detail.moved_ids) == mine
    assert differing(before, there(server.url)) == mine
    assert left(world) == []
    undone = take_back(world, detail.undo_id or killed)
    assert the_outcome(undone).error is None
    assert differing(damaged, there(server.url)) == mine
    if mine:
        assert there(server.url)[id_of(59)] == changed


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("step", steps(but="before the undo record"))
def test_it_is_taken_back(world: World, server: Server, ids: Path, step: str) -> None:
    damage(server)
    damaged = there(server.url)
    kill(world, step, ids)
    (killed,) = unended(world)
    end = take_back(world, killed)
    assert the_outcome(end).verdict == "ok", the_outcome(end)
    assert differing(damaged, there(server.url)) == set()
    assert left(world) == []


def test_an_undo_that_was_killed_goes_on(world: World, server: Server, ids: Path) -> None:
    damage(server)
    damaged = there(server.url)
    brought = bring(world, ids=str(ids)).start.run_id
    kill(world, "between two batches", ids, undo=brought)
    unended(world)
    assert differing(damaged, there(server.url))
    assert the_outcome(take_back(world, brought)).verdict == "ok"
    assert differing(damaged, there(server.url)) == set()
    assert left(world) == []


@thorough
def test_another_selection_waits_for_the_one_that_did_not_end(
    world: World, server: Server, ids: Path
) -> None:
    damage(server)
    kill(world, "between two batches", ids)
    (killed,) = unended(world)
    end = bring(world, missing=True)
    assert end.error is not None
    assert "did not end" in end.error.message
    assert f"--undo {killed}" in end.error.message
    take_back(world, killed)
    assert the_outcome(bring(world, missing=True)).verdict == "ok"


def unended(world: World) -> list[str]:
    """The runs that began and did not end; each is told of once."""
    folder = world.folders["one"]
    starts = {p.name.removesuffix(".start.json") for p in folder.glob("runs/**/*.start.json")}
    ends = {p.name.removesuffix(".end.json") for p in folder.glob("runs/**/*.end.json")}
    told = folder.parent / "told"
    known = set(told.read_text().split()) if told.exists() else set()
    new = sorted(starts - ends - known)
    told.write_text("\n".join([*known, *new]))
    return new
