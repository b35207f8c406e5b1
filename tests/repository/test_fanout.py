"""One read, N writes: who fails, stalls or fills up is left behind, the others commit."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from qdrant_dr.digests import SAMPLE_BLOCK, StreamDigest
from qdrant_dr.errors import DownloadMismatch, Interrupted, RepositoryError, Stalled, StorageFull
from qdrant_dr.repository import fan_out
from qdrant_dr.stores.bandwidth import BandwidthLimit, LimitedSink, shared_bandwidth_limit
from qdrant_dr.stores.local import LocalStore
from qdrant_dr.stores.memory import MemoryStore

MIB = 2**20
PATIENCE = timedelta(seconds=30)


def blocks(count: int = 24, size: int = MIB) -> Iterator[bytes]:
    for n in range(count):
        yield n.to_bytes(2, "little") * (size // 2)


WHOLE = b"".join(blocks())
DIGEST = hashlib.sha256(WHOLE).hexdigest()


@pytest.fixture
def disks(tmp_path: Path) -> dict[str, LocalStore]:
    return {n: LocalStore(n, tmp_path / n, make=True) for n in ("one", "two", "three")}


class Bad:
    """A sink that works until its third block."""

    def __init__(self, then: object) -> None:
        self.then, self.writes = then, 0
        self.committed = False
        self.aborted = threading.Event()

    def write(self, block: bytes) -> None:
        self.writes += 1
        if self.writes < 3:
            return
        if isinstance(self.then, BaseException):
            raise self.then
        assert isinstance(self.then, threading.Event)
        self.then.wait(60)

    def commit(self) -> None:
        self.committed = True

    def abort(self) -> None:
        self.aborted.set()


def sinks(disks: dict[str, LocalStore]) -> dict[str, object]:
    return {name: lambda d=disk: d.sink("a/p.snapshot") for name, disk in disks.items()}


def whole(disk: LocalStore) -> bool:
    return b"".join(disk.read_range("a/p.snapshot")) == WHOLE


def nothing(disk: LocalStore) -> bool:
    return disk.find("a") == [] and disk.open_uploads("a") == []


def test_one_read_reaches_every_sink(disks: dict[str, LocalStore]) -> None:
    reads = 0

    def counted() -> Iterator[bytes]:
        nonlocal reads
        for block in blocks():
            reads += 1
            yield block

    done = fan_out(counted(), sinks(disks), stall_timeout=PATIENCE)
    assert reads == 24
    assert done.left_behind == {}
    assert set(done.receipts) == set(disks)
    for name, disk in disks.items():
        assert (done.receipts[name].size_bytes, done.receipts[name].sha256) == (len(WHOLE), DIGEST)
        assert whole(disk)


def test_an_empty_source_makes_empty_objects(disks: dict[str, LocalStore]) -> None:
    done = fan_out(iter(()), sinks(disks), stall_timeout=PATIENCE)
    assert [r.size_bytes for r in done.receipts.values()] == [0, 0, 0]
    assert [r.blocks for r in done.receipts.values()] == [(), (), ()]


def test_a_source_that_knows_its_digest_is_asked_before_anything_is_committed(
    disks: dict[str, LocalStore],
) -> None:
    """It compares what was handed on with what it announced, once it has no more."""
    digest = StreamDigest()

    def comparing(announced: str) -> Iterator[bytes]:
        yield from blocks()
        if digest.sha256 != announced:
            raise DownloadMismatch("other bytes")

    with pytest.raises(DownloadMismatch):
        fan_out(comparing("0" * 64), sinks(disks), stall_timeout=PATIENCE, digest=digest)
    assert all(nothing(disk) for disk in disks.values())
    digest = StreamDigest()
    done = fan_out(comparing(DIGEST), sinks(disks), stall_timeout=PATIENCE, digest=digest)
    assert all(whole(disk) for disk in disks.values())
    each = [WHOLE[at : at + SAMPLE_BLOCK] for at in range(0, len(WHOLE), SAMPLE_BLOCK)]
    assert done.receipts["one"].blocks == tuple(hashlib.sha256(b).hexdigest() for b in each)
    assert all(d.stat("a/p.snapshot") for d in disks.values())


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(28, "No space left on device"), StorageFull),
        (StorageFull("the bucket is full"), StorageFull),
        (KeyError("a defect of a library"), RepositoryError),
    ],
)
def test_one_that_raises_is_left_behind_and_the_others_commit(
    disks: dict[str, LocalStore], error: Exception, kind: type[Exception]
) -> None:
    bad = Bad(error)
    done = fan_out(blocks(), {"bad": lambda: bad, **sinks(disks)}, stall_timeout=PATIENCE)
    assert set(done.receipts) == set(disks)
    assert all(whole(d) for d in disks.values())
    assert isinstance(done.left_behind["bad"], kind)
    assert bad.aborted.is_set()
    assert not bad.committed


def test_one_that_cannot_even_begin_is_left_behind(disks: dict[str, LocalStore]) -> None:
    disks["two"].create("a/p.snapshot", b"there already")
    done = fan_out(blocks(), sinks(disks), stall_timeout=PATIENCE)
    assert set(done.receipts) == {"one", "three"}
    assert "exists" in done.left_behind["two"].message
    assert disks["two"].read("a/p.snapshot") == b"there already"


def test_one_that_stalls_is_left_behind_with_its_name_and_the_others_go_on(
    disks: dict[str, LocalStore],
) -> None:
    hang = threading.Event()
    bad = Bad(hang)
    began = time.monotonic()
    done = fan_out(
        blocks(),
        {"bad": lambda: bad, **sinks(disks)},
        stall_timeout=timedelta(seconds=1.5),
        queue_blocks=2,
    )
    assert time.monotonic() - began < 25
    assert set(done.receipts) == set(disks)
    assert all(whole(d) for d in disks.values())
    assert isinstance(done.left_behind["bad"], Stalled)
    assert "bad made no progress for 1.5 s" in done.left_behind["bad"].message
    hang.set()
    assert bad.aborted.wait(10)
    assert not bad.committed


def test_a_slow_source_makes_nobody_stall(disks: dict[str, LocalStore]) -> None:
    def slow() -> Iterator[bytes]:
        for block in blocks(4):
            time.sleep(0.5)
            yield block

    done = fan_out(slow(), sinks(disks), stall_timeout=timedelta(seconds=0.3))
    assert done.left_behind == {}


def test_a_slow_repository_that_makes_progress_is_waited_for(
    disks: dict[str, LocalStore],
) -> None:
    throttled = LimitedSink(disks["one"].sink("a/p.snapshot"), BandwidthLimit(20 * MIB))
    began = time.monotonic()
    done = fan_out(
        blocks(),
        {"slow": lambda: throttled, "fast": lambda: disks["two"].sink("a/p.snapshot")},
        stall_timeout=timedelta(seconds=1),
        queue_blocks=2,
    )
    assert done.left_behind == {}
    assert time.monotonic() - began > 0.8
    assert whole(disks["one"])
    assert whole(disks["two"])


def test_a_throttle_slower_than_the_stall_timeout_is_no_stall(disks: dict[str, LocalStore]) -> None:
    throttled = LimitedSink(disks["one"].sink("a/p.snapshot"), BandwidthLimit(20_000))
    began = time.monotonic()
    done = fan_out(
        iter([b"x" * 40_000]),  # one block: two seconds of bandwidth
        {"slow": lambda: throttled},
        stall_timeout=timedelta(seconds=0.4),
    )
    assert done.left_behind == {}
    assert time.monotonic() - began > 1.5
    assert b"".join(disks["one"].read_range("a/p.snapshot")) == b"x" * 40_000


def test_one_that_hangs_behind_a_throttle_is_stalled_still(disks: dict[str, LocalStore]) -> None:
    forever = threading.Event()
    bad = Bad(forever)
    try:
        done = fan_out(
            iter([b"x" * 40_000]),
            {"bad": lambda: LimitedSink(bad, BandwidthLimit(40_000))},
            stall_timeout=timedelta(seconds=0.4),
        )
        assert isinstance(done.left_behind["bad"], Stalled)
        assert bad.writes == 3
    finally:
        forever.set()
    assert bad.aborted.wait(5)
    assert not bad.committed


def test_a_long_wait_for_a_throttle_ends_with_the_source(disks: dict[str, LocalStore]) -> None:
    def broken() -> Iterator[bytes]:
        yield b"x" * 40_000  # at this bandwidth it waits for hours
        raise DownloadMismatch("the checksum differs")

    throttled = LimitedSink(disks["one"].sink("a/p.snapshot"), BandwidthLimit(1))
    began = time.monotonic()
    with pytest.raises(DownloadMismatch):
        fan_out(broken(), {"slow": lambda: throttled}, stall_timeout=PATIENCE)
    assert time.monotonic() - began < 10
    assert nothing(disks["one"])


def test_an_error_of_the_source_leaves_nothing_anywhere(disks: dict[str, LocalStore]) -> None:
    def broken() -> Iterator[bytes]:
        yield from blocks()
        raise DownloadMismatch("the checksum differs")

    with pytest.raises(DownloadMismatch, match="checksum"):
        fan_out(broken(), sinks(disks), stall_timeout=PATIENCE)
    assert all(nothing(d) for d in disks.values())


def test_an_interrupt_leaves_nothing_anywhere(disks: dict[str, LocalStore]) -> None:
    def interrupted() -> Iterator[bytes]:
        yield from blocks(5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fan_out(interrupted(), sinks(disks), stall_timeout=PATIENCE)
    assert all(nothing(d) for d in disks.values())


def test_an_error_of_the_source_does_not_wait_for_one_that_hangs(
    disks: dict[str, LocalStore],
) -> None:
    def broken() -> Iterator[bytes]:
        yield from blocks(4)
        raise DownloadMismatch("the checksum differs")

    hang = threading.Event()
    began = time.monotonic()
    with pytest.raises(DownloadMismatch):
        fan_out(
            broken(),
            {"bad": lambda: Bad(hang), **sinks(disks)},
            stall_timeout=timedelta(seconds=1),
        )
    hang.set()
    assert time.monotonic() - began < 20
    assert all(nothing(d) for d in disks.values())


def test_when_all_are_left_behind_reading_stops() -> None:
    read = 0

    def endless() -> Iterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield bytes(1024)

    full = StorageFull("full")
    done = fan_out(
        endless(), {"a": lambda: Bad(full), "b": lambda: Bad(full)}, stall_timeout=PATIENCE
    )
    assert done.receipts == {}
    assert set(done.left_behind) == {"a", "b"}
    assert read < 10_000


def test_memory_is_the_queues_and_not_the_snapshot(tmp_path: Path) -> None:
    """256 MiB through two disks with 4 blocks of 1 MiB each: far less than 256 MiB more."""
    process = psutil.Process()
    disks = [LocalStore(n, tmp_path / n, make=True) for n in ("one", "two")]
    peak = base = process.memory_info().rss

    def watched() -> Iterator[bytes]:
        nonlocal peak
        for n in range(256):
            peak = max(peak, process.memory_info().rss)
            yield bytes([n]) * MIB

    done = fan_out(
        watched(),
        {d.name: (lambda d=d: d.sink("p.snapshot")) for d in disks},
        stall_timeout=PATIENCE,
        queue_blocks=4,
    )
    assert len(done.receipts) == 2
    assert peak - base < 64 * MIB


FULL = """
import resource, sys
from datetime import timedelta
from pathlib import Path
from qdrant_dr.repository import fan_out
from qdrant_dr.stores.local import LocalStore
from qdrant_dr.stores.memory import MemoryStore
disk = LocalStore("disk", Path(sys.argv[1]), make=True)
memory = MemoryStore("memory", "full")
resource.setrlimit(resource.RLIMIT_FSIZE, (5 * 2**20, 5 * 2**20))
done = fan_out(
    (bytes(2**20) for _ in range(20)),
    {"disk": lambda: disk.sink("p.snapshot"), "memory": lambda: memory.sink("p.snapshot")},
    stall_timeout=timedelta(seconds=30),
)
print(done.left_behind["disk"].code, sorted(done.receipts), memory.stat("p.snapshot").size_bytes,
      disk.find(""), disk.open_uploads(""))
"""


def test_a_limit_of_the_system_on_one_disk_leaves_that_one_behind(tmp_path: Path) -> None:
    done = _run(FULL, str(tmp_path / "disk"))
    assert done == f"storage-full ['memory'] {20 * MIB} [] []"


@pytest.mark.skipif(os.geteuid() != 0, reason="a disk that is really full needs root to mount it")
def test_a_disk_that_is_really_full_leaves_that_one_behind(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(small)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting is not allowed here")
    try:
        disk = LocalStore("small", small)
        memory = MemoryStore("memory", "really-full")
        done = fan_out(
            blocks(),
            {"small": lambda: disk.sink("p"), "memory": lambda: memory.sink("p")},
            stall_timeout=PATIENCE,
        )
        assert isinstance(done.left_behind["small"], StorageFull)
        assert set(done.receipts) == {"memory"}
        assert disk.find("") == []
        assert disk.open_uploads("") == []
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


HUNG = """
import time
from datetime import timedelta
from qdrant_dr.repository import fan_out
class Hung:
    def write(self, block): time.sleep(3600)
    def commit(self): pass
    def abort(self): pass
done = fan_out((b"x" for _ in range(9)), {"hung": Hung}, stall_timeout=timedelta(seconds=0.5))
print(done.left_behind["hung"].code)
"""


def test_a_thread_that_hangs_for_ever_does_not_keep_the_process() -> None:
    began = time.monotonic()
    assert _run(HUNG) == "stalled"
    assert time.monotonic() - began < 20


def _run(program: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_throttle_keeps_its_rate_for_all_who_share_it() -> None:
    limit = BandwidthLimit(40 * MIB)

    def take() -> None:
        for _ in range(10):
            time.sleep(limit.reserve(MIB))

    began = time.monotonic()
    writers = [threading.Thread(target=take) for _ in range(4)]
    for w in writers:
        w.start()
    for w in writers:
        w.join(20)
    assert 0.7 < time.monotonic() - began < 15


def test_units_that_open_a_repository_again_share_its_bandwidth() -> None:
    first = shared_bandwidth_limit("s3://bucket/a", 10 * MIB)
    assert shared_bandwidth_limit("s3://bucket/a", 10 * MIB) is first
    assert shared_bandwidth_limit("s3://bucket/b", 10 * MIB) is not first


def test_a_stop_does_not_wait_for_slow_repositories(disks: dict[str, LocalStore]) -> None:
    """All is read and one sink crawls, or hangs in the middle of a write: seconds, no more."""
    hang, asked = threading.Event(), threading.Event()
    began = time.monotonic()
    threading.Timer(0.3, asked.set).start()
    with pytest.raises(Interrupted, match="asked to stop"):
        fan_out(
            blocks(4),
            {"bad": lambda: Bad(hang), **sinks(disks)},
            stall_timeout=timedelta(minutes=5),
            stopped=asked.is_set,
        )
    hang.set()
    assert time.monotonic() - began < 20
