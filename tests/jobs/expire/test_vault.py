"""Retention in a chunked repository: recipes stay for the grace, then a sweep takes what nothing
else needs."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from qdrant_dr import configfile
from qdrant_dr.jobs.expire.hold import place_hold
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.units import SweepUnit
from qdrant_dr.jobs.sweep.job import sweep
from qdrant_dr.records import BackupKey, Outcome, Swept
from qdrant_dr.repository import ORPHAN_GRACE
from tests.support.driving import do
from tests.support.expiring import LITTLE, fill, left, opened
from tests.support.vaults import age, names
from tests.support.world import World, make_world

HOUR = timedelta(hours=1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, "http://127.0.0.1:9", retention=LITTLE, chunked=("one",))


def swept(world: World) -> tuple[Outcome, Swept]:
    unit = SweepUnit(repository="one", now=utc_now())
    outcome = sweep(configfile.load(world.reference), unit, "20261130T120000Z-abcdef")
    assert isinstance(outcome.detail, Swept)
    return outcome, outcome.detail


def recipes(world: World) -> set[str]:
    return {p.parent.name for p in world.folders["one"].glob("backups/**/*.recipe")}


def test_what_expires_is_swept_after_the_grace_and_what_is_shared_stays(world: World) -> None:
    backups = fill(world, 3)  # of equal bytes: the one pack is of the first that was stored
    pack = names(world.folders["one"], "packs")
    assert len(pack) == 1
    end = do(world, "expire")
    assert end.verdict == "ok", end.reasons
    gone = backups[2].backup_id
    notes = {o.repository: o.notes for o in end.outcomes if o.backup_id == gone}
    assert [note[:27] for note in notes["one"]] == ["its packs stay for 2 d; the"]
    assert notes["two"] == ()
    assert left(world) == left(world, "two") == {b.backup_id for b in backups[:2]}
    assert recipes(world) == {b.backup_id for b in backups}
    assert swept(world)[1].freed_bytes == 0
    # the next run does not take it for a deletion that was cut
    assert do(world, "expire").outcomes == ()
    age(world.folders["one"], ORPHAN_GRACE + HOUR)
    outcome, _ = swept(world)
    assert outcome.verdict == "ok", outcome.notes
    assert recipes(world) == {b.backup_id for b in backups[:2]}
    assert names(world.folders["one"], "packs") == pack
    newest = opened(world)["one"]
    for of in backups[:2]:
        assert sum(map(len, newest.read_verified(of.key, of.parts[0]))) == of.size_bytes


def test_a_hold_that_comes_after_the_deletion_keeps_what_is_left(world: World) -> None:
    backups = fill(world, 3)
    do(world, "expire")
    age(world.folders["one"], ORPHAN_GRACE + HOUR)
    gone = backups[2]
    key = BackupKey(cluster="shop", collection="movies", backup_id=gone.backup_id)
    place_hold(opened(world), key, reason="legal", by="me", until=None, now=utc_now())
    swept(world)
    assert gone.backup_id in recipes(world)


def test_a_recipe_that_cannot_be_read_is_told_and_nothing_goes(world: World) -> None:
    backups = fill(world, 3)
    do(world, "expire")
    root = world.folders["one"]
    age(root, ORPHAN_GRACE + HOUR)
    rotten = next(root.glob(f"backups/{backups[0].key.folder}/*.recipe"))
    rotten.write_bytes(rotten.read_bytes()[:-1])
    outcome, detail = swept(world)
    assert outcome.verdict == "degraded"
    assert "cannot be read" in detail.kept[0]
    assert len(recipes(world)) == 3
