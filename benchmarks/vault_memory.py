"""The part of `vault` that measures memory, in a process that holds nothing else."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.vault_repositories import BUFFER, KINDS, create_vault, write_backup
from qdrant_dr.proof.engine import anonymous_memory

CEILING_MIB = 600


def print_memory(folder: Path, size: int) -> None:
    """Print the most anonymous bytes of a process while three repositories take a stream."""
    command = [sys.executable, "-m", "benchmarks.vault_memory", str(folder), str(size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    shutil.rmtree(folder)
    idle, peak = (found / 2**20 for found in json.loads(done.stdout))
    met = "met" if peak <= CEILING_MIB else "MISSED"
    print(f"vault: memory of three repositories, {size >> 20} MiB: {peak:.0f} MiB, "
          f"{idle:.0f} of them before, aim <= {CEILING_MIB} MiB: {met}")  # fmt: skip


def measure(folder: Path, size: int) -> tuple[int, int]:
    """Return the anonymous bytes of this process before, and the most of them meanwhile."""
    repositories = [create_vault(folder / kind, kind) for kind in ("plain", *KINDS)]
    idle = anonymous_memory(os.getpid())
    with _watched() as peaks:
        write_backup(repositories, _never_the_same(size), size)
    return idle, max(peaks)


@contextmanager
def _watched() -> Iterator[list[int]]:
    """Look at the memory of this process 50 times a second."""
    peaks, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            peaks[0] = max(peaks[0], anonymous_memory(os.getpid()))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peaks
    finally:
        ended.set()
        watcher.join()


def _never_the_same(size: int) -> Iterator[bytes]:
    chance = random.Random(7)
    for at in range(0, size, BUFFER):
        yield chance.randbytes(min(BUFFER, size - at))


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]), int(sys.argv[2]))))
