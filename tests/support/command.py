"""A `qdrant-dr` process that can be killed at a moment that is seen."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

from tests.support.forked import Forked, fork
from tests.support.world import World

PATIENCE = 60.0


def _below(pid: int) -> Iterator[int]:
    """Its children and theirs, asked of the kernel: psutil would read every process there is."""
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in map(int, task.read_text().split()):
                yield child
                yield from _below(child)


class Command:
    """A `qdrant-dr` process, forked, that can be killed when something is seen."""

    def __init__(self, world: World, *words: str) -> None:
        self._said = tempfile.TemporaryFile()  # noqa: SIM115
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        with Path(os.devnull).open("r+b") as nothing:
            pid, ends = fork(
                "cli", ["-c", world.reference, *words], Path.cwd(), environment,
                (nothing.fileno(), nothing.fileno(), self._said.fileno()),
            )  # fmt: skip
        self.process = Forked(pid, ends)
        self.family: set[psutil.Process] = set()

    def wait_for(self, seen: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not seen():
            self.look()
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, "the moment to kill never came"
            time.sleep(0.002)

    def said(self) -> str:
        """What it wrote to its standard error."""
        self._said.seek(0)
        return self._said.read().decode()

    def end(self) -> int:
        """Its exit code, once it ends by itself."""
        code = self.process.wait(PATIENCE)
        print(self.said())
        self._said.close()
        return code

    def look(self) -> int:
        """Remember the children; how many there are now."""
        children = list(_below(self.process.pid))
        for pid in children:
            with suppress(psutil.NoSuchProcess):
                self.family.add(psutil.Process(pid))
        return len(children)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send the signal, and see every child go with its parent."""
        self.look()
        self.process.send_signal(number)
        code = self.end()
        _, alive = psutil.wait_procs(self.family, timeout=10)
        assert alive == []
        return code
