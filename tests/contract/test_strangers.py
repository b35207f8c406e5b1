"""What is not ours, in every folder of a repository on every store: told or ignored, never damage,
never read, never deleted."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from qdrant_dr import layout
from qdrant_dr.repository import (
    Repository,
    delete_copy,
    plan_sweep,
    read_catalog,
    record_expiry,
    sweep,
)
from qdrant_dr.stores.object_store import ObjectStore
from tests.support import records as made
from tests.support.backed_up import backed_up
from tests.support.stores import Place, repository_in

KNOWN = ("@eaDir/SYNO@Resource", ".DS_Store", "lost+found/x")
UNKNOWN = ("notes.txt", "old/manifest.json", ".hidden")


@pytest.fixture
def repository(place: Place) -> Repository:
    return repository_in(place.config("here"))


def folders(key: str) -> list[str]:
    """Every folder of a repository, those of one backup too."""
    cluster, collection, _ = key.split("/")
    below = ["backups", "proofs", "holds", "expired"]
    return [
        *(f"{top}/{cluster}" for top in (*below, "acknowledged", "watches")),
        *(f"{top}/{cluster}/{collection}" for top in below),
        *(f"{top}/{key}" for top in below),
        "runs/2026/11",
    ]


def empty_folder_keys(repository: Repository, at: list[str]) -> list[str]:
    """What consoles put beside the objects, where the store can hold it."""
    if not isinstance(repository.store, ObjectStore):
        return []
    for folder in at:
        repository.store.pipe(f"{folder}/", b"", mode="overwrite")
    return [f"{folder}/" for folder in at]


def test_foreign_files_in_every_folder_are_no_damage_and_stay(repository: Repository) -> None:
    of = backed_up(repository)
    repository.put_seal(made.seal(of))
    repository.add_proof(made.proof(of, repository_id=repository.id, location=repository.location))
    quiet = read_catalog([repository], cluster="prod")
    at = folders(of.key.folder)
    known = [f"{folder}/{name}" for folder in at for name in KNOWN]
    unknown = [f"{folder}/{name}" for folder in at for name in UNKNOWN]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda path: repository.store.create(path, b"not ours"), known + unknown))
    empty_folder_keys(repository, at)

    loud = read_catalog([repository], cluster="prod")
    assert (loud.backups, loud.lost, loud.complete) == (quiet.backups, (), True)
    read = ("backups/", "proofs/", "expired/")
    assert {s.path for s in loud.strangers} == {p for p in unknown if p.startswith(read)}
    beside = loud.strangers_beside(repository.name, of.key.folder)
    assert {p.rpartition(of.key.backup_id + "/")[2] for p in beside} == set(UNKNOWN)
    for top in layout.FOLDERS:
        ours, others = repository.sort_out(top)
        assert {s.path for s in others} == {p for p in unknown if p.startswith(f"{top}/")}
        assert all(layout.is_ours(s.path) for s in ours)
    runs, ends = repository.read_runs(made.NOW - timedelta(days=40), made.NOW)
    assert (runs.unreadable, ends.unreadable) == ((), ())

    record_expiry(repository, made.expired(of))
    delete_copy(repository, of.key.folder)
    assert repository.find_backups("prod") == []
    for path in (p for p in known + unknown if p.startswith(f"backups/{of.key.folder}/")):
        assert repository.store.stat(path) is not None, path


def test_a_sweep_takes_nothing_that_is_not_ours(repository: Repository) -> None:
    of = made.manifest()
    for path in (".DS_Store", ".shard-0.snapshot.backup", "notes.txt"):
        repository.store.create(f"backups/{of.key.folder}/{path}", b"not ours")
    late = datetime.now(UTC) + timedelta(days=9)
    sink = repository.part_sink(of.key, "shard-0.snapshot")
    sink.write(b"half")
    sink.commit()
    catalog = read_catalog([repository], cluster="prod")
    plan = plan_sweep(catalog, repository.name, store_now=late)
    assert (plan.folders, plan.uploads) == ((), ())
    assert "not ours" in plan.kept[0]
    sweep(repository, plan)
    repository.store.delete(f"backups/{of.key.folder}/notes.txt")
    repository.store.delete(f"backups/{of.key.folder}/.shard-0.snapshot.backup")
    plan = plan_sweep(read_catalog([repository], cluster="prod"), repository.name, store_now=late)
    assert len(sweep(repository, plan).removed) == 1
    assert repository.store.stat(f"backups/{of.key.folder}/.DS_Store") is not None
