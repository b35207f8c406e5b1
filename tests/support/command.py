"""A `qdrant-dr` process that can be killed at a moment that is seen."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import psutil

from tests.support.world import World

PATIENCE = 60.0


class Command:
    """A `qdrant-dr` process that can be killed when something is seen."""

    def __init__(self, world: World, *words: str) -> None:
        self.process = psutil.Popen(
            [sys.executable, "-m", "qdrant_dr.cli", "-c", world.reference, *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        )
        self.family: set[psutil.Process] = set()

    def wait_for(self, seen: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not seen():
            self.look()
            assert self.process.poll() is None, self.process.stderr.read().decode()
            assert time.monotonic() < deadline, "the moment to kill never came"
            time.sleep(0.002)

    def look(self) -> int:
        """Remember the children; how many there are now."""
        children = self.process.children(recursive=True)
        self.family.update(children)
        return len(children)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send the signal, and see every child go with its parent."""
        self.look()
        self.process.send_signal(number)
        code = self.process.wait(PATIENCE)
        self.process.stderr.close()
        _, alive = psutil.wait_procs(self.family, timeout=10)
        assert alive == []
        return int(code)
