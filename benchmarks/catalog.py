"""`python -m benchmarks.catalog`: everything known of 10,000 backups against `rclone lsf`.

Ours is `read_catalog` of an opened S3 repository, in a process of its own: every object listed,
every manifest, seal and proof read, its digest checked, the catalog put together. The first time
everything is fetched; the next time, as `status` and `list` do it, what is unchanged comes out of
the file that remembers it. rclone lists the names of the manifests and reads none of them: it
knows no collection, no proof, no seal. So `rclone copy` of the same records to a folder is
measured, too: the same bytes.

All talk to the same emulator (moto), which shares the cores and needs most of them. Memory is the
growth of the peak RSS while the catalog is read, per backup, at a quarter of the backups and at
all of them: the catalog holds what it read, so flat means that a backup costs no more.

BENCH_BACKUPS (10000) in BENCH_COLLECTIONS (50) collections; BENCH_ROUNDS (3), in turns, of what
takes seconds. What fetches all records runs once: an emulator gives a few hundred a second.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import machine, side, verdict
from benchmarks.history import BUCKET, ID, PREFIX
from qdrant_dr.config import RepositoryConfig
from tests.support.stores import await_http, child, free_port

AIM = 2.0
FLAT = 1.1
PATIENCE = 900.0  # seconds until an emulator on a busy machine has its history
RECORDS = ("manifest.json", "seal.json")


def main() -> None:
    """Measure, print the sides, the ratios and the verdicts."""
    backups = int(os.environ.get("BENCH_BACKUPS", "10000"))
    collections = int(os.environ.get("BENCH_COLLECTIONS", "50"))
    rounds = int(os.environ.get("BENCH_ROUNDS", "3"))
    rclone = shutil.which("rclone")
    print(machine("moto", *(["rclone"] if rclone else [])), flush=True)
    few = backups // 4
    with emulator(few, collections) as url, memory() as folder:
        one = _ours(url, few, folder)[1] / few
    print(f"  memory of {few} backups: {one / 1024:.1f} KiB each")
    seconds: dict[str, list[float]] = {}
    with emulator(backups, collections) as url, memory() as folder:
        first, grown = _ours(url, backups, folder)
        seconds["read_catalog, the first time"] = [first]
        sides: dict[str, Callable[[], float]] = {
            "read_catalog, again": lambda: _ours(url, backups, folder)[0]
        }
        if rclone:
            sides["rclone lsf of the manifests"] = partial(_lsf, rclone, url, backups)
        for _ in range(rounds):
            for name, run in sides.items():
                seconds.setdefault(name, []).append(run())
        if rclone:
            seconds["rclone copy of the records"] = [_copy(rclone, url, backups)]
    print(f"catalog: {backups} backups of {collections} collections on S3, load "
          f"{os.getloadavg()[0]:.1f} after")  # fmt: skip
    for name, values in seconds.items():
        print(side(name, values, "s"))
    each = grown / backups
    print(f"  memory of {backups} backups: {each / 1024:.1f} KiB each")
    print(verdict("catalog", "memory of a backup, among all to a quarter", each / one, FLAT))
    cold, warm, *peers = (median(values) for values in seconds.values())
    if not peers:
        print("catalog: skipped: there is no rclone in PATH, so there is no ratio of time")
        return
    names, bodies = peers
    print(f"  the first time, to rclone copy of the same records: ratio {cold / bodies:.2f}")
    print(f"  the first time, to rclone lsf: ratio {cold / names:.2f}")
    print(verdict("catalog", "again, to rclone lsf", warm / names, AIM))


@contextmanager
def memory() -> Iterator[str]:
    """A folder for what is remembered, empty at first."""
    with TemporaryDirectory(prefix="qdr-bench-") as folder:
        yield folder


@contextmanager
def emulator(backups: int, collections: int) -> Iterator[str]:
    """The URL of one that has the history."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.history", *map(str, (port, backups, collections))]
    with child(command, dict(os.environ)):
        url = f"http://127.0.0.1:{port}"
        begin = time.perf_counter()
        await_http(f"{url}/moto-api/", within=PATIENCE)
        print(f"  {backups} backups made in {time.perf_counter() - begin:.0f} s", flush=True)
        yield url


def repository(url: str) -> RepositoryConfig:
    """The configuration of the repository that the emulator starts with."""
    return RepositoryConfig(
        name="aws", id=ID, url=f"s3://{BUCKET}/{PREFIX}", domain="bench",
        options={"endpoint_url": url, "key": "any", "secret": "any"},
    )  # fmt: skip


def _ours(url: str, expected: int, remembered: str) -> tuple[float, float]:
    """Seconds, and bytes that the peak grew by, of one reading in a new process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.catalog", url], capture_output=True, text=True,
        env={**os.environ, "XDG_CACHE_HOME": remembered}, timeout=PATIENCE, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    found = json.loads(done.stdout)
    if found["proven"] != expected:
        raise RuntimeError(f"{expected} proven backups should be there: {found}")
    return found["seconds"], found["grown_bytes"]


def read(url: str) -> dict[str, float]:
    """One reading, here."""
    from qdrant_dr.repository import open_repository, read_catalog, remembering

    opened = remembering(open_repository(repository(url), stall_timeout=timedelta(seconds=300)))
    before = _peak()
    begin = time.perf_counter()
    catalog = read_catalog([opened], cluster="prod")
    seconds = time.perf_counter() - begin
    grown = _peak() - before
    proven = sum(len(b.copies[0].proofs) == 2 and b.seal is not None for b in catalog.backups)
    whole = catalog.complete and not catalog.unfinished
    return {"seconds": seconds, "grown_bytes": grown, "proven": proven if whole else -1}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _rclone(program: str, url: str, *arguments: str) -> str:
    options = {
        "TYPE": "s3", "PROVIDER": "Other", "REGION": "us-east-1", "ENDPOINT": url,
        "ACCESS_KEY_ID": "any", "SECRET_ACCESS_KEY": "any",
    }  # fmt: skip
    environment = {f"RCLONE_CONFIG_BENCH_{name}": value for name, value in options.items()}
    # what AWS's own tools are told on this machine is no part of the comparison
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    command = [program, *arguments, "--config", os.devnull, "--fast-list"]
    return subprocess.run(
        command, env=inherited | environment, capture_output=True, text=True, check=True
    ).stdout


def _lsf(program: str, url: str, expected: int) -> float:
    begin = time.perf_counter()
    where = f"bench:{BUCKET}/{PREFIX}/backups/prod"
    said = _rclone(program, url, "lsf", "-R", "--files-only", "--include", "manifest.json", where)
    if len(said.splitlines()) != expected:
        raise RuntimeError(f"rclone listed {len(said.splitlines())} of {expected} manifests")
    return time.perf_counter() - begin


def _copy(program: str, url: str, expected: int) -> float:
    where = f"bench:{BUCKET}/{PREFIX}"
    kept = [a for name in (*RECORDS, "/proofs/**") for a in ("--include", name)]
    with TemporaryDirectory(prefix="qdr-bench-") as folder:
        begin = time.perf_counter()
        _rclone(program, url, "copy", where, folder, *kept, "--transfers", "32", "--no-traverse")
        seconds = time.perf_counter() - begin
        copied = sum(len(files) for _, _, files in os.walk(folder))
    if copied != 4 * expected:
        raise RuntimeError(f"rclone copied {copied} of {4 * expected} records")
    return seconds


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(read(sys.argv[1])))
    else:
        main()
