"""The engine in its child process: whatever happens to it, its caller lives and knows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from qdrant_dr.errors import (
    EngineCrashed,
    EngineFailed,
    EngineHindered,
    EngineStalled,
    EngineTooOld,
)
from qdrant_dr.proof.engine import (
    Engine,
    EngineLimits,
    anonymous_memory,
    engine_covers,
    engine_version,
    require_engine,
)
from qdrant_dr.proof.unpack import LaidOut, Limits, lay_out
from tests.support.archives import archive

LIMITS = EngineLimits(stall_timeout=timedelta(seconds=30))


@pytest.fixture
def laid(tmp_path: Path) -> LaidOut:
    folder = tmp_path / "laid"
    folder.mkdir()
    limits = Limits(1 << 30, 1 << 40, 64 << 30)
    return lay_out([archive("basic/collection")], folder, kind="collection", limits=limits)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    folder = tmp_path / "engine"
    with Engine(folder, LIMITS) as running:
        yield running
    assert not psutil.pid_exists(running.pid)
    assert list(folder.iterdir()) == []


def test_it_loads_counts_and_reads(engine: Engine, laid: LaidOut) -> None:
    loaded = engine.load(laid.shards[0].folder)
    assert (loaded.points, loaded.operation, len(loaded.segments)) == (2000, 6, 2)
    engine.ask("read")
    fingerprint, sketch = engine.wait_read()
    assert (fingerprint.points, len(sketch)) == (2000, 256)
    engine.ask("retrieve", ids=[1, 2, 99999])
    assert engine.wait_read()[0].points == 2


def test_a_folder_that_is_no_shard_is_an_answer(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    with pytest.raises(EngineFailed, match="the engine failed"):
        engine.load(tmp_path / "nothing")


@pytest.mark.parametrize("junk", [b"", b"{}", b"\0" * 100, b'{"version":-1,"config":{}}'])
def test_broken_metadata_are_a_failed_proof(engine: Engine, laid: LaidOut, junk: bytes) -> None:
    for path in (laid.shards[0].folder / "segments").glob("*/segment.json"):
        path.write_bytes(junk)
    with pytest.raises(EngineFailed):
        engine.load(laid.shards[0].folder)


def test_killed_while_it_works(engine: Engine, laid: LaidOut) -> None:
    engine.load(laid.shards[0].folder)
    os.kill(engine.pid, signal.SIGSTOP)
    engine.ask("read")
    threading.Timer(0.3, os.kill, (engine.pid, signal.SIGKILL)).start()
    with pytest.raises(EngineHindered, match="killed by signal 9"):
        engine.wait()


def test_asked_after_its_death(engine: Engine, laid: LaidOut) -> None:
    engine.load(laid.shards[0].folder)
    os.kill(engine.pid, signal.SIGKILL)
    psutil.Process(engine.pid).wait(10)
    with pytest.raises(EngineHindered, match=r"ended with code|killed by signal 9"):
        engine.ask("close")


def test_an_engine_that_aborts_is_a_crash(engine: Engine, laid: LaidOut) -> None:
    engine.load(laid.shards[0].folder)
    os.kill(engine.pid, signal.SIGABRT)
    with pytest.raises(EngineCrashed, match="killed by signal 6"):
        engine.wait()


def test_a_hang_is_seen(tmp_path: Path, laid: LaidOut) -> None:
    limits = replace(LIMITS, stall_timeout=timedelta(seconds=1))
    with Engine(tmp_path / "engine", LIMITS) as engine:
        engine.load(laid.shards[0].folder)
        engine.limits = limits
        os.kill(engine.pid, signal.SIGSTOP)
        engine.ask("read")
        begin = time.monotonic()
        with pytest.raises(EngineStalled, match="no progress in 1 s"):
            engine.wait()
        assert time.monotonic() - begin < 10
    assert not psutil.pid_exists(engine.pid)


BUSY = "import time\nend = time.monotonic() + 3\nwhile time.monotonic() < end: sum(range(10**5))\n"
DISK = (
    "import os, time\nfile = os.open({path!r}, os.O_CREAT | os.O_WRONLY | os.O_DSYNC)\n"
    "for _ in range(15): os.write(file, bytes(1 << 16)); time.sleep(0.2)\n"
)
ANSWER = "import sys; sys.stdout.buffer.write(b'\\0\\0\\0\\x0b{\"done\": 1}'); sys.stdout.flush()\n"


@pytest.mark.parametrize("work", [BUSY, DISK])
def test_a_silent_child_that_works_is_waited_for(work: str, tmp_path: Path) -> None:
    program = work.format(path=str(tmp_path / "log")) if work is DISK else work
    with _Strange(tmp_path / "engine", program + ANSWER + "sys.stdin.read(9)") as engine:
        engine.limits = replace(LIMITS, stall_timeout=timedelta(seconds=1.5))
        begin = time.monotonic()
        assert engine.wait() == 1
        assert time.monotonic() - begin > 2


def test_a_silent_child_that_does_nothing_is_not(tmp_path: Path) -> None:
    with _Strange(tmp_path / "engine", "import time; time.sleep(60)") as engine:
        engine.limits = replace(LIMITS, stall_timeout=timedelta(seconds=1.5))
        begin = time.monotonic()
        with pytest.raises(EngineStalled, match="neither used the processor nor moved bytes"):
            engine.wait()
        assert time.monotonic() - begin < 20


def test_a_child_that_runs_in_circles_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    with _Strange(tmp_path / "engine", "while True: pass") as engine:
        engine.limits = replace(LIMITS, stall_timeout=timedelta(seconds=0.1))
        with pytest.raises(EngineStalled, match="worked for 2 s without any progress"):
            engine.wait()


class _Strange(Engine):
    """A child that answers as told."""

    def __init__(self, folder: Path, program: str) -> None:
        super().__init__(folder, LIMITS)
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()
        self._process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("b'\\xff' * 100", "answer is invalid"),
        ("b'\\0\\0\\0\\5hello'", "answer is invalid"),
        ("b'\\0\\0\\0\\2[]'", "answer is invalid: not"),
        ("b'\\0\\0\\0\\2{}'", "answer is invalid: not"),
        ("b'\\0\\0'", "ended with code 0"),
        ("b''", "ended with code 0"),
    ],
)
def test_garbage_is_no_answer(answer: str, message: str, tmp_path: Path) -> None:
    program = (
        f"import sys; sys.stdout.buffer.write({answer}); sys.stdout.flush(); sys.stdin.read(9)"
    )
    if "ended" in message:
        program = f"import sys; sys.stdout.buffer.write({answer})"
    with (
        _Strange(tmp_path / "engine", program) as engine,
        pytest.raises(EngineHindered, match=message),
    ):
        engine.wait()


def test_what_it_says_before_it_dies_is_in_the_error(tmp_path: Path) -> None:
    with Engine(tmp_path / "engine", replace(LIMITS, memory_bytes=1 << 20)) as engine:
        with pytest.raises(EngineHindered) as failed:
            engine.load(tmp_path)
        assert "memory" in str(failed.value).lower() or "ended with code" in str(failed.value)


def test_too_much_memory_is_seen_from_outside(engine: Engine, laid: LaidOut) -> None:
    engine.load(laid.shards[0].folder)
    used = anonymous_memory(engine.pid)
    assert used > 1 << 20
    engine.limits = replace(LIMITS, memory_bytes=used // 2)
    engine.ask("read")
    with pytest.raises(EngineHindered, match=r"uses \d+ bytes of memory") as failed:
        engine.wait()
    assert "`proof.memory`" in failed.value.hint


def test_the_memory_of_a_process_that_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert anonymous_memory(process.pid) == 0


def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; "
        "from qdrant_dr.proof.engine import Engine, EngineLimits; "
        f"e = Engine(Path({str(tmp_path)!r}), EngineLimits()); "
        "print(e.pid, flush=True); e.ask('close'); e.wait(); print('up', flush=True); "
        "time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert parent.stdout.readline() == "up\n"
        assert psutil.pid_exists(pid)
        parent.kill()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie":
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("server", "engine", "covers"),
    [
        ("1.18.3", "edge 0.9.0", True),
        ("v1.20.4", "edge 0.9.0", True),
        ("1.21.0", "edge 0.9.0", False),
        ("2.0.0", "edge 0.9.0", False),
        ("1.19.0", "edge 0.7.2", False),
        ("1.18.3", "edge 0.7.2", True),
        ("1.18.3", "edge 0.6.0", False),
        ("1.20.0", "edge 0.11.0", True),
        ("1.21.0", "edge 0.11.0", False),
        ("unknown", "edge 0.9.0", False),
    ],
)
def test_which_servers_an_engine_covers(server: str, engine: str, covers: bool) -> None:
    assert engine_covers(server, engine) is covers


def test_an_engine_that_is_too_old_proves_nothing() -> None:
    require_engine("1.18.3")
    assert engine_version().startswith("edge 0.9")
    with pytest.raises(EngineTooOld, match=r"1\.21\.0"):
        require_engine("1.21.0")


def test_a_limit_that_was_too_low_is_named_by_its_key() -> None:
    assert "`proof.stall_timeout`" in EngineStalled("no progress").hint
