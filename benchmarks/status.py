"""`python -m benchmarks.status`: how long `qdrant-dr status` takes, from nothing to its last line.

A new process each time: interpreter, imports, configuration, every record of 50 collections with
five backups each, the table. In a folder, and on S3 (moto, on the same cores) when `status` runs
there for the first time and when it has before. A cold start of Python and of the modules alone is
printed beside it: the rest is ours.

BENCH_BACKUPS (250) in BENCH_COLLECTIONS (50) collections, BENCH_ROUNDS (5), in turns. The seconds
of processor time are printed, too: with other work on the machine they say more.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import NamedTuple

import yaml

from benchmarks import machine, side, verdict
from benchmarks.catalog import emulator, repository
from benchmarks.history import ID, history
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.repository import location_of

AIM = 2.0
BARE = "import qdrant_dr.cli.status"


class Took(NamedTuple):
    """Seconds by the clock, and of a processor."""

    seconds: float
    processor: float


def main() -> None:
    """Measure, print the medians and the verdicts."""
    backups = int(os.environ.get("BENCH_BACKUPS", "250"))
    collections = int(os.environ.get("BENCH_COLLECTIONS", "50"))
    rounds = int(os.environ.get("BENCH_ROUNDS", "5"))
    print(machine("moto"), flush=True)
    with (
        TemporaryDirectory(prefix="qdr-bench-") as base,
        emulator(backups, collections) as url,
    ):
        folder = Path(base)
        disk = RepositoryConfig(name="disk", id=ID, url=f"file://{folder}/disk", domain="bench")
        write(disk, folder / "disk", backups, collections)
        local, s3 = (configuration(folder, cfg) for cfg in (disk, repository(url)))
        first = status(s3, folder, collections)
        sides: dict[str, Callable[[], Took]] = {
            "in a folder": partial(status, local, folder, collections),
            "on S3, again": partial(status, s3, folder, collections),
            "the modules alone": partial(timed, [sys.executable, "-c", BARE], folder),
        }
        took: dict[str, list[Took]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, run in sides.items():
                took[name].append(run())
    print(f"status: {backups} backups of {collections} collections, load "
          f"{os.getloadavg()[0]:.1f} after")  # fmt: skip
    for name, runs in {"on S3, the first time": [first], **took}.items():
        print(side(name, [r.seconds for r in runs], "s"))
        print(side("  of a processor", [r.processor for r in runs], "s"))
    for name in ("in a folder", "on S3, again"):
        ratio = median(r.seconds for r in took[name]) / AIM
        print(verdict("status", f"{name}, to two seconds", ratio, 1.0))


def write(cfg: RepositoryConfig, folder: Path, backups: int, collections: int) -> None:
    """The history, as files."""
    for path, data in history(backups, collections, location_of(cfg), datetime.now(UTC)):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def configuration(folder: Path, cfg: RepositoryConfig) -> Path:
    """A configuration file with this repository, a key in it by reference."""
    options = {k: "env:BENCH_KEY" if v == "any" else v for k, v in cfg.options.items()}
    stated = {"name": cfg.name, "id": cfg.id, "url": cfg.url, "domain": cfg.domain}
    file = folder / f"{cfg.name}.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "format": 1,
                "cluster": {"name": "prod", "nodes": ["http://127.0.0.1:6333"]},
                "repositories": [{**stated, "options": options}],
                "copies": {"quorum": 1, "domains": 1},
            }
        )
    )
    return file


def status(config: Path, folder: Path, expected: int) -> Took:
    """The time of one `status`; it must have a line for every collection."""
    command = [sys.executable, "-m", "qdrant_dr.cli", "-c", str(config), "status"]
    return timed(command, folder, lines=expected)


def timed(command: Sequence[str], folder: Path, lines: int = 0) -> Took:
    """The time of a process."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder / "cache"), "BENCH_KEY": "any"}
    begin, worked = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    seconds = time.perf_counter() - begin
    if done.stdout.count("\ncollection-") != lines:
        raise RuntimeError(f"{lines} lines were expected: {done.stdout[-500:]}{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - worked.ru_utime - worked.ru_stime
    return Took(seconds, processor)


if __name__ == "__main__":
    main()
