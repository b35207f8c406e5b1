"""What lies in an archive is there, and is said to be unreadable; brought back, it is read."""

from __future__ import annotations

from datetime import timedelta

import pytest

from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import ObjectArchived
from qdrant_dr.repository.open_store import open_store
from qdrant_dr.stores.base import Store
from tests.support.stores import Place, freeze, thaw

PATH = "a/part.snapshot"
DATA = b"archive" * 1000
WORDS = {"s3": "GLACIER", "azure": "Archive"}


@pytest.fixture
def config(place: Place) -> RepositoryConfig:
    return place.config()


@pytest.fixture
def store(config: RepositoryConfig) -> Store:
    made = open_store(config, stall_timeout=timedelta(seconds=60), make=True)
    made.create(PATH, DATA)
    made.create("a/other.snapshot", DATA)
    return made


@pytest.fixture
def frozen(place: Place, config: RepositoryConfig, store: Store) -> Store:
    if place.kind not in WORDS:
        pytest.skip(f"{place.kind} has no class that cannot be read")
    freeze(config, PATH)
    return store


def test_what_can_be_read_is_not_archived(store: Store) -> None:
    assert [s.storage.archived for s in store.find("a")] == [False, False]
    there = store.stat(PATH)
    assert there is not None
    assert not there.storage.archived


def test_listing_and_asking_tell_of_the_archive(frozen: Store, place: Place) -> None:
    asked = frozen.stat(PATH)
    assert asked is not None
    other, listed = frozen.find("a")
    for there in (asked, listed):
        assert (there.storage.archived, there.storage.name) == (True, WORDS[place.kind])
        assert there.size_bytes == len(DATA)
    assert not other.storage.archived


def test_reading_from_an_archive_is_refused_as_such(frozen: Store) -> None:
    with pytest.raises(ObjectArchived, match="archive"):
        frozen.read(PATH)
    with pytest.raises(ObjectArchived, match="archive"):
        list(frozen.read_range(PATH))
    with pytest.raises(ObjectArchived, match="archive"):  # taken, and by what cannot be seen
        frozen.create(PATH, b"another")


def test_what_was_brought_back_is_read(frozen: Store, config: RepositoryConfig) -> None:
    thaw(config, PATH)
    assert [s.storage.archived for s in frozen.find("a")] == [False, False]
    assert frozen.read(PATH) == DATA
    assert b"".join(frozen.read_range(PATH)) == DATA


def test_what_is_archived_can_be_deleted(frozen: Store) -> None:
    frozen.delete(PATH)
    assert frozen.stat(PATH) is None


def test_many_archived_objects_are_each_asked_for_themselves(
    place: Place, config: RepositoryConfig, store: Store
) -> None:
    if place.kind != "s3":
        pytest.skip("only S3 tells it by another call")
    names = [f"many/{n:02}.json" for n in range(40)]
    for name in names:
        store.create(name, b"x")
        freeze(config, name, into="DEEP_ARCHIVE")
    for name in names[::2]:
        thaw(config, name)
    assert [s.storage.archived for s in store.find("many")] == [False, True] * 20
