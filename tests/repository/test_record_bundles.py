"""Bundles save requests and change nothing of what is read: the listing decides."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qdrant_dr import layout
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import ObjectMissing, RepositoryDenied
from qdrant_dr.repository import Repository, sweep, write_bundles
from qdrant_dr.repository.record_bundles import (
    BATCH,
    DAYS,
    FULL,
    LARGEST_BUNDLE,
    LARGEST_BUNDLED,
    SMALL_BUNDLES,
    Entry,
    decode,
    encode,
    in_bundles,
    md5_of,
    worth_reading,
)
from qdrant_dr.repository.record_cache import RememberingStore
from qdrant_dr.repository.sweep import SweepPlan, lapsed_bundles
from qdrant_dr.stores.base import Stat
from qdrant_dr.stores.memory import MemoryStore
from tests.support.stores import repository_in
from tests.support.thorough import examples

FOLDER = "proofs/prod"
BUNDLES = "bundles/proofs/prod"
MANY = 2 * BATCH
ID = "20261122T101530Z-7f3a9c"


class Marked(MemoryStore):
    """A store in memory whose listing has ETags as S3 has them, and which counts."""

    def __init__(self, name: str, space: str) -> None:
        super().__init__(name, space)
        self.reads: list[str] = []
        self.finds: list[str] = []
        self.mark: Callable[[bytes], str] = md5_of
        self.md5: Callable[[bytes], str] = md5_of
        self.keeps = False

    def read(self, path: str) -> bytes:
        self.reads.append(path)
        return super().read(path)

    def find(self, folder: str) -> list[Stat]:
        self.finds.append(folder)
        return [
            replace(s, mark=self.mark(data), md5=self.md5(data))
            for s in super().find(folder)
            for data in [self._objects[s.path][0]]
        ]

    def delete(self, path: str) -> None:
        if self.keeps:
            raise RepositoryDenied("no")
        super().delete(path)

    def age(self, path: str, days: float) -> None:
        """Let an object be older."""
        data, at = self._objects[path]
        self._objects[path] = data, at - timedelta(days=days)


def path_of(number: int) -> str:
    return f"{FOLDER}/movies-0a1b2c3d/{ID}/20261122T101530Z-{number:06x}.json"


def body_of(number: int, size: int = 60) -> bytes:
    return f"{number}".encode().ljust(size)


@pytest.fixture
def there() -> Repository:
    return made_there()


def made_there(many: int = MANY, **fields: Any) -> Repository:
    name = secrets.token_hex(6)
    cfg = RepositoryConfig(name="here", url=f"memory://{name}", domain="d", **fields)
    repository = repository_in(cfg)
    marked = Marked("here", name)
    marked._objects = repository.store._objects  # type: ignore[attr-defined]
    for number in range(many):
        marked.create(path_of(number), body_of(number))
    return replace(repository, store=marked)


def store_of(repository: Repository) -> Marked:
    assert isinstance(repository.store, Marked)
    return repository.store


def looked(repository: Repository, file: Path | None = None) -> Repository:
    """The repository as somebody reads it who looks, after a look at everything."""
    store = RememberingStore(repository.store, file)
    for stat in store.find(FOLDER):
        store.read(stat.path)
    return replace(repository, store=store)


def bundle(repository: Repository) -> None:
    write_bundles(looked(repository), datetime.now(UTC))


def bundles(repository: Repository) -> list[str]:
    return [s.path for s in store_of(repository).find(BUNDLES)]


def cold(repository: Repository) -> tuple[dict[str, bytes], list[str]]:
    """What somebody reads who was never here, and which records were fetched for it."""
    store = store_of(repository)
    store.reads.clear()
    new = RememberingStore(store, None)
    found = {s.path: new.read(s.path) for s in new.find(FOLDER)}
    return found, [p for p in store.reads if p.partition("/")[0] != layout.BUNDLES]


def truth(repository: Repository) -> dict[str, bytes]:
    store = store_of(repository)
    return {s.path: MemoryStore.read(store, s.path) for s in MemoryStore.find(store, FOLDER)}


def forge(repository: Repository, change: Callable[[bytes], bytes]) -> None:
    """Change the bundle that is there, under its name."""
    (path,) = bundles(repository)
    store_of(repository).put(path, change(store_of(repository).read(path)))


def test_a_first_look_takes_everything_from_a_bundle(there: Repository) -> None:
    assert len(cold(there)[1]) == MANY
    bundle(there)
    assert len(bundles(there)) == 1
    assert cold(there) == (truth(there), [])
    assert store_of(there).reads == bundles(there)


def test_what_is_in_a_bundle_already_is_not_bundled_again(
    there: Repository, tmp_path: Path
) -> None:
    for _ in range(2):
        bundle(there)
        write_bundles(looked(there, tmp_path / "memory"), datetime.now(UTC))
    assert len(bundles(there)) == 1
    store_of(there).finds.clear()
    write_bundles(looked(there, tmp_path / "memory"), datetime.now(UTC))
    assert store_of(there).finds == [FOLDER], "who remembers asks for no bundles"


def test_few_new_records_are_read_one_by_one(there: Repository) -> None:
    bundle(there)
    for number in range(MANY, MANY + BATCH - 1):
        store_of(there).create(path_of(number), body_of(number))
    bundle(there)
    assert len(bundles(there)) == 1
    found, fetched = cold(there)
    assert (found, len(fetched)) == (truth(there), BATCH - 1)


def test_a_record_that_was_replaced_or_deleted_is_not_taken_from_a_bundle(
    there: Repository,
) -> None:
    bundle(there)
    store_of(there).put(path_of(3), body_of(7))  # as large as before
    store_of(there).delete(path_of(4))
    found, fetched = cold(there)
    assert found == truth(there)
    assert fetched == [path_of(3)]
    reader = RememberingStore(store_of(there), None)
    reader.find(FOLDER)
    with pytest.raises(ObjectMissing):
        reader.read(path_of(4))


def entries(data: bytes) -> list[tuple[Entry, bytes]]:
    return list(decode(data))


def edited(**fields: Any) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        return encode([(e.model_copy(update=fields), body) for e, body in entries(data)])

    return change


def swapped(data: bytes) -> bytes:
    """The bytes of the neighbour under each name."""
    every = entries(data)
    bodies = [body for _, body in every]
    return encode([(e, b) for (e, _), b in zip(every, bodies[1:] + bodies[:1], strict=True)])


def wrong_bytes(data: bytes) -> bytes:
    """Other bytes of the same size, under an index that says all that a listing says."""
    return encode([(e, bytes([body[0] ^ 1]) + body[1:]) for e, body in entries(data)])


def with_sizes(data: bytes) -> bytes:
    index, body = data.split(b"\n", 1)
    told = json.loads(index)
    told["records"][0]["size_bytes"], told["records"][1]["size_bytes"] = -60, 180
    return json.dumps(told).encode() + b"\n" + body


NOW = int(datetime.now(UTC).timestamp())


@pytest.mark.parametrize(
    "change",
    [
        wrong_bytes,
        swapped,
        with_sizes,
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data[: len(data) // 2],
        lambda _: b"",
        lambda _: b"\n" * 1000,
        lambda _: b"no bundle at all",
        lambda _: b'{"kind":"record-bundle","format":2,"records":[]}\n',
        lambda _: b"[" * 100_000 + b"\n",
        edited(mark="another"),
        edited(path="repository.json"),
        edited(read_at=NOW - (DAYS + 1) * 86400),
        edited(read_at=NOW + 86400),
    ],
)
def test_a_bundle_that_says_something_else_is_ignored(
    there: Repository, change: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    bundle(there)
    forge(there, change)
    found, fetched = cold(there)
    assert found == truth(there)
    assert len(fetched) == MANY
    assert [r for r in caplog.records if r.levelname != "DEBUG"] == []
    bundle(there)
    assert cold(there) == (truth(there), []), "what nobody can use does not stop a good one"


def test_a_bundle_of_another_repository_says_nothing_of_this_one(there: Repository) -> None:
    other = made_there()
    for number in range(MANY):
        store_of(other).put(path_of(number), body_of(number + 1000))
    bundle(other)
    (path,) = bundles(other)
    store_of(there).put(path, store_of(other).read(path))
    found, fetched = cold(there)
    assert (found, len(fetched)) == (truth(there), MANY)


def test_a_bundle_that_is_too_large_is_not_even_read(there: Repository) -> None:
    bundle(there)
    forge(there, lambda data: data.ljust(LARGEST_BUNDLE + 1))
    found, fetched = cold(there)
    assert (found, len(fetched)) == (truth(there), MANY)
    assert bundles(there)[0] not in store_of(there).reads


def test_many_bundles_are_read_no_more_than_pays() -> None:
    now = datetime.now(UTC)
    missing = [Stat(path_of(n), 1000, now, "m", md5="m") for n in range(10)]
    flood = [Stat(f"{BUNDLES}/{n:032x}.bundle", FULL, now) for n in range(1000)]
    assert len(worth_reading(flood, missing, now)) == 2
    older = [replace(s, modified_at=now - timedelta(seconds=1)) for s in flood]
    assert worth_reading(older, missing, now) == [], "a bundle is no older than what it holds"
    assert worth_reading(flood, missing, now + timedelta(days=DAYS + 1)) == []
    assert worth_reading(flood, [], now) == []


@pytest.mark.parametrize("listed", [lambda _: "", lambda data: md5_of(b"key" + data)])
def test_where_the_marks_are_no_md5_there_are_no_bundles(
    there: Repository, listed: Callable[[bytes], str]
) -> None:
    bundle(there)
    store_of(there).md5 = listed
    found, fetched = cold(there)
    assert (found, len(fetched)) == (truth(there), MANY)
    bare = made_there()
    store_of(bare).md5 = listed
    bundle(bare)
    assert bundles(bare) == []


def test_records_that_are_large_are_read_by_themselves(there: Repository) -> None:
    store_of(there).put(path_of(0), body_of(0, LARGEST_BUNDLED + 1))
    bundle(there)
    found, fetched = cold(there)
    assert (found, fetched) == (truth(there), [path_of(0)])


def test_several_bundles_are_written_when_one_is_full() -> None:
    at = datetime.now(UTC)
    records = [Stat(path_of(n), FULL // 2 + 1, at) for n in range(5)]
    assert [len(some) for some in in_bundles(records)] == [2, 2, 1]


def grow(repository: Repository, times: int) -> None:
    for number in range(times):
        for each in range(BATCH):
            store_of(repository).create(path_of(1000 * number + 500 + each), body_of(each))
        bundle(repository)


def test_small_bundles_become_one(there: Repository) -> None:
    grow(there, 2 * SMALL_BUNDLES)
    assert len(bundles(there)) <= SMALL_BUNDLES
    assert cold(there) == (truth(there), [])


def test_bundles_of_deleted_records_go(there: Repository, tmp_path: Path) -> None:
    write_bundles(looked(there, tmp_path / "memory"), datetime.now(UTC))
    before = bundles(there)
    for number in range(MANY):
        store_of(there).delete(path_of(number))
        store_of(there).create(path_of(number + 500), body_of(number))
    write_bundles(looked(there, tmp_path / "memory"), datetime.now(UTC))
    assert len(bundles(there)) == 1
    assert bundles(there) != before


@pytest.mark.parametrize("how", ["append_only", "refused"])
def test_where_nothing_may_be_deleted_nothing_is_merged_again_and_again(how: str) -> None:
    there = made_there(0, append_only=how == "append_only")
    store_of(there).keeps = True
    grow(there, 3 * SMALL_BUNDLES)
    sizes = [s.size_bytes for s in store_of(there).find(BUNDLES)]
    assert len(sizes) == 3 * SMALL_BUNDLES
    assert sum(sizes) < 3 * 3 * SMALL_BUNDLES * min(sizes), "a record is not copied without end"
    assert cold(there) == (truth(there), [])


def test_what_was_read_long_ago_is_read_itself(there: Repository) -> None:
    bundle(there)
    (path,) = bundles(there)
    store_of(there).age(path, DAYS + 1)
    for number in range(MANY):
        store_of(there).age(path_of(number), DAYS + 2)
    found, fetched = cold(there)
    assert (found, len(fetched)) == (truth(there), MANY)
    assert path not in store_of(there).reads
    bundle(there)
    assert len(bundles(there)) == 1
    assert cold(there) == (truth(there), [])


def test_copying_a_bundle_does_not_make_its_records_younger(there: Repository) -> None:
    """What machine after machine takes from bundles was read by somebody, at the time they say."""
    bundle(there)
    read_at = NOW - 10 * 86400
    forge(there, edited(read_at=read_at))
    grow(there, SMALL_BUNDLES)
    kept = [
        entry
        for path in bundles(there)
        for entry, _ in entries(store_of(there).read(path))
        if entry.path == path_of(0)
    ]
    assert {entry.read_at for entry in kept} == {read_at}


def test_the_sweep_removes_bundles_that_are_of_no_use_any_more(there: Repository) -> None:
    bundle(there)
    (path,) = bundles(there)
    now = datetime.now(UTC)
    store_of(there).create(f"{BUNDLES}/notes.txt", b"not ours")
    assert lapsed_bundles(there, store_now=now) == ()
    late = now + timedelta(days=DAYS + 3)
    found = lapsed_bundles(there, store_now=late)
    assert [s.path for s in found] == [path]
    assert lapsed_bundles(replace(there, append_only=True), store_now=late) == ()
    done = sweep(there, SweepPlan("here", bundles=found))
    assert (done.removed, done.refused) == ((path,), ())
    assert bundles(there) == [f"{BUNDLES}/notes.txt"]


def test_bundles_that_may_not_be_removed_are_no_remark(there: Repository) -> None:
    bundle(there)
    store_of(there).keeps = True
    found = lapsed_bundles(there, store_now=datetime.now(UTC) + timedelta(days=DAYS + 3))
    assert sweep(there, SweepPlan("here", bundles=found)) == type(sweep(there, SweepPlan("here")))()


@pytest.mark.parametrize("_", range(20))
def test_two_writers_at_once(there: Repository, _: int) -> None:
    both = [looked(there), looked(there)]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda each: write_bundles(each, datetime.now(UTC)), both))
    assert 1 <= len(bundles(there)) <= 2
    assert cold(there) == (truth(there), [])


def test_a_bundle_that_goes_while_it_is_read_is_no_error(there: Repository) -> None:
    bundle(there)
    (path,) = bundles(there)
    store = RememberingStore(there.store, None)
    listed = there.store.find(BUNDLES)
    store_of(there).delete(path)
    store.find(FOLDER)
    assert store.unbundle(FOLDER, listed, {s.path: s for s in listed}) == set()


def test_a_store_that_refuses_bundles_is_read_as_before(
    there: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise RepositoryDenied("no")

    monkeypatch.setattr(Marked, "sink", refused)
    bundle(there)
    assert bundles(there) == []
    assert len(cold(there)[1]) == MANY


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["create", "replace", "delete", "bundle", "bundle", "spoil", "drop", "age"]
        ),
        st.integers(0, 2**16),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=examples(60))
@given(STEPS)
def test_what_is_read_is_what_is_there(steps: list[tuple[str, int]]) -> None:
    """Whatever is done to records and bundles, by whomever, a first look reads the records."""
    there = made_there(BATCH + 4)
    store = store_of(there)
    for what, number in steps:
        path = path_of(number % (BATCH + 4))
        if what == "create":
            for each in range(BATCH):
                store.put(path_of(number * 100 + each), body_of(number + each))
        elif what == "replace":
            store.put(path, body_of(number))
        elif what == "delete":
            store.delete(path)
        elif what == "bundle":
            bundle(there)
        elif every := bundles(there):
            one = every[number % len(every)]
            if what == "spoil":
                data = bytearray(store.read(one))
                data[number % len(data)] ^= 1
                store.put(one, bytes(data))
            elif what == "drop":
                store.delete(one)
            else:
                store.age(one, number % 60)
        assert cold(there)[0] == truth(there)


RECORDS = st.lists(
    st.tuples(
        st.builds(
            Entry, path=st.text(max_size=9), size_bytes=st.just(0), mark=st.text(max_size=9),
            read_at=st.integers(0, 2**40),
        ),
        st.binary(max_size=40),
    ),
    max_size=9,
)  # fmt: skip


@given(RECORDS)
def test_a_bundle_gives_back_what_was_put_into_it(records: list[tuple[Entry, bytes]]) -> None:
    sized = [(e.model_copy(update={"size_bytes": len(data)}), data) for e, data in records]
    assert list(decode(encode(sized))) == sized


@given(st.binary(max_size=200), RECORDS, st.integers(0, 10**6), st.integers(0, 255))
def test_any_bytes_are_a_bundle_or_a_value_error(
    noise: bytes, records: list[tuple[Entry, bytes]], at: int, byte: int
) -> None:
    sized = [(e.model_copy(update={"size_bytes": len(data)}), data) for e, data in records]
    good = bytearray(encode(sized))
    good[at % len(good)] = byte
    for data in (noise, bytes(good)):
        try:
            found = list(decode(data))
        except ValueError:
            continue
        assert sum(len(body) for _, body in found) <= len(data)


def test_where_bundles_lie() -> None:
    assert layout.bundles_of("backups/prod") == "bundles/backups/prod"
    assert layout.bundles_of("runs/2026/11") == "bundles/runs/2026-11"
    for other in ("backups", "runs", "runs/2026", "watches/prod/2026/11", "backups/prod/movies"):
        assert layout.bundles_of(other) is None
    assert layout.is_ours(f"{BUNDLES}/{'0' * 32}.bundle")
    assert not layout.is_ours("bundles/watches/prod/x.bundle")
    assert layout.may_be_bundled(path_of(1))
    for other in ("notes.json", f"backups/prod/movies-0a1b2c3d/{ID}/shard-0.snapshot"):
        assert not layout.may_be_bundled(other)
