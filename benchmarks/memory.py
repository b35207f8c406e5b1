"""Peak memory of a whole `qdrant-dr backup` for a small and a large snapshot: must not grow.

A node in this process serves a file as the snapshot of one collection; the command line runs in a
process of its own: create, download, three copies, manifests, and `--prove bytes` of every copy
(the engine and its memory are Qdrant's, not ours). The file is a real archive over and over: whole
archives are the business of depths that are not asked for here. The peak is VmHWM, the largest
resident size that the kernel saw, of the process and of every child it had, added up.

BENCH_SMALL_MIB (512) and BENCH_LARGE_MIB (4096) are the sizes, BENCH_ROUNDS (3) how often each is
backed up, in turns. Needs four times the larger size on the disk of TMPDIR. The repositories are
folders: S3 emulators hold whole objects in memory and read one whole for every range of it. What
uploads to three of them hold is printed by `fanout`.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import psutil

from benchmarks import machine, side, verdict
from tests.support.replay import FIXTURES, ReplaySource, Stored
from tests.support.world import make_world

AIM = 1.1
CEILING_MIB = 400.0
LOOK_EVERY = 0.02  # seconds


class BigSource(ReplaySource):
    """A node whose snapshot is a file that is hashed once, block by block, not held in memory."""

    def __init__(self, file: Path) -> None:
        super().__init__(["basic"])
        self.collections["movies"].archive = file
        with file.open("rb") as opened:
            self._sha256 = hashlib.file_digest(opened, "sha256").hexdigest()

    def _store(self, name: str, data: bytes | Path) -> Stored:
        return Stored(name, data, self._sha256, f'"{self._sha256[:16]}"')


def main() -> None:
    """Measure, print both sides, the ratio and the verdict."""
    sizes = {
        name: int(os.environ.get(f"BENCH_{name.upper()}_MIB", default))
        for name, default in (("small", "512"), ("large", "4096"))
    }
    rounds = int(os.environ.get("BENCH_ROUNDS", "3"))
    print(machine())
    peaks: dict[str, list[float]] = {name: [] for name in sizes}
    seconds: dict[str, list[float]] = {name: [] for name in sizes}
    with TemporaryDirectory(prefix="qdr-bench-") as folder:
        for _ in range(rounds):
            for name, mib in sizes.items():
                with _source(Path(folder), mib) as source:
                    start = time.monotonic()
                    peaks[name].append(_back_up(Path(folder), source) / 2**20)
                    seconds[name].append(time.monotonic() - start)
    print("memory: peak of `qdrant-dr backup --prove bytes` to three folders")
    for name, mib in sizes.items():
        print(side(f"{mib} MiB snapshot", peaks[name], "MiB"))
    for name, mib in sizes.items():
        print(side(f"{mib} MiB snapshot, time", seconds[name], "s"))
    small, large = median(peaks["small"]), median(peaks["large"])
    print(verdict("memory", "large to small", large / small, AIM))
    met = "met" if max(small, large) <= CEILING_MIB else "MISSED"
    print(f"memory: at most {max(small, large):.0f} MiB, aim <= {CEILING_MIB:.0f} MiB: {met}")


@contextmanager
def _source(folder: Path, mib: int) -> Iterator[BigSource]:
    file = folder / "archive"
    piece = (FIXTURES / "basic/collection.snapshot").read_bytes()
    with file.open("wb") as out:
        while (left := (mib << 20) - out.tell()) > 0:
            out.write(piece[:left])
    try:
        with BigSource(file) as source:
            yield source
    finally:
        file.unlink()


def _back_up(folder: Path, source: BigSource) -> int:
    """Peak bytes of one backup to three new repositories, which are removed again."""
    home = folder / "world"
    sections: dict[str, Any] = {
        "objectives": {"proven": {"depth": "bytes"}},  # what was not aimed at is not missed
        "copies": {"quorum": 3, "domains": 3, "stall_timeout": "300s"},
        "capture": {"spool": {"path": str(home / "spool"), "max": "64GiB"}},
    }
    try:
        world = make_world(home, source.url, repositories=("one", "two", "three"), **sections)
        command = [sys.executable, "-m", "qdrant_dr.cli", "backup", "--prove", "bytes", "--json"]
        return _peak([*command, "-c", world.reference])
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _peak(command: list[str]) -> int:
    """Run it to its end and return the peak resident bytes of it and its children, added up."""
    peaks: dict[int, int] = {}
    with TemporaryFile() as said:
        with subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT) as child:
            watched = psutil.Process(child.pid)
            while child.poll() is None:
                for pid in _tree(watched):
                    peaks[pid] = max(peaks.get(pid, 0), _high_water(pid))
                time.sleep(LOOK_EVERY)
        if child.returncode:
            said.seek(0)
            words = said.read().decode(errors="replace")
            raise RuntimeError(f"the backup ended with {child.returncode}: {words}")
    return sum(peaks.values())


def _tree(process: psutil.Process) -> list[int]:
    try:
        return [process.pid, *(p.pid for p in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _high_water(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


if __name__ == "__main__":
    main()
