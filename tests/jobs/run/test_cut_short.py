"""A signal between two units: one end, the same in every repository."""

from __future__ import annotations

from pathlib import Path

from qdrant_dr import configfile
from qdrant_dr.errors import Interrupted
from qdrant_dr.jobs.run.run import begin
from tests.support.world import make_world

ASKED = Interrupted("asked to stop")


def test_a_run_that_had_no_end_gets_one(tmp_path: Path) -> None:
    world = make_world(tmp_path, "http://127.0.0.1:1")
    config = configfile.load(world.reference)
    run = begin(config, "backup")
    end = run.cut_short(config, ASKED)
    for name in world.folders:
        assert world.ends(name) == [end]
    assert end.verdict == "failed"
    assert end.error is not None
    assert end.error.code == "interrupted"


def test_a_run_that_was_writing_its_end_gets_no_second_one(tmp_path: Path) -> None:
    """The signal came when one repository had the record and the other had not."""
    world = make_world(tmp_path, "http://127.0.0.1:1")
    config = configfile.load(world.reference)
    run = begin(config, "replicate")
    end = run.finish(config, outcomes=())
    (file,) = world.folders["two"].glob("runs/**/*.end.json")
    said = file.read_bytes()
    file.unlink()
    assert run.cut_short(config, ASKED) == end
    assert file.read_bytes() == said
    assert [world.ends(name) for name in world.folders] == [[end], [end]]
