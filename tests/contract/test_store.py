"""What every store must do: one suite, every implementation."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import (
    CannotSign,
    Conflict,
    DRError,
    ObjectMissing,
    RecordDamaged,
    RepositoryDenied,
    RepositoryMissing,
    RepositoryUnreachable,
)
from qdrant_dr.repository.open_store import open_store
from qdrant_dr.stores.base import Sink, Store
from tests.support.stores import Place

PATIENCE = timedelta(seconds=60)
MIB = 2**20


@pytest.fixture
def config(place: Place) -> RepositoryConfig:
    return place.config()


@pytest.fixture
def store(config: RepositoryConfig) -> Store:
    return open_store(config, stall_timeout=PATIENCE, make=True)


def content(size: int) -> bytes:
    """Bytes that repeat with no period a part or block could have."""
    return (b"".join(i.to_bytes(3, "little") for i in range(65_521)) * (size // 196_563 + 1))[:size]


def fill(sink: Sink, data: bytes, block: int = MIB) -> None:
    for at in range(0, len(data), block):
        sink.write(data[at : at + block])


# records


def test_what_is_created_is_read_back(store: Store) -> None:
    store.create("a/b.json", b'{"x":1}')
    assert store.read("a/b.json") == b'{"x":1}'


def test_other_content_under_a_name_is_a_conflict_and_changes_nothing(store: Store) -> None:
    store.create("a/b.json", b"first")
    with pytest.raises(Conflict, match="other content"):
        store.create("a/b.json", b"second")
    assert store.read("a/b.json") == b"first"


def test_equal_content_under_a_name_is_success(store: Store) -> None:
    store.create("a/b.json", b"same")
    store.create("a/b.json", b"same")
    assert store.read("a/b.json") == b"same"


def test_of_eight_writers_that_race_one_wins(store: Store) -> None:
    start = threading.Barrier(8)

    def write(writer: int) -> bool:
        start.wait(10)
        try:
            store.create("race.json", f"writer {writer}".encode())
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(write, range(8)))
    assert won.count(True) == 1
    assert store.read("race.json") == f"writer {won.index(True)}".encode()


def test_an_absent_object_is_said_to_be_absent(store: Store) -> None:
    store.create("there.json", b"x")
    assert store.stat("not-there.json") is None
    with pytest.raises(ObjectMissing, match=r"not-there\.json"):
        store.read("not-there.json")
    with pytest.raises(ObjectMissing, match=r"not-there\.json"):
        list(store.read_range("not-there.json", 0, 10))
    store.delete("not-there.json")


def test_a_record_is_read_up_to_a_bound(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can write to a bucket must not be able to fill our memory."""
    for module in ("base", "object_store", "local"):
        monkeypatch.setattr(f"qdrant_dr.stores.{module}.LARGEST", 1000)
    store.create("just.json", b"x" * 1000)
    assert store.read("just.json") == b"x" * 1000
    store.create("more.json", b"x" * 1001)
    with pytest.raises(RecordDamaged, match=r"more\.json .*1000 B"):
        store.read("more.json")
    assert b"".join(store.read_range("more.json")) == b"x" * 1001, "a part may be of any size"
    store.create("more.json", b"x" * 1001)
    for other in (b"x" * 1000, b"x" * 1002, b"y" * 1001):
        with pytest.raises(Conflict, match="other content"):
            store.create("more.json", other)


def test_an_empty_object_is_read_as_one(store: Store) -> None:
    """It has no first byte that a range could begin with."""
    store.create("empty.json", b"")
    assert store.read("empty.json") == b""
    with pytest.raises(Conflict, match="other content"):
        store.create("empty.json", b"x")


def test_stat_says_size_and_time(store: Store, place: Place) -> None:
    place.need("time")
    store.create("a.json", b"12345")
    there = store.stat("a.json")
    assert there is not None
    assert (there.path, there.size_bytes) == ("a.json", 5)
    assert abs(datetime.now(UTC) - there.modified_at) < timedelta(seconds=30)


def test_find_lists_everything_below_a_folder_and_nothing_beside_it(store: Store) -> None:
    for path in ("runs/1.json", "runs/a/2.json", "runs/a/b/3.json", "runs2/4.json", "runs.json"):
        store.create(path, path.encode())
    assert [(s.path, s.size_bytes) for s in store.find("runs")] == [
        ("runs/1.json", 11),
        ("runs/a/2.json", 13),
        ("runs/a/b/3.json", 15),
    ]
    assert store.find("nothing") == []


def test_the_folder_without_a_name_is_the_whole_repository(store: Store) -> None:
    """As `evidence verify` and `evidence bundle` list it."""
    for path in ("repository.json", "runs/2026/a.json", "runs/b.json", "backups/c.json"):
        store.create(path, b"{}")
    everything = ["backups/c.json", "repository.json", "runs/2026/a.json", "runs/b.json"]
    assert [s.path for s in store.find("")] == everything
    assert store.folders("") == ["backups", "runs"]


def test_a_deleted_object_is_gone_and_its_name_is_free(store: Store) -> None:
    store.create("a/b.json", b"old")
    store.delete("a/b.json")
    assert store.stat("a/b.json") is None
    assert store.find("a") == []
    store.create("a/b.json", b"new")
    assert store.read("a/b.json") == b"new"


def test_find_sees_more_than_one_page(store: Store, place: Place) -> None:
    # moto is told to page at 50; azurite only does above 5,000
    count = 1010 if place.kind == "gcs" else 60
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: store.create(f"many/{n:05d}.json", b"x"), range(count)))
    assert len(store.find("many")) == count


# parts


@pytest.mark.parametrize("size", [0, 1, 3 * MIB, 8 * MIB, 8 * MIB + 1, 24 * MIB, 24 * MIB + 17])
def test_an_object_of_any_size_arrives_whole(store: Store, size: int) -> None:
    data = content(size)
    sink = store.sink("p.snapshot", size_hint=size)
    fill(sink, data)
    sink.commit()
    there = store.stat("p.snapshot")
    assert there is not None
    assert there.size_bytes == size
    read = hashlib.sha256()
    for block in store.read_range("p.snapshot"):
        read.update(block)
    assert read.hexdigest() == hashlib.sha256(data).hexdigest()
    assert store.open_uploads("") == [] or size == 0


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, None), (0, 1), (5, 5), (7, 9 * MIB), (9 * MIB, None), (8 * MIB - 1, 8 * MIB + 1),
     (20 * MIB - 3, 90 * MIB), (20 * MIB, None), (30 * MIB, 31 * MIB)],
)  # fmt: skip
def test_a_range_is_what_it_says_as_far_as_the_object_goes(
    store: Store, start: int, end: int | None
) -> None:
    data = content(20 * MIB)
    sink = store.sink("p.snapshot")
    fill(sink, data)
    sink.commit()
    assert b"".join(store.read_range("p.snapshot", start, end)) == data[start:end]


def test_nothing_is_visible_before_commit(store: Store) -> None:
    sink = store.sink("a/p.snapshot")
    fill(sink, content(20 * MIB))
    assert store.stat("a/p.snapshot") is None
    assert store.find("a") == []
    sink.commit()
    assert [s.size_bytes for s in store.find("a")] == [20 * MIB]


@pytest.mark.parametrize("size", [0, 1000, 20 * MIB])
def test_an_aborted_write_leaves_nothing(store: Store, size: int) -> None:
    sink = store.sink("a/p.snapshot")
    fill(sink, content(size))
    sink.abort()
    sink.abort()
    assert store.stat("a/p.snapshot") is None
    assert store.find("a") == []
    assert store.open_uploads("a") == []


def test_a_part_that_is_there_is_refused(store: Store) -> None:
    store.create("p.snapshot", b"precious")
    with pytest.raises(Conflict, match="exists"):
        store.sink("p.snapshot").commit()
    assert store.read("p.snapshot") == b"precious"


@pytest.mark.parametrize("size", [0, 1000, 20 * MIB])
def test_a_part_that_appears_while_another_is_written_is_kept(
    store: Store, place: Place, size: int
) -> None:
    if size > 8 * MIB:  # in parts: fake-gcs-server ignores the condition of a resumable upload
        place.need("late writer")
    sink = store.sink("p.snapshot")
    # before the first part is sent: azurite takes a name for taken once a block is staged there
    store.create("p.snapshot", b"precious")

    def write() -> None:
        fill(sink, content(size))
        sink.commit()

    with pytest.raises(Conflict, match="exists"):
        write()
    sink.abort()
    assert store.read("p.snapshot") == b"precious"
    assert store.open_uploads("") == []


@pytest.mark.parametrize("size", [1000, 20 * MIB])
def test_replacing_is_one_step(store: Store, size: int) -> None:
    store.create("p.snapshot", b"rotten")
    sink = store.sink("p.snapshot", replace=True)
    fill(sink, content(size))
    assert store.read("p.snapshot") == b"rotten"
    sink.commit()
    assert b"".join(store.read_range("p.snapshot")) == content(size)


def test_an_aborted_replacement_leaves_the_old(store: Store) -> None:
    store.create("p.snapshot", b"old")
    sink = store.sink("p.snapshot", replace=True)
    fill(sink, content(20 * MIB))
    sink.abort()
    assert store.read("p.snapshot") == b"old"


def test_an_open_upload_is_found_and_can_be_discarded(store: Store, place: Place) -> None:
    place.need("uploads")
    sink = store.sink("a/p.snapshot")
    fill(sink, content(20 * MIB))
    assert store.open_uploads("b") == []
    (upload,) = store.open_uploads("a")
    assert upload.path == "a/p.snapshot"
    store.discard_upload(upload)
    assert store.open_uploads("a") == []
    store.discard_upload(upload)  # two sweeps at once: the second finds it gone
    with pytest.raises(DRError):
        sink.commit()
    assert store.stat("a/p.snapshot") is None


# other processes

CHILD = """
import json, os, sys
from datetime import timedelta
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.repository.open_store import open_store
cfg, do = json.load(sys.stdin)
store = open_store(RepositoryConfig.model_validate(cfg), stall_timeout=timedelta(seconds=60))
exec(do)
sys.stdout.flush()
os._exit(0)
"""


def in_another_process(config: RepositoryConfig, do: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=json.dumps([config.model_dump(mode="json"), do]),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_another_process_did_is_seen_at_once(
    store: Store, place: Place, config: RepositoryConfig
) -> None:
    place.need("processes")
    store.create("x/mine.json", b"mine")
    assert len(store.find("x")) == 1
    seen = in_another_process(
        config,
        "print([s.path for s in store.find('x')]);"
        "store.create('x/theirs.json', b'theirs'); store.delete('x/mine.json')",
    )
    assert seen.strip() == "['x/mine.json']"
    assert [s.path for s in store.find("x")] == ["x/theirs.json"]
    assert store.stat("x/mine.json") is None
    assert store.stat("x/theirs.json") is not None


def test_a_process_that_dies_while_writing_leaves_nothing_visible(
    store: Store, place: Place, config: RepositoryConfig
) -> None:
    place.need("processes")
    in_another_process(
        config, "s = store.sink('x/p.snapshot'); [s.write(bytes(2**20)) for _ in range(20)]"
    )
    assert store.find("x") == []
    assert store.stat("x/p.snapshot") is None


# trouble

Ask = Callable[[Store], object]
ASK = [
    pytest.param(lambda s: s.read("repository.json"), id="read"),
    pytest.param(lambda s: s.stat("repository.json"), id="stat"),
    pytest.param(lambda s: s.create("x.json", b"x"), id="create"),
    pytest.param(lambda s: fill(s.sink("x"), content(20 * MIB)), id="sink"),
]


@pytest.mark.parametrize("ask", ASK)
def test_wrong_credentials_are_denied_and_not_told(
    place: Place, config: RepositoryConfig, ask: Ask
) -> None:
    place.need("credentials")
    wrong = config.model_copy(update={"options": {**config.options, **place.wrong}})
    store = open_store(wrong, stall_timeout=PATIENCE)
    with pytest.raises(RepositoryDenied, match="refused") as caught:
        ask(store)
    assert "store" in str(caught.value)
    for secret in place.wrong.values():
        assert secret not in str(caught.value)


@pytest.mark.parametrize("ask", [ASK[0], ASK[2]])
def test_a_missing_bucket_is_not_an_empty_store(
    place: Place, config: RepositoryConfig, ask: Ask
) -> None:
    place.need("bucket")
    gone = config.model_copy(update={"url": config.url.replace("backups", "no-such-bucket")})
    with pytest.raises((RepositoryMissing, ObjectMissing)):
        ask(open_store(gone, stall_timeout=PATIENCE))


def test_a_dead_endpoint_is_known_in_seconds(place: Place, config: RepositoryConfig) -> None:
    place.need("endpoint")
    dead = config.model_copy(update={"options": {**config.options, **place.dead}})
    began = time.monotonic()
    with pytest.raises(RepositoryUnreachable):
        open_store(dead, stall_timeout=PATIENCE).read("repository.json")
    assert time.monotonic() - began < 20


# letting others read


def test_a_store_that_cannot_sign_says_so(place: Place, store: Store) -> None:
    if place.kind not in ("memory", "file", "gcs"):
        pytest.skip(f"{place.kind} can sign")
    if place.kind == "gcs" and "signed" in place.proves:
        pytest.skip("these credentials can sign")
    with pytest.raises(CannotSign, match="URL") as refused:
        store.signed_url("a/b.json", 60)
    assert "--way upload" in refused.value.hint


def test_a_signed_url_reads_the_object_and_without_its_signature_nobody_does(
    place: Place, store: Store
) -> None:
    place.need("signed")
    data = content(3 * MIB)
    sink = store.sink("a/part.snapshot", size_hint=len(data))
    fill(sink, data)
    sink.commit()
    url = store.signed_url("a/part.snapshot", 60)
    answer = httpx.get(url, timeout=30, trust_env=False)
    assert (answer.status_code, answer.content) == (200, data)
    assert httpx.get(url.partition("?")[0], timeout=30, trust_env=False).status_code >= 400
