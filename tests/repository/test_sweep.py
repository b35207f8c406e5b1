"""Unfinished things go when they are surely dead, and nothing else ever does."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from qdrant_dr.errors import Conflict, PlanRefused, RepositoryUnreachable
from qdrant_dr.records import Manifest
from qdrant_dr.repository import (
    ORPHAN_GRACE,
    Repository,
    RepositoryState,
    plan_sweep,
    read_catalog,
    refuse_late_commit,
    sweep,
)
from tests.support import records as made
from tests.support.intents import intent_of
from tests.support.stores import repository_on_disk

HOUR = timedelta(hours=1)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return repository_on_disk(tmp_path / "one", "one")


def leave_behind(repository: Repository, collection: str = "movies") -> Manifest:
    """What a run that was killed in the middle of its second part leaves."""
    of = made.manifest(collection)
    repository.write_intent(of.key, intent_of(of))
    sink = repository.part_sink(of.key, "shard-0.snapshot")
    sink.write(b"whole")
    sink.commit()
    there = Path("/", repository.location.prefix, "backups", of.key.folder)
    (there / ".shard-1.snapshot.0123abcd").write_bytes(b"half")
    return of


def files(tmp_path: Path) -> list[str]:
    root = tmp_path / "one"
    return sorted(
        p.relative_to(root).as_posix() for p in (root / "backups").rglob("*") if p.is_file()
    )


def age(tmp_path: Path, by: timedelta, pattern: str = "*") -> None:
    for file in (tmp_path / "one/backups").rglob(pattern):
        if file.is_file():
            then = file.stat().st_mtime - by.total_seconds()
            os.utime(file, (then, then))


def plan(repository: Repository, **fields: object):
    catalog = read_catalog([repository], cluster="prod")
    return plan_sweep(catalog, "one", store_now=datetime.now(UTC), **fields)


def test_young_leftovers_are_kept(repository: Repository, tmp_path: Path) -> None:
    of = leave_behind(repository)
    before = files(tmp_path)
    age(tmp_path, ORPHAN_GRACE - HOUR)
    made_plan = plan(repository)
    assert (made_plan.folders, made_plan.uploads) == ((), ())
    assert any(of.key.folder in k for k in made_plan.kept)
    assert sweep(repository, made_plan).removed == ()
    assert files(tmp_path) == before


def test_what_is_old_goes_with_its_open_uploads(repository: Repository, tmp_path: Path) -> None:
    of = leave_behind(repository)
    age(tmp_path, ORPHAN_GRACE + HOUR)
    done = sweep(repository, plan(repository))
    assert done.removed == (f"backups/{of.key.folder}/shard-1.snapshot", of.key.folder)
    assert done.kept == ()
    # what a call may have left on a node is known until the sweep of that node finds nothing there
    assert files(tmp_path) == [f"backups/{of.key.folder}/intent.json"]
    assert plan(repository).folders == ()


def test_one_young_file_keeps_the_whole_folder(repository: Repository, tmp_path: Path) -> None:
    leave_behind(repository)
    age(tmp_path, ORPHAN_GRACE + HOUR, "*.json")
    assert plan(repository).folders == ()


def test_a_backup_is_never_swept_however_old(repository: Repository, tmp_path: Path) -> None:
    of = made.manifest(size_bytes=5)
    sink = repository.part_sink(of.key, of.parts[0].file)
    sink.write(b"whole")
    sink.commit()
    repository.commit(of)
    age(tmp_path, timedelta(days=4000))
    before = files(tmp_path)
    assert sweep(repository, plan(repository)).removed == ()
    assert files(tmp_path) == before


def test_what_is_committed_elsewhere_is_left_to_replicate(
    repository: Repository, tmp_path: Path
) -> None:
    two = repository_on_disk(tmp_path / "two", "two")
    of = made.manifest(size_bytes=5)
    for place in (repository, two):
        sink = place.part_sink(of.key, of.parts[0].file)
        sink.write(b"whole")
        sink.commit()
    two.commit(of)
    age(tmp_path, ORPHAN_GRACE + HOUR)
    catalog = read_catalog([repository, two], cluster="prod")
    made_plan = plan_sweep(catalog, "one", store_now=datetime.now(UTC))
    assert made_plan.folders == ()
    assert "committed elsewhere" in made_plan.kept[0]


def test_another_cluster_is_not_touched(repository: Repository, tmp_path: Path) -> None:
    other = made.manifest().model_copy(update={"cluster": "other"})
    repository.write_intent(other.key, intent_of(other))
    age(tmp_path, ORPHAN_GRACE + HOUR)
    before = files(tmp_path)
    assert sweep(repository, plan(repository)).removed == ()
    assert files(tmp_path) == before


def test_a_partly_readable_catalog_sweeps_nothing(repository: Repository, tmp_path: Path) -> None:
    leave_behind(repository)
    age(tmp_path, ORPHAN_GRACE + HOUR)
    before = files(tmp_path)
    lost = RepositoryState("two", None, "d", None, RepositoryUnreachable("no answer"))
    catalog = read_catalog([repository], cluster="prod", unreachable=[lost])
    refused = plan_sweep(catalog, "one", store_now=datetime.now(UTC))
    assert refused.refused is not None
    assert "two" in refused.refused
    assert sweep(repository, refused).kept == (refused.refused,)
    assert set(before) <= set(files(tmp_path))


def test_a_manifest_that_appears_meanwhile_saves_the_backup(
    repository: Repository, tmp_path: Path
) -> None:
    of = made.manifest(size_bytes=5)
    sink = repository.part_sink(of.key, of.parts[0].file)
    sink.write(b"whole")
    sink.commit()
    age(tmp_path, ORPHAN_GRACE + HOUR)
    made_plan = plan(repository)
    assert len(made_plan.folders) == 1
    repository.commit(of)
    with pytest.raises(Conflict, match="it is a backup"):
        sweep(repository, made_plan)
    assert b"".join(repository.read_part(of.key, of.parts[0])) == b"whole"


def test_a_sweep_cannot_leave_its_folder(repository: Repository) -> None:
    leave_behind(repository, "movies")
    leave_behind(repository, "users")
    first, second = read_catalog([repository], cluster="prod").unfinished
    with pytest.raises(ValueError, match="is not below"):
        repository.delete_unfinished(first.folder, second.files)


def test_a_run_older_than_half_the_grace_may_not_commit() -> None:
    intent = intent_of(made.manifest(at=made.NOW))
    refuse_late_commit(intent, now=made.NOW + ORPHAN_GRACE / 2)
    with pytest.raises(PlanRefused, match="its manifest is not written"):
        refuse_late_commit(intent, now=made.NOW + ORPHAN_GRACE / 2 + HOUR)
