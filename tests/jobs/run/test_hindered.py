"""What keeps a run from looking is told, and stands against no copy: no failed proof, no damage."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdrant_dr import configfile
from qdrant_dr.jobs.run.catalogs import catalog_of, open_all
from qdrant_dr.records import Proof, RunEnd
from qdrant_dr.repository import Copy
from qdrant_dr.repository.ledger_memory import FOLDER as LEDGERS
from tests.support.driving import do, outcomes
from tests.support.hunt import hunted
from tests.support.replay import ReplaySource
from tests.support.world import Layout, World, layouts, make_world


@pytest.fixture(scope="module", params=layouts("encrypted"))
def layout(request: pytest.FixtureRequest) -> Layout:
    return request.param


@pytest.fixture(scope="module")
def proven(tmp_path_factory: pytest.TempPathFactory, layout: Layout) -> World:
    with ReplaySource(["basic"]) as source:
        world = make_world(
            tmp_path_factory.mktemp("hindered"), source.url, repositories=("one",), layout=layout
        )
        end = do(world, "backup")
        assert end.verdict == "ok", end.reasons
    return world


@contextmanager
def configured(world: World, **sections: Any) -> Iterator[None]:
    body = world.file.read_text()
    world.file.write_text(yaml.safe_dump({**yaml.safe_load(body), **sections}))
    try:
        yield
    finally:
        world.file.write_text(body)


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2400k", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def copy_of(world: World) -> Copy:
    config = configfile.load(world.reference)
    opened, failed = open_all(config)
    (backup,) = catalog_of(config, opened, failed).backups
    return backup.copy("one")


def proofs(world: World) -> list[Proof]:
    files = world.folders["one"].glob("proofs/**/*.json")
    return [Proof.from_bytes(f.read_bytes(), where=str(f)) for f in files]


def hindered(world: World, end: RunEnd, unit: str, code: str) -> None:
    """The unit failed by this, in words that say what next; and nothing stands against the copy."""
    assert end.verdict == "failed"
    (outcome,) = outcomes(end, unit)
    assert outcome.error is not None
    assert outcome.error.code == code, outcome.error
    assert outcome.error.hint
    copy = copy_of(world)
    assert (copy.state, [p for p in copy.proofs if not p.passed]) == ("present", [])
    assert [p for p in proofs(world) if not p.passed] == []
    plan = do(world, "replicate", dry_run=True)
    assert "heal" not in str(plan.reasons)


STRIKES = [
    (signal.SIGKILL, {}, "engine-hindered"),
    (signal.SIGTERM, {}, "engine-hindered"),
    (signal.SIGSTOP, {"proof": {"stall_timeout": "1s"}}, "engine-stalled"),
    (None, {"proof": {"memory": "1MiB"}}, "engine-hindered"),
]


@pytest.mark.parametrize(("number", "sections", "code"), STRIKES)
@pytest.mark.parametrize(("job", "unit"), [("verify", "verify"), ("drill", "drill")])
def test_an_engine_that_was_struck(
    proven: World, job: str, unit: str, number: signal.Signals | None, sections: Any, code: str
) -> None:
    before = len(proofs(proven))
    strike: AbstractContextManager[None] = hunted(number) if number else nullcontext()
    request = {"engine": "edge", "pick": "latest"} if job == "drill" else {"depth": "content"}
    with configured(proven, **sections), strike:
        end = do(proven, job, **request)
    hindered(proven, end, unit, code)
    assert len(proofs(proven)) == before


@pytest.mark.parametrize("job", ["verify", "drill"])
def test_a_spool_that_fills_up(proven: World, job: str, tmp_path: Path) -> None:
    request = {"engine": "edge", "pick": "latest"} if job == "drill" else {"depth": "content"}
    with small_disk(tmp_path / "spool") as place:
        spool = {"spool": {"path": str(place), "max": "1GiB"}}
        with configured(proven, capture=spool):
            end = do(proven, job, **request)
        hindered(proven, end, job, "storage-full")
        assert [p.name for p in place.iterdir() if p.name != LEDGERS] == []


def test_a_spool_that_cannot_be_written(proven: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with configured(proven, capture={"spool": {"path": str(tmp_path / "file"), "max": "1GiB"}}):
        end = do(proven, "verify", depth="content")
    hindered(proven, end, "verify", "storage-full")


def test_a_fetch_of_a_drill_that_fills_the_spool(proven: World, tmp_path: Path) -> None:
    """Half of the bytes were read, and good."""
    with small_disk(tmp_path / "spool") as place:
        (place / "others").write_bytes(bytes(1_500_000))
        with configured(proven, capture={"spool": {"path": str(place), "max": "1GiB"}}):
            end = do(proven, "drill", engine="server", pick="latest")
        hindered(proven, end, "drill", "storage-full")
        assert [p.name for p in place.iterdir() if p.name != LEDGERS] == ["others"]


def test_a_seal_that_cannot_be_looked_for_is_no_failure(tmp_path: Path, layout: Layout) -> None:
    """A repository is away that may hold it: the copy is as good as it was."""
    with ReplaySource(["basic"]) as source:
        world = make_world(tmp_path / "world", source.url, layout=layout)
        assert do(world, "backup", prove="bytes").verdict != "failed"
    two = world.folders["two"]
    two.rename(two.with_name("away"))
    try:
        end = do(world, "verify", depth="content", repositories=("one",))
        (outcome,) = outcomes(end, "verify")
        assert outcome.error is not None
        assert outcome.error.code == "catalog-incomplete"
        assert "its seal may lie in" in outcome.error.message
        assert [p for p in proofs(world) if not p.passed] == []
    finally:
        two.with_name("away").rename(two)
    assert do(world, "verify", depth="content").verdict == "ok"
