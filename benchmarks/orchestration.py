"""What Prefect costs, and what Dask gains: 200 collections in 3 repositories, one run.

First as fast as it goes: every copy is read and compared in full (`verify` to bytes, 600 units), by
the library's own threads as the command line uses them, and as the flow on a real Prefect server
(SQLite), equally wide: what is extra is Prefect's. Then work that waits instead of computing: the
third repository is lost and gets its 200 copies back (`replicate`, each proven afterwards), written
at a limited bandwidth. One side is the flow's threads, the other two Dask workers on this machine,
each as wide as the flow; the repositories take as many transfers at once as both have threads. A
bandwidth holds per process, as the line of a machine does. The workers have imported everything
before; the sides take turns.

BENCH_COLLECTIONS (200), BENCH_ROUNDS (1). It takes fifteen minutes and more on two cores.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import yaml

from benchmarks import machine, side, verdict
from qdrant_dr import configfile
from qdrant_dr.dispatch.threads import in_threads
from qdrant_dr.jobs.run.run import begin
from qdrant_dr.jobs.verify.job import VerifyRequest, verify
from qdrant_dr.records import RunEnd
from qdrant_dr.repository import create_repository, open_repository
from tests.support.archives import part
from tests.support.dask import DaskCluster, dask_cluster
from tests.support.prefect import isolate, prefect_server
from tests.support.records import manifest

AIM_MS = 60.0
AIM_DASK = 0.6
SIZE = 16 * 2**10  # bytes of each copy
WAIT = 1.5  # seconds that one copy takes at the limited bandwidth
WIDE = 4  # as flows.parameters.WIDTH: it cannot be imported before Prefect is isolated
WORKERS = 2
REPOSITORIES = ("aws", "gcp", "onprem")
LOST = "onprem"


def main() -> None:
    """Measure, print all sides, the cost of a unit, the ratio and the verdicts."""
    collections = int(os.environ.get("BENCH_COLLECTIONS", "200"))
    rounds = int(os.environ.get("BENCH_ROUNDS", "1"))
    isolate()
    print(machine(f"prefect {version('prefect')}"))
    with TemporaryDirectory(prefix="qdr-bench-") as temporary:
        folder = Path(temporary)
        fast, slow = _prepare(folder, collections)
        with (
            prefect_server(folder / "prefect") as server,
            dask_cluster(folder / "dask", workers=WORKERS, threads=WIDE) as dask,
        ):
            os.environ["PREFECT_API_URL"] = server.api
            _widen()
            _verified(fast)  # this process and the workers import what units need
            _on_dask(dask, _verified, fast)
            copies = collections * len(REPOSITORIES)
            sides: dict[str, tuple[Callable[[], RunEnd], int]] = {
                "verify, library, threads": (partial(_library, fast), copies),
                "verify, flow, threads": (partial(_verified, fast), copies),
                "replicate, flow, threads": (partial(_healed, slow), collections),
                "replicate, flow, Dask": (partial(_on_dask, dask, _healed, slow), collections),
            }
            seconds: dict[str, list[float]] = {name: [] for name in sides}
            for _ in range(rounds):
                for name, (run, proofs) in sides.items():
                    _forget(folder)
                    if name.startswith("replicate"):
                        shutil.rmtree(folder / LOST / "backups")
                    start = time.monotonic()
                    end = run()
                    seconds[name].append(time.monotonic() - start)
                    _must_be_whole(end, proofs)
    _print(seconds, collections * len(REPOSITORIES))


def _print(seconds: dict[str, list[float]], units: int) -> None:
    print(f"orchestration: {units} units, {WIDE} at a time, load {os.getloadavg()[0]:.1f} after")
    for name, values in seconds.items():
        print(side(name, values, "s"))
    library, flow, threads, dask = (median(values) for values in seconds.values())
    extra = (flow - library) / units * 1000
    said = "met" if extra <= AIM_MS else "MISSED"
    print(f"orchestration: extra a unit: {extra:.0f} ms, aim <= {AIM_MS:.0f} ms: {said}")
    print(verdict("orchestration", "two Dask workers to threads", dask / threads, AIM_DASK))


def _prepare(folder: Path, collections: int) -> tuple[Path, Path]:
    """One backup of each collection in every repository; two configurations: as fast as it goes,
    and with a bandwidth of the third at which one copy takes `WAIT`."""
    entries = [
        {"name": name, "url": (folder / name).as_uri(), "domain": name} for name in REPOSITORIES
    ]
    body = {
        "format": 1,
        "cluster": {"name": "prod", "nodes": ["http://127.0.0.1:1"]},
        "repositories": entries,
        "capture": {"parallel_collections": WIDE, "spool": {"path": str(folder / "spool")}},
    }
    fast, slow = folder / "fast.yaml", folder / "slow.yaml"
    fast.write_text(yaml.safe_dump(body))
    for entry, wanted in zip(entries, configfile.load(fast).repositories, strict=True):
        entry["id"] = create_repository(wanted, datetime.now(UTC))
    fast.write_text(yaml.safe_dump(body))
    config = configfile.load(fast)
    entries[REPOSITORIES.index(LOST)]["bandwidth"] = f"{SIZE / WAIT:.0f}B/s"
    slow.write_text(yaml.safe_dump(body))
    patience = timedelta(seconds=60)
    opened = [open_repository(r, stall_timeout=patience) for r in config.repositories]
    for n in range(collections):
        data = os.urandom(SIZE)
        about = part(data)
        made = manifest(f"collection-{n:03}", datetime.now(UTC), parts=(about,))
        for repository in opened:
            sink = repository.part_sink(made.key, about.file, about.size_bytes)
            sink.write(data)
            sink.commit()
            repository.commit(made)
    return fast, slow


def _library(file: Path) -> RunEnd:
    config = configfile.load(file)
    run = begin(config, "verify")
    return verify(config, VerifyRequest(depth="bytes"), run, in_threads(config, run.start.run_id))


def _widen() -> None:
    """What an operator does who adds machines: a repository takes four transfers by default."""
    from prefect.client.orchestration import get_client

    from tasks.concurrency_limits import repository_limit

    with get_client(sync_client=True) as client:
        for name in REPOSITORIES:
            client.upsert_global_concurrency_limit_by_name(repository_limit(name), WORKERS * WIDE)


def _verified(file: Path) -> RunEnd:
    from flows.verify import verify

    state = verify(config=str(file), depth="bytes", return_state=True)
    assert state.is_completed(), state.message
    return _last_end(file)


def _healed(file: Path) -> RunEnd:
    from flows.replicate import replicate

    state = replicate(config=str(file), return_state=True)
    assert state.is_completed(), state.message
    return _last_end(file)


def _on_dask(dask: DaskCluster, run: Callable[[Path], RunEnd], file: Path) -> RunEnd:
    os.environ.update(QDR_RUNNER="dask", QDR_DASK_ADDRESS=dask.address)
    try:
        return run(file)
    finally:
        del os.environ["QDR_RUNNER"]


def _last_end(file: Path) -> RunEnd:
    """What the newest run left on record; the names of runs begin with their time."""
    ends = (file.parent / REPOSITORIES[0]).glob("runs/**/*.end.json")
    found = max(ends, key=lambda end: end.name)
    return RunEnd.from_bytes(found.read_bytes(), where=str(found))


def _forget(folder: Path) -> None:
    """Take proofs and runs away: the next run has no more to read than this one had."""
    for name in REPOSITORIES:
        for kind in ("proofs", "runs"):
            shutil.rmtree(folder / name / kind, ignore_errors=True)


def _must_be_whole(end: RunEnd, proofs: int) -> None:
    good = sum(o.unit == "verify" and o.verdict == "ok" for o in end.outcomes)
    if good != proofs:
        raise AssertionError(f"{good} units were good: {end.reasons[:5]}")


if __name__ == "__main__":
    main()
