"""`python -m benchmarks.looks_on_disk`: `status`, `watch` and `report` of backups in three folders.

Each of three repositories has the same backups of 10 collections, two proofs of each and the
records of two runs for each, as in `looks`. A new process each time: the first time, and when it
has looked before. What a backup costs beyond a start is printed between the two sizes: it should
not grow with their number.

BENCH_LOOKS_ON_DISK (800,2000): numbers of backups. BENCH_ROUNDS (3).
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import yaml

from benchmarks import machine, side, verdict
from benchmarks.history import NAMES, history, id_of
from benchmarks.status import AIM, Took
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.repository import location_of

COLLECTIONS = 10
COMMANDS = ("status", "watch", "report")
_KNOWN = (0, 1, 3)
"""Exit codes of looks: what is found may be a reason for alarm."""


def main() -> None:
    """Measure, print both readings of each size and the verdicts."""
    sizes = [int(n) for n in os.environ.get("BENCH_LOOKS_ON_DISK", "800,2000").split(",")]
    rounds = int(os.environ.get("BENCH_ROUNDS", "3"))
    print(machine(), flush=True)
    warm: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for backups in sizes:
        with TemporaryDirectory(prefix="qdr-bench-") as base:
            config = _repositories(Path(base), backups)
            for name in COMMANDS:
                first = _look(config, name, f"first-{name}")
                again = [_look(config, name, f"first-{name}") for _ in range(rounds)]
                _print(f"{backups} x {len(NAMES)}, {name}", first, again)
                warm[name].append(median(took.processor for took in again))
                if name == "status":
                    ratio = median(took.seconds for took in again) / AIM
                    what = f"{backups} backups, status, warm, to two seconds"
                    print(verdict("looks-on-disk", what, ratio, 1.0), flush=True)
    for name, costs in warm.items():
        if len(sizes) > 1:
            more = (costs[-1] - costs[0]) / (sizes[-1] - sizes[0])
            print(f"  {name}: {more * 1000:.2f} ms of a processor for a backup more, warm")


def _print(name: str, first: Took, again: list[Took]) -> None:
    print(side(f"{name}, the first time", [first.seconds], "s"))
    print(side("  of a processor", [first.processor], "s"))
    print(side(f"{name}, warm", [took.seconds for took in again], "s"))
    print(side("  of a processor", [took.processor for took in again], "s"), flush=True)


def _repositories(folder: Path, backups: int) -> Path:
    """The history in three folders, and a configuration of them."""
    stated = []
    for name in NAMES:
        cfg = RepositoryConfig(name=name, id=id_of(name), url=(folder / name).as_uri(), domain=name)
        every = history(
            backups, COLLECTIONS, location_of(cfg), datetime.now(UTC), repository_id=cfg.id or "",
            runs=True,
        )  # fmt: skip
        for path, data in every:
            file = folder / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        stated.append({"name": name, "id": cfg.id, "url": cfg.url, "domain": name})
    config = folder / "qdrant-dr.yaml"
    body = {
        "format": 1,
        "cluster": {"name": "prod", "nodes": ["http://127.0.0.1:9"]},
        "repositories": stated,
        "capture": {"spool": {"path": str(folder / "spool"), "max": "1GiB"}},
        "report": {"url": str(folder / "reports")},
    }
    config.write_text(yaml.safe_dump(body))
    return config


def _look(config: Path, name: str, remembered: str) -> Took:
    """The time of one command, with a cache of its own."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(config.parent / remembered)}
    command = [sys.executable, "-m", "qdrant_dr.cli", "-c", str(config), name]
    begin, worked = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    seconds = time.perf_counter() - begin
    if done.returncode not in _KNOWN or "collection-" not in done.stdout + done.stderr:
        raise RuntimeError(
            f"{name} ended with {done.returncode}: {done.stdout[-500:]}{done.stderr}"
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - worked.ru_utime - worked.ru_stime
    return Took(seconds, processor)


if __name__ == "__main__":
    main()
