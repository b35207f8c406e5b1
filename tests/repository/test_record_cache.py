"""What was read once and did not change is not fetched again; what changed always is."""

from __future__ import annotations

import gc
import os
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr.errors import ObjectMissing
from qdrant_dr.repository import Repository, open_repository, read_catalog, remembering
from qdrant_dr.repository.catalog import Catalog
from qdrant_dr.repository.record_cache import RememberingStore, memory_of
from tests.support import records as made
from tests.support.encrypted import encrypted_config, opened, written_below
from tests.support.stores import AFTER_ALL, Place, repository_in, repository_on_disk, s3_place

DATA = b"x" * 100


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with s3_place() as s3:
        yield s3


class Counting:
    """A store that counts what is read of it."""

    def __init__(self, store: Any) -> None:
        self._store, self.read_paths = store, list[str]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read(self, path: str) -> bytes:
        self.read_paths.append(path)
        data: bytes = self._store.read(path)
        return data


@pytest.fixture
def there(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    """A repository with a backup, its seal and a proof, opened anew; nothing remembered yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cfg = place.config("s3")
    new = repository_in(cfg)
    manifest = made.manifest("movies", size_bytes=len(DATA))
    sink = new.part_sink(manifest.key, manifest.parts[0].file)
    sink.write(DATA)
    sink.commit()
    new.commit(manifest)
    seal = made.seal(manifest)
    new.put_seal(seal)
    new.add_proof(
        made.proof(manifest, repository_id=new.id, location=new.location, seal_sha256=seal.sha256)
    )
    return open_repository(
        cfg.model_copy(update={"id": new.id}), stall_timeout=timedelta(seconds=60)
    )


def look(repository: Repository) -> tuple[Catalog, list[str]]:
    """The catalog as somebody reads it who only looks, and what was fetched for it."""
    counting = Counting(repository.store)
    counted = Repository(
        name=repository.name, record=repository.record, domain=repository.domain,
        location=repository.location, bandwidth=None, store=counting,
    )  # fmt: skip
    return read_catalog([remembering(counted)], cluster="prod"), counting.read_paths


def memory(repository: Repository) -> Path:
    return memory_of(repository.id, repository.location)


def test_a_second_read_uses_the_cache_and_gives_the_same(there: Repository) -> None:
    first, fetched = look(there)
    assert sorted(p.rpartition("/")[2][-13:] for p in fetched)[1:] == ["manifest.json", "seal.json"]
    again, fetched = look(there)
    assert fetched == []
    assert again == first
    assert first.complete
    assert again.backups[0].copies[0].proofs != ()
    assert memory(there).stat().st_mode & 0o777 == 0o600


def test_what_changed_in_the_store_is_fetched_though_its_size_is_the_same(
    there: Repository,
) -> None:
    look(there)
    (path,) = (s.path for s in there.find_backups("prod") if s.path.endswith("manifest.json"))
    data = bytearray(there.store.read(path))
    data[-10] ^= 1
    sink = there.store.sink(path, replace=True)
    sink.write(bytes(data))
    sink.commit()
    catalog, fetched = look(there)
    assert fetched == [path]
    assert [u.path for u in catalog.unreadable] == [path]
    assert not catalog.complete


def test_what_is_gone_from_the_store_is_gone(there: Repository) -> None:
    look(there)
    for file in there.find_backups("prod"):
        there.store.delete(file.path)
    assert look(there)[0].backups == ()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE records SET data = CAST('{}' AS BLOB)",  # another's bytes under our digest
        "UPDATE records SET read_at = read_at - 31 * 86400",  # too old to go by a mark alone
        "UPDATE records SET mark = 'another'",
        "UPDATE records SET data = 'no bytes'",
        "UPDATE records SET read_at = read_at + 86400",  # by a clock that was wrong
    ],
)
def test_an_unusable_record_cache_is_ignored(there: Repository, change: str) -> None:
    first, fetched = look(there)
    with sqlite3.connect(memory(there)) as file:
        assert file.execute(change).rowcount == len(fetched) == 3
    file.close()
    again, refetched = look(there)
    assert sorted(refetched) == sorted(fetched)
    assert again == first
    assert look(there)[1] == []


def test_a_file_that_is_no_record_cache_is_removed(there: Repository) -> None:
    first, _ = look(there)
    memory(there).write_bytes(b"what is this?" * 1000)
    again, fetched = look(there)
    assert (again, len(fetched)) == (first, 3)
    assert look(there)[1] == []


def test_without_a_place_to_write_everything_is_fetched(
    there: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    for _ in range(2):
        catalog, fetched = look(there)
        assert catalog.complete
        assert len(fetched) == 3


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_record_cache_that_others_may_write_to_is_ignored(there: Repository, mode: int) -> None:
    first, _ = look(there)
    memory(there).parent.chmod(mode)
    again, fetched = look(there)
    assert (again, len(fetched)) == (first, 3)
    memory(there).parent.chmod(0o700)
    memory(there).chmod(mode)
    assert len(look(there)[1]) == 3


def test_a_record_cache_of_another_user_is_ignored(
    there: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(there)
    us = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: us + 1)
    assert len(look(there)[1]) == 3


def test_a_damaged_record_cache_in_a_read_only_folder(
    there: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    look(there)
    memory(there).write_bytes(b"what is this?" * 1000)

    def closed(*_: object, **__: object) -> None:
        raise PermissionError("read-only")

    monkeypatch.setattr(Path, "unlink", closed)
    assert len(look(there)[1]) == 3


def test_without_a_home(there: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "expanduser", homeless)
    store = remembering(there).store
    assert isinstance(store, RememberingStore)
    for _ in range(2):  # for this process alone
        path = next(s.path for s in store.find("backups") if s.path.endswith("manifest.json"))
        assert store.read(path) == there.store.read(path)
    assert len(look(there)[1]) == len(look(there)[1]) == 3


def test_what_a_later_listing_does_not_have_is_not_remembered(there: Repository) -> None:
    store = RememberingStore(there.store, memory(there))
    path = next(s.path for s in store.find("backups") if s.path.endswith("manifest.json"))
    store.read(path)
    there.store.delete(path)
    store.find("backups")
    with pytest.raises(ObjectMissing):
        store.read(path)


def test_two_concurrent_readers_do_not_disturb_each_other(there: Repository) -> None:
    first, _ = look(there)
    with sqlite3.connect(memory(there), isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        again, fetched = look(there)
        other.execute("ROLLBACK")
    other.close()
    assert (again, len(fetched)) == (first, 3)


def test_only_what_was_listed_with_a_mark_is_remembered(there: Repository) -> None:
    store = RememberingStore(Counting(there.store), memory(there))
    for _ in range(2):
        assert store.read("repository.json") == there.record.to_bytes()
    assert store._store.read_paths == ["repository.json"] * 2  # type: ignore[attr-defined]


def test_a_disk_is_read_as_it_is(tmp_path: Path) -> None:
    disk = repository_on_disk(tmp_path)
    assert remembering(disk) is disk


def test_every_record_cache_that_is_opened_is_closed(
    there: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whoever was done with it, whatever lay there; Python 3.13 warns of one that is not."""
    open_now = set[int]()

    class Told(sqlite3.Connection):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            open_now.add(id(self))

        def close(self) -> None:
            open_now.discard(id(self))
            super().close()

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *a, **k: connect(*a, factory=Told, **k))
    file = memory_of(there.id, there.location)

    def looked() -> RememberingStore:
        store = remembering(there).store
        assert isinstance(store, RememberingStore)
        store.find("backups")
        return store

    store = looked()
    assert len(open_now) == 1
    del store
    gc.collect()
    assert not open_now
    file.write_bytes(b"no database at all" * 100)
    store = looked()
    assert len(open_now) == 1, "the damaged one is closed"
    store.memory.give_up(sqlite3.OperationalError("disk I/O error"))
    assert not open_now
    assert store.find("backups")


def test_seals_of_an_encrypted_repository_stay_encrypted_on_this_machine(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cfg = encrypted_config(place.config("vault"), f"file:{tmp_path / 'key'}", AFTER_ALL)
    there, manifest = opened(cfg), made.manifest("movies")
    there.put_manifest_bytes(manifest.key, manifest.to_bytes())
    there.put_seal(made.seal(manifest, suspect=("a value that only the seal knows",)))
    there.find("backups")
    for _ in range(2):
        found = remembering(opened(cfg))
        catalog = read_catalog([found], cluster="prod")
        seal = catalog.backups[0].seal
        assert seal is not None
        assert seal.suspect == ("a value that only the seal knows",)
        found.find("backups")  # what was read is written down
    kept = memory(there).read_bytes()
    assert b"QDRBOX1" in kept
    assert b"only the seal knows" not in written_below(tmp_path)
