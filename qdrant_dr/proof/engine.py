"""Run Qdrant's storage engine in a child process, watched from outside.

A panic, an abort, a kill, a hang, too much memory or an invalid answer becomes an error of the
tree, never a dead caller: EngineFailed if the archive is the cause, EngineCrashed if that is
likely, EngineHindered, EngineStalled or StorageFull if this machine is the cause."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from qdrant_dr.children import bare_environment
from qdrant_dr.errors import DRError, EngineHindered, EngineStalled, EngineTooOld
from qdrant_dr.proof.child_timeout import Patience, effort_of
from qdrant_dr.proof.crash_cause import MORE_MEMORY, death, failure
from qdrant_dr.records import Fingerprint

ENGINE_PACKAGE = "qdrant-edge-py"
_COVERS = {(0, 7): (1, 18), (0, 8): (1, 19), (0, 9): (1, 20)}
"""The newest server whose archives each engine reads; it refuses newer segment formats."""
_WATCH_SECONDS = 0.2
_MESSAGE_MAX = 1 << 30
_LAST_WORDS = 4000


def engine_version() -> str:
    """Return the version of the installed engine, as recorded in proofs: `edge 0.9.0`."""
    return f"edge {version(ENGINE_PACKAGE)}"


def engine_covers(server_version: str, engine: str | None = None) -> bool:
    """Say whether the engine is new enough for archives of this server; False if unknown."""
    ours = _minor(engine or engine_version())
    theirs = _minor(server_version)
    if ours is None or theirs is None or ours < min(_COVERS):
        return False
    return theirs <= _COVERS.get(ours, _COVERS[max(_COVERS)])


def require_engine(server_version: str) -> None:
    """Raise EngineTooOld unless the engine covers the server that wrote the archive."""
    if not engine_covers(server_version):
        raise EngineTooOld(
            f"{engine_version()} is too old for archives of Qdrant {server_version}: "
            "its results would prove nothing"
        )


def _minor(text: str) -> tuple[int, int] | None:
    match = re.search(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True)
class EngineLimits:
    """The limits of the child: anonymous memory in bytes, and time without a sign of work."""

    memory_bytes: int = 8 << 30
    stall_timeout: timedelta = timedelta(minutes=5)


@dataclass(frozen=True)
class Loaded:
    """A shard as the engine opened it, with the write-ahead log replayed."""

    segments: dict[str, int]
    points: int

    @property
    def operation(self) -> int:
        """Return the number of the last operation that changed this shard."""
        return max(self.segments.values(), default=0)


@dataclass(frozen=True)
class PointsRead:
    """What a child read: the ids at the positions that it was asked to `pick`, of how many points
    the vectors were taken from the files, and why of none although it was asked to."""

    fingerprint: Fingerprint
    sketch: tuple[str, ...] = ()
    picked: tuple[int | str, ...] = ()
    stored: int = 0
    disagreed: str | None = None


class Engine:
    """One child process. Starting does not wait for it, so that it starts up while bytes arrive.

    Use it, and leave its `with` block, in the thread that made it: the child dies with that thread.
    """

    def __init__(self, folder: Path, limits: EngineLimits) -> None:
        self.limits = limits
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._errors = folder / f"engine-{time.monotonic_ns()}.log"
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._errors.open("wb") as errors:
            return subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "qdrant_dr.proof.engine_child",
                    str(os.getpid()),
                    str(self.limits.memory_bytes),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                start_new_session=True,
                env=bare_environment({"OPENBLAS_NUM_THREADS": "1"}),  # it multiplies no matrices
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()
        self._errors.unlink(missing_ok=True)

    def restart(self) -> None:
        """Start a new child in place of one that died or is no longer usable; no shard is open."""
        self._end()
        self._process = self._start()

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()

    def load(self, folder: Path) -> Loaded:
        """Open the shard in `folder`, which changes its files. Raise as `wait`."""
        self.ask("load", path=str(folder))
        facts = self.wait()
        segments = {uuid: number or 0 for uuid, number in facts["segments"].items()}
        return Loaded(segments, facts["points"])

    def ask(self, do: str, **arguments: Any) -> None:
        """Send a request; `wait` returns its answer."""
        data = json.dumps({"do": do, **arguments}).encode()
        assert self._process.stdin is not None
        message = memoryview(len(data).to_bytes(4, "big") + data)
        try:
            while message:
                message = message[self._process.stdin.write(message) :]
        except BrokenPipeError:
            raise self._died() from None

    def wait(self, told: Callable[[int], None] | None = None) -> Any:
        """Return the answer to the last request. What the child does prolongs the time-out: what
        it says, and while it is silent what the kernel sees of its work. `told` hears of points.

        Raise EngineFailed, EngineCrashed, EngineHindered, EngineStalled or StorageFull.
        """
        while True:
            message = self._message()
            if "done" in message:
                return message["done"]
            if "failed" in message:
                raise failure(message["failed"], self._folder)
            if told:
                told(message["progress"])

    def wait_read(self) -> tuple[Fingerprint, tuple[str, ...]]:
        """Return the answer to `read` or `retrieve`: fingerprint, and the sketch of a whole
        shard."""
        read = self.wait_points()
        return read.fingerprint, read.sketch

    def wait_points(self, told: Callable[[int], None] | None = None) -> PointsRead:
        """Return all of the answer to `read` or `retrieve`."""
        answer = self.wait(told)
        return PointsRead(
            fingerprint=Fingerprint.model_validate(answer["fingerprint"]),
            sketch=tuple(answer.get("sketch", ())),
            picked=tuple(answer.get("picked", ())),
            stored=answer.get("stored", 0),
            disagreed=answer.get("disagreed"),
        )

    def _message(self) -> dict[str, Any]:
        timeout = self.limits.stall_timeout.total_seconds()
        patience = Patience(timeout, time.monotonic(), effort_of(self.pid))
        length = int.from_bytes(self._bytes(4, patience), "big")
        if length > _MESSAGE_MAX:
            raise EngineHindered(f"the engine's answer is invalid: {length} bytes announced")
        try:
            message = json.loads(self._bytes(length, patience))
        except ValueError as e:
            raise EngineHindered(f"the engine's answer is invalid: {e}") from None
        if not isinstance(message, dict) or not message.keys() & {"done", "failed", "progress"}:
            raise EngineHindered("the engine's answer is invalid: not an object")
        return message

    def _bytes(self, wanted: int, patience: Patience) -> bytes:
        assert self._process.stdout is not None
        data = bytearray()
        while len(data) < wanted:
            ready, _, _ = select.select([self._process.stdout], [], [], _WATCH_SECONDS)
            if ready:
                more = os.read(self._process.stdout.fileno(), min(wanted - len(data), 1 << 20))
                if not more:
                    raise self._died()
                data += more
            elif lost := patience.lost(time.monotonic(), effort_of(self.pid)):
                raise EngineStalled(lost)
            self._watch_memory()
        return bytes(data)

    def _watch_memory(self) -> None:
        used = anonymous_memory(self.pid)
        if used > self.limits.memory_bytes:
            raise EngineHindered(
                f"the engine uses {used} bytes of memory, but {self.limits.memory_bytes} are "
                "allowed",
                MORE_MEMORY,
            )

    def _died(self) -> DRError:
        self._process.kill()
        code = self._process.wait()
        said = self._errors.read_bytes()[-_LAST_WORDS:].decode(errors="replace").strip()
        return death(code, said, self._folder)


def anonymous_memory(pid: int) -> int:
    """Return the bytes of RssAnon: a process's memory without mapped files; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    match = re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
    return int(match[1]) * 1024 if match else 0
