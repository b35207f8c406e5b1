"""SIGKILL and SIGINT at every point: the next run completes, and nothing of ours is left.

The source is a node in this process, so that it can say when to kill, and what was left on it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from qdrant_dr import configfile
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.scratch_dir import NEW
from qdrant_dr.jobs.run.units import SweepUnit
from qdrant_dr.jobs.sweep.job import sweep
from qdrant_dr.records import RunEnd
from qdrant_dr.repository.ledger_memory import FOLDER as LEDGERS
from tests.support.command import Command
from tests.support.driving import do, outcomes, rot
from tests.support.replay import ReplaySource
from tests.support.thorough import thorough
from tests.support.world import World, make_world


@pytest.fixture
def source() -> Iterator[ReplaySource]:
    with ReplaySource(["basic"]) as source:
        source.add_snapshot("movies", "theirs.snapshot", b"somebody else's")
        yield source


@pytest.fixture
def world(source: ReplaySource, tmp_path: Path) -> World:
    return make_world(tmp_path, source.url)


def files(world: World, pattern: str) -> list[Path]:
    return [p for folder in world.folders.values() for p in folder.rglob(pattern)]


def spool(world: World) -> list[str]:
    """What is left in it, but for what is remembered of the ledgers, and for a folder of which the
    kill came before its name: a sweep takes it when it is old."""
    folder = world.file.parent / "spool"
    found = {p.name for p in folder.iterdir()} if folder.exists() else set()
    found = {name for name in found if not name.startswith(NEW)}
    return sorted(found - {LEDGERS})


def downloading(source: ReplaySource) -> bool:
    return any(line.startswith("GET") and line.endswith(".snapshot") for line in source.log)


def recovers(world: World, source: ReplaySource, verdict: str = "ok") -> RunEnd:
    """The next backup completes, and sweeps what was ours and only that."""
    source.faults.seconds_per_block = 0
    end = do(world, "backup")
    assert end.verdict == verdict, end.reasons
    assert {m.backup_id for m in world.manifests("one")} == {
        m.backup_id for m in world.manifests("two")
    }
    assert world.manifests("one")
    # an open call is remembered until the node has nothing of it
    assert spool(world) == ([] if verdict == "ok" else ["calls"])
    assert "theirs.snapshot" in source.snapshots("movies")
    return end


class TestBackup:
    def test_killed_while_the_server_makes_the_snapshot(
        self, source: ReplaySource, world: World
    ) -> None:
        source.faults.never_answer_create = True
        command = Command(world, "backup")
        command.wait_for(lambda: len(source.snapshots("movies")) == 2)
        command.kill()
        source.faults.never_answer_create = False
        (orphan,) = set(source.snapshots("movies")) - {"theirs.snapshot"}
        end = recovers(world, source, "degraded")
        # made by an unanswered call: reported with the command, never deleted on a guess
        notes = [note for o in outcomes(end, "sweep") for note in o.notes]
        assert any(orphan in note and "curl -X DELETE" in note for note in notes)
        assert orphan in source.snapshots("movies")
        # and so it is told by every later run, as long as it lies there
        later = SweepUnit(node=source.url, now=utc_now() + timedelta(days=30))
        outcome = sweep(configfile.load(world.reference), later, "20261122T120000Z-aaaaaa")
        assert any(orphan in note for note in outcome.notes)
        assert orphan in source.snapshots("movies")

    def test_killed_in_the_download(self, source: ReplaySource, world: World) -> None:
        source.faults.seconds_per_block = 0.05
        command = Command(world, "backup")
        command.wait_for(lambda: downloading(source))
        command.kill()
        assert not files(world, "manifest.json")
        assert not files(world, "*.snapshot")
        recovers(world, source)
        assert source.snapshots("movies") == ("theirs.snapshot",)

    @thorough  # the test before it and the one after are its neighbours
    def test_killed_between_the_last_byte_and_the_manifest(
        self, source: ReplaySource, world: World
    ) -> None:
        sent = threading.Event()
        source.faults.after_download = lambda *_: sent.set()
        command = Command(world, "backup")
        command.wait_for(sent.is_set)
        command.kill()
        source.faults.after_download = None
        recovers(world, source)
        assert source.snapshots("movies") == ("theirs.snapshot",)

    def test_killed_when_a_manifest_appears(self, source: ReplaySource, world: World) -> None:
        command = Command(world, "backup")
        command.wait_for(lambda: files(world, "manifest.json"))
        command.kill()
        assert do(world, "replicate").verdict == "ok"
        recovers(world, source)
        assert source.snapshots("movies") == ("theirs.snapshot",)

    def test_killed_in_the_proof(self, source: ReplaySource, world: World) -> None:
        command = Command(world, "backup")
        command.wait_for(command.look)
        command.kill()
        recovers(world, source)
        verified = do(world, "verify", which="all")
        assert verified.verdict == "ok", verified.reasons

    def test_interrupted_in_the_download(self, source: ReplaySource, world: World) -> None:
        source.faults.seconds_per_block = 0.05
        command = Command(world, "backup")
        command.wait_for(lambda: downloading(source))
        assert command.kill(signal.SIGINT) == 130
        (ended,) = world.ends("one")
        assert (ended.verdict, ended.error and ended.error.code) == ("failed", "interrupted")
        assert not files(world, "manifest.json")
        recovers(world, source)
        assert source.snapshots("movies") == ("theirs.snapshot",)

    def test_a_living_run_of_another_process_is_left_alone(
        self, source: ReplaySource, world: World
    ) -> None:
        source.faults.seconds_per_block = 0.15
        command = Command(world, "backup")
        command.wait_for(lambda: downloading(source))
        made = set(source.snapshots("movies"))
        config_end = do(world, "replicate")  # sweeps, too
        assert config_end.verdict == "failed"  # no backup yet: nothing to look at
        assert set(source.snapshots("movies")) == made
        source.faults.seconds_per_block = 0
        assert command.end() == 0
        assert source.snapshots("movies") == ("theirs.snapshot",)


def slow_world(folder: Path, source: ReplaySource) -> World:
    """Repository `two` takes 1 MiB a second."""
    world = make_world(folder, source.url, copies={"quorum": 1, "domains": 1})
    text = world.file.read_text()
    world.file.write_text(text.replace("name: two\n", "name: two\n  bandwidth: 700KiB/s\n"))
    return world


def test_replicate_killed_in_the_copy(source: ReplaySource, tmp_path: Path) -> None:
    world = slow_world(tmp_path, source)
    assert do(world, "backup").verdict == "ok"
    (part,) = world.parts("two")
    for path in part.parent.iterdir():
        path.unlink()
    command = Command(world, "replicate")
    command.wait_for(lambda: [p for p in part.parent.parent.rglob("*") if p.is_file()])
    command.kill()
    assert not world.manifests("two")
    assert not part.exists()
    healed = do(world, "replicate")
    assert healed.verdict == "ok", healed.reasons
    assert world.manifests("two") == world.manifests("one")
    assert part.read_bytes() == next(world.parts("one")).read_bytes()


def test_a_repair_that_is_killed_leaves_the_old_bytes(source: ReplaySource, tmp_path: Path) -> None:
    world = slow_world(tmp_path, source)
    assert do(world, "backup").verdict == "ok"
    rot(world, "two")
    (part,) = world.parts("two")
    rotten = part.read_bytes()
    assert do(world, "verify", depth="bytes").verdict == "failed"
    before = {p.name for p in part.parent.iterdir()}
    command = Command(world, "replicate")
    command.wait_for(lambda: {p.name for p in part.parent.iterdir()} - before)
    command.kill()
    assert part.read_bytes() == rotten
    healed = do(world, "replicate")
    assert healed.verdict == "ok", healed.reasons
    assert part.read_bytes() == next(world.parts("one")).read_bytes()


@pytest.mark.parametrize("engine", ["edge", pytest.param("server", marks=thorough)])
def test_drill_killed_half_way(source: ReplaySource, world: World, engine: str) -> None:
    assert do(world, "backup").verdict == "ok"
    command = Command(world, "drill", "--engine", engine)
    command.wait_for(command.look)
    command.kill()
    end = do(world, "drill", engine=engine)
    assert end.verdict == "ok", end.reasons
    assert spool(world) == []
