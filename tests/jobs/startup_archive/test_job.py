"""A start-up archive: what goes in, byte for byte, and a server that comes up with it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr import configfile
from qdrant_dr.cli import main
from qdrant_dr.dispatch.threads import in_threads
from qdrant_dr.errors import PlanRefused
from qdrant_dr.jobs.run.run import begin
from qdrant_dr.jobs.startup_archive.archive import plan_startup
from qdrant_dr.jobs.startup_archive.job import StartupRequest, noted, startup, suspects
from qdrant_dr.records import Drilled, RunEnd
from qdrant_dr.repository import Backup
from tests.support import records as made
from tests.support.driving import do, outcomes, rot
from tests.support.replay import ReplaySource, expected
from tests.support.world import World, make_world

SETS = ("basic", "rich", "sharded", "empty", "single")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Every fixture as a proven backup, in two repositories. The source is gone."""
    with ReplaySource(SETS) as source:
        made = make_world(tmp_path_factory.mktemp("world"), source.url)
        end = do(made, "backup", method="full", prove="content")
        assert end.verdict == "ok", end.reasons
    return made


def put_together(world: World, out: Path, **request: Any) -> RunEnd:
    config = configfile.load(world.reference)
    run = begin(config, "startup")
    wanted = StartupRequest(out=str(out), **request)
    return startup(config, wanted, run, in_threads(config, run.run_id))


def test_every_collection_lies_in_it_byte_for_byte(world: World, tmp_path: Path) -> None:
    out = tmp_path / "full.snapshot"
    end = put_together(world, out)
    assert end.verdict == "ok", end.reasons
    assert len(outcomes(end, "restore")) == len(SETS)
    with tarfile.open(out) as tar:
        names = tar.getnames()
        assert names[-1] == "config.json"
        config = json.load(tar.extractfile("config.json"))  # type: ignore[arg-type]
        for s in SETS:
            facts = expected()["sets"][s]
            file = config["collections_mapping"][facts["collection"]]
            member = tar.extractfile(file)
            assert member is not None
            assert (
                hashlib.sha256(member.read()).hexdigest()
                == (facts["archives"]["collection"]["sha256"])
            )
    assert config["collections_aliases"] == {"live-movies": "movies"}
    assert out.read_bytes()[-1024:] == bytes(1024)
    assert [p.name for p in tmp_path.iterdir()] == ["full.snapshot"]


def test_a_server_comes_up_with_every_point_and_alias(world: World, tmp_path: Path) -> None:
    end = put_together(world, tmp_path / "full.snapshot", prove=True)
    assert end.verdict == "ok", (end.reasons, [o.notes for o in end.outcomes])
    drills = [o.detail for o in outcomes(end, "drill") if isinstance(o.detail, Drilled)]
    assert len(drills) == len(SETS)
    assert all(d.fingerprint_equal and d.points_restored == d.points_expected for d in drills)
    kind = "server" if os.environ.get("QDRANT_BIN") else "sandbox"
    assert {d.target_kind for d in drills} == {kind}
    assert [p.name for p in drills[0].phases] == ["fetch", "start", "ready", "prove"]


def refused(end: RunEnd) -> str:
    assert end.verdict == "failed"
    assert end.error is not None
    return f"{end.error.code}: {end.error.message}"


def test_a_rotten_copy_is_replaced_by_the_next_and_remembered(world: World, tmp_path: Path) -> None:
    part = next(p for p in world.parts("one") if "/movies-" in str(p))
    good = part.read_bytes()
    rot(world, "one", "movies")
    try:
        end = put_together(world, tmp_path / "full.snapshot", backups=("movies@latest-proven",))
    finally:
        part.write_bytes(good)
    assert end.verdict == "degraded"
    (outcome,) = outcomes(end, "restore")
    assert outcome.repository == "two"
    assert any("SHA-256" in note for note in outcome.notes)
    with tarfile.open(tmp_path / "full.snapshot") as tar:
        (name, last) = tar.getnames()
        member = tar.extractfile(name)
        assert member is not None
        assert member.read() == good
        assert last == "config.json"
    again = do(world, "replicate")  # the failed proof makes it a damaged copy
    assert [o.repository for o in outcomes(again, "heal")] == ["one"]


def test_nothing_is_overwritten_and_nothing_half_stays(world: World, tmp_path: Path) -> None:
    out = tmp_path / "full.snapshot"
    out.write_bytes(b"mine")
    assert "exists already" in refused(put_together(world, out))
    assert out.read_bytes() == b"mine"
    assert "no folder" in refused(put_together(world, tmp_path / "none" / "full.snapshot"))
    with pytest.MonkeyPatch.context() as patch:
        usage = shutil.disk_usage(tmp_path)
        patch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
        assert "storage-full" in refused(put_together(world, tmp_path / "other.snapshot"))
    assert [p.name for p in tmp_path.iterdir()] == ["full.snapshot"]


def test_what_is_not_proven_is_not_put_in(world: World, tmp_path: Path) -> None:
    text = world.file.read_text()
    world.file.write_text(text + "objectives: {proven: {depth: content, max_age: 1s}}\n")
    try:
        end = put_together(world, tmp_path / "full.snapshot")
        assert "no proven copy of empty, movies" in refused(end)
        end = put_together(world, tmp_path / "full.snapshot", backups=("movies@latest",))
        assert "no proven copy of movies@" in refused(end)
    finally:
        world.file.write_text(text)
    assert list(tmp_path.iterdir()) == []


def backup_of(collection: str, **fields: Any) -> Backup:
    return Backup(manifest=made.manifest(collection, **fields), seal=None, copies=(), conflict=None)


def test_an_alias_goes_with_the_newer_backup_and_that_is_said() -> None:
    at = made.manifest("old").captured_at
    old = backup_of("old", aliases=("live", "only-old", "new"), captured_at=at - timedelta(days=1))
    new = backup_of("new", aliases=("live",), captured_at=at)
    plan = plan_startup([new, old])
    assert plan.aliases == {"live": "new", "only-old": "old"}
    assert any("live was of old" in r for r in plan.remarks)
    assert any("new of old is left out" in r for r in plan.remarks)


def test_a_suspect_backup_goes_in_as_such_and_what_was_left_out_is_said() -> None:
    old, new = made.manifest(at=made.NOW - made.hours(9)), made.manifest()
    sealed = made.seal(old, suspect=("half is gone",))
    known = made.catalog({"aws": [old, new]}, seals=[sealed], proofs=[made.proof(old)])
    (said,) = suspects(known.backups[:1], ())
    assert said == f"{old.key} is suspect: half is gone"
    assert suspects(known.backups[:1], [made.acceptance(old, sealed)]) == ()
    chosen, config = known.backups[:1], made.config()
    (note,) = noted(config, known, None, chosen, (), now=made.NOW)[old.key]
    assert f"skipped {new.key}" in note
    by_name = noted(config, known, [str(old.key)], chosen, (), now=made.NOW)
    assert by_name == {old.key: []}


def test_what_a_full_snapshot_cannot_hold_is_refused_with_every_reason() -> None:
    whole = made.manifest("movies")
    shard = whole.parts[0].model_copy(update={"kind": "shard"})
    with pytest.raises(PlanRefused) as raised:
        plan_startup(
            [
                backup_of("sharded", parts=(shard,)),
                backup_of("a:b"),
                backup_of("movies"),
                backup_of("movies"),
            ]
        )
    for words in ("kept by shard", "no colon", "movies was chosen 2 times"):
        assert words in raised.value.message
    with pytest.raises(PlanRefused, match="no backup was chosen"):
        plan_startup([])


def test_the_command_line_prints_how_to_start(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "two of them.snapshot"
    code = main(
        [
            *("startup-archive", "movies@latest-proven", "single@latest-proven"),
            *("--out", str(out), "-c", world.reference, "-q"),
        ]
    )
    assert code == 0
    said = capsys.readouterr().out
    assert f"qdrant --storage-snapshot '{out}'" in said
    assert "temp_path" in said
    assert out.stat().st_size > 1_000_000
