"""What points were before a restore is kept whole, read back, in boxes where all is encrypted; and
goes when nobody needs it any more."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr import layout
from qdrant_dr.errors import BytesDiffer, ObjectMissing, RecordDamaged
from qdrant_dr.records import (
    Outcome,
    RestoredPoints,
    RunEnd,
    UndoFile,
    UndoPart,
    UndoRecord,
    UndoSettled,
)
from qdrant_dr.repository import ORPHAN_GRACE, Repository
from qdrant_dr.repository.undo_records import (
    UNDO_KEPT,
    LapsedUndos,
    find_undo,
    lapsed_undos,
    put_settled,
    put_undo,
    put_undo_part,
    read_settled,
    read_undo,
    read_undo_at,
    read_undo_parts,
)
from tests.support.encrypted import encrypted_on_disk, opened, written_below
from tests.support.records import NOW, run_end, run_start
from tests.support.stores import repository_on_disk

RUN = "20261130T213251Z-0a1b2c"
OF = {"run_id": RUN, "cluster": "shop", "collection": "movies"}
SECRET = "only the owner of this point knows"


@pytest.fixture(params=["plain", "encrypted"])
def repository(request: pytest.FixtureRequest, tmp_path: Path) -> Repository:
    if request.param == "plain":
        return repository_on_disk(tmp_path / "one", "one")
    return opened(encrypted_on_disk(tmp_path, "one"))


def part(number: int = 1) -> UndoPart:
    point = {"id": 7, "payload": {"a": SECRET, "f": 0.1}, "vector": [1.0, -0.0]}
    return UndoPart(**OF, number=number, absent=(8, 2**64 - 1), present=(json.dumps(point),),
                    after=("1" * 64, "2" * 64, "0" * 64))  # fmt: skip


def record(*parts: UndoPart) -> UndoRecord:
    return UndoRecord(
        **OF, made_at=datetime(2026, 11, 30, tzinfo=UTC), target="http://a:6333", source="m@1",
        only=None, params="{}", absent=2, present=1,
        parts=tuple(
            UndoFile(file=p.file, points=p.points, sha256=p.sha256)
            for p in parts
        ),
    )  # fmt: skip


def test_what_was_kept_is_read_as_it_was(repository: Repository, tmp_path: Path) -> None:
    parts = [part(1), part(2)]
    for one in parts:
        put_undo_part(repository, one)
        put_undo_part(repository, one)  # a retry
    with pytest.raises(ObjectMissing):
        read_undo(repository, "shop", "movies", RUN)
    assert find_undo(repository, "shop", RUN) is None
    put_undo(repository, record(*parts))
    assert (path := find_undo(repository, "shop", RUN))
    assert read_undo_at(repository, path) == read_undo(repository, "shop", "movies", RUN)
    assert list(read_undo_parts(repository, record(*parts))) == parts
    assert read_settled(repository, record(*parts)) == ()
    settled = UndoSettled(**OF, points=((7, "3" * 64),))
    put_settled(repository, settled)
    put_settled(repository, settled)
    assert read_settled(repository, record(*parts)) == (settled,)
    # a run that continued it found another one, and not all of the first again
    put_settled(repository, UndoSettled(**OF, points=((8, "4" * 64),)))
    put_settled(repository, UndoSettled(**OF, points=((8, "4" * 64), (7, "3" * 64))))
    _, more = read_settled(repository, record(*parts))
    assert (more.points, more.file) == (((8, "4" * 64),), "settled-2.json")
    assert len(repository.sort_out(layout.UNDO)[0]) == 5
    told = SECRET.encode() in written_below(tmp_path / "one")
    assert told is (repository.keys is None)


def test_machines_that_settle_at_the_same_time_lose_nothing(repository: Repository) -> None:
    settled = [UndoSettled(**OF, points=((n, f"{n}" * 64),)) for n in range(1, 4)]
    with ThreadPoolExecutor(3) as machines:
        list(machines.map(lambda one: put_settled(repository, one), settled))
    found = read_settled(repository, record(part()))
    assert {pair for one in found for pair in one.points} == {s.points[0] for s in settled}


def test_every_file_of_it_is_ours_and_nothing_beside_it(repository: Repository) -> None:
    put_undo_part(repository, part())
    put_undo(repository, record(part()))
    ours, strangers = repository.sort_out(layout.UNDO)
    assert (len(ours), strangers) == (2, ())
    assert not layout.is_ours(f"{layout.undos('shop', 'movies')}/{RUN}/part-0.json")
    assert not layout.is_ours(f"{layout.undos('shop', 'movies')}/{RUN}/notes.txt")


def test_another_part_than_was_written_is_not_believed(repository: Repository) -> None:
    put_undo_part(repository, part())
    other = part().model_copy(update={"after": ("4" * 64, "2" * 64, "0" * 64)})
    with pytest.raises(BytesDiffer):
        put_undo_part(repository, other)
    with pytest.raises(RecordDamaged, match="another one than was written"):
        list(read_undo_parts(repository, record(other)))


RAN = layout.time_of(RUN)


ASKED = {"missing": True, "ids": None, "where": None, "every": False, "only": None}


def restored(
    at: datetime, verdict: str = "ok", *, asked: dict[str, Any] = ASKED, **fields: Any
) -> RunEnd:
    """How a restore of points ended that began at this moment; by its own id if it is `RUN`."""
    body = {
        "target": "http://a:6333", "target_kind": None, "server_version": None, "name": "movies",
        "selection": "these", "phases": (), "total_us": 1, **fields,
    }  # fmt: skip
    outcome = Outcome(
        unit="restore-points", collection="movies", backup_id="20261101T000000Z-7f3a9c",
        verdict=verdict, started_at=at, ended_at=at, detail=RestoredPoints(**body),
    )  # fmt: skip
    named = {"run_id": RUN} if at == RAN else {}
    start = run_start("restore", at, cluster="shop", parameters=asked, **named)
    return run_end(start, outcomes=(outcome,))


DAY_AFTER = RAN + timedelta(days=1)


IDS = {**ASKED, "missing": False, "ids": "ids.txt"}


@pytest.mark.parametrize(
    ("began", "ends", "goes"),
    [
        pytest.param(ASKED, [], False, id="it was killed"),
        pytest.param(ASKED, [restored(RAN, undo_id=RUN)], True, id="it ended"),
        pytest.param(ASKED, [restored(RAN, "failed", undo_id=RUN)], False, id="it failed half-way"),
        pytest.param(
            ASKED, [restored(DAY_AFTER, undo_id=RUN)], True, id="another one continued it"
        ),
        pytest.param(ASKED, [restored(DAY_AFTER, undoes=RUN)], True, id="it was taken back"),
        pytest.param(ASKED, [restored(DAY_AFTER, undo_id="x")], True, id="the same was done anew"),
        pytest.param(
            ASKED,
            [restored(DAY_AFTER, undo_id="x", asked={**ASKED, "where": "{}"})],
            False,
            id="other points of that backup",
        ),
        pytest.param(
            IDS,
            [restored(DAY_AFTER, undo_id="x", asked=IDS)],
            False,
            id="perhaps other ids in that file",
        ),
        pytest.param(None, [restored(DAY_AFTER, undo_id="x")], False, id="nobody knows for what"),
        pytest.param(
            ASKED, [restored(DAY_AFTER, "failed", undoes=RUN)], False, id="the undo failed"
        ),
        pytest.param(
            ASKED, [restored(DAY_AFTER, name="books")], False, id="into another collection"
        ),
        pytest.param(
            ASKED,
            [restored(RAN, "failed", undo_id=RUN), restored(DAY_AFTER, "degraded", undo_id=RUN)],
            True,
            id="it failed and was continued",
        ),
    ],
)
def test_what_a_run_that_did_not_end_needs_stays(
    tmp_path: Path, began: dict[str, Any] | None, ends: list[RunEnd], goes: bool
) -> None:
    repository = repository_on_disk(tmp_path / "one", "one")
    if began is not None:
        repository.write_run_start(restored(RAN, asked=began).start)
    put_undo_part(repository, part())
    put_undo(repository, record(part()).model_copy(update={"source": "m@20261101T000000Z-7f3a9c"}))
    for file in (tmp_path / "one" / layout.UNDO).rglob("*.json"):
        os.utime(file, (RAN.timestamp(), RAN.timestamp()))
    for end in ends:
        repository.write_run_end(end)
    lapsed = lapsed_undos(repository, "shop", store_now=RAN + UNDO_KEPT + timedelta(hours=1))
    assert len(lapsed.files) == (2 if goes else 0)
    (said,) = lapsed.said
    assert f"{RUN}, of 2026-11-30," in said
    assert ("is removed" if goes else "stays: that run did not end") in said
    assert goes or f"--undo {RUN}" in said


@pytest.mark.parametrize(
    ("whole", "age", "goes"),
    [
        (True, UNDO_KEPT - timedelta(days=1), False),
        (True, UNDO_KEPT + timedelta(days=1), True),
        (False, ORPHAN_GRACE - timedelta(hours=1), False),
        (False, ORPHAN_GRACE + timedelta(hours=1), True),
    ],
)
def test_what_nobody_needs_goes(
    repository: Repository, tmp_path: Path, whole: bool, age: timedelta, goes: bool
) -> None:
    put_undo_part(repository, part())
    if whole:
        put_undo(repository, record(part()))
        repository.write_run_end(restored(RAN, undo_id=RUN))
    files = list((tmp_path / "one" / layout.UNDO).rglob("*.json"))
    for file in files:
        then = (NOW - age).timestamp()
        os.utime(file, (then, then))
    lapsed = lapsed_undos(repository, "shop", store_now=NOW)
    assert len(lapsed.files) == (len(files) if goes else 0)
    assert not goes or not whole or lapsed.files[0].path.endswith(layout.UNDO_RECORD)
    assert bool(lapsed.said) == (goes and whole)
    assert lapsed_undos(repository, "other", store_now=NOW) == LapsedUndos()
