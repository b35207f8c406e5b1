"""`python -m benchmarks.export`: an export to Parquet against the engine's own scroll.

Ours: every point of one shard written to Parquet with its digest, read back out of that file and
fingerprinted, in the engine's child process. The peer in the same run: the engine's scroll with
payload and vectors, of which Python receives each point, as who writes an export by hand would;
nothing is written. Also printed: the same scroll when nobody looks at what it gives. Points per CPU
second, medians of interleaved rounds, and the peak of anonymous memory of the child.
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import threading
from functools import partial
from pathlib import Path

import psutil
import qdrant_edge as edge

from benchmarks import machine
from benchmarks.read_rates import make_shard, per_cpu_second, scroll
from qdrant_dr.proof.engine import Engine, EngineLimits, anonymous_memory
from qdrant_dr.proof.export.columns import FieldColumn, PointColumns, VectorColumn
from qdrant_dr.records import Fingerprint

DIMENSIONS = tuple(int(d) for d in os.environ.get("BENCH_DIMENSIONS", "128,1536").split(","))
POINTS = int(os.environ.get("BENCH_POINTS", "20000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
AIM = 0.7
CEILING_MIB = 600.0
LOOK_EVERY = 0.02  # seconds


def main() -> None:
    print(machine())
    with tempfile.TemporaryDirectory(prefix="qdr-bench-") as folder:
        for dimensions in DIMENSIONS:
            rates(Path(folder) / str(dimensions), dimensions)


def rates(folder: Path, dimensions: int) -> None:
    """Print medians, their ratio, and the peak of memory."""
    make_shard(folder, dimensions)
    columns = PointColumns(
        (VectorColumn("", "dense", dimensions, "float32"),),
        (FieldColumn("genre", "keyword"), FieldColumn("year", "integer")),
    )
    copy = shutil.copytree(folder, folder.with_name(f"{folder.name}-copy"))
    shard = edge.EdgeShard.load(str(copy))
    ours, peer, unseen = [], [], []
    with Engine(folder.parent / "engine", EngineLimits()) as engine, Peak(engine.pid) as peak:
        engine.load(folder)
        engine.ask("read")
        expected, _ = engine.wait_read()
        for n in range(ROUNDS):
            file = folder.parent / f"{dimensions}-{n}.parquet"
            ours.append(exported(engine, file, columns, expected))
            file.unlink()
            peer.append(per_cpu_second(partial(received, shard)))
            unseen.append(per_cpu_second(lambda: sum(len(page) for page in scroll(shard))))
    shard.close()
    mine, theirs = statistics.median(ours), statistics.median(peer)
    print(f"export: {POINTS} x {dimensions}-d points, per CPU second, medians of {ROUNDS}")
    print(f"  Parquet, written and proven            {mine:10,.0f}")
    print(f"  the engine's scroll, each point received {theirs:8,.0f}")
    print(f"  the engine's scroll, nothing looked at {statistics.median(unseen):10,.0f}")
    words = "met" if mine / theirs >= AIM else "MISSED"
    print(f"  {dimensions} dimensions: ratio {mine / theirs:.2f}, aim >= {AIM}: {words}")
    memory = peak.bytes / 2**20
    words = "met" if memory <= CEILING_MIB else "MISSED"
    print(f"export: at most {memory:.0f} MiB, aim <= {CEILING_MIB:.0f} MiB: {words}")


def exported(engine: Engine, file: Path, columns: PointColumns, expected: Fingerprint) -> float:
    """Write and prove one file; points per CPU second."""
    begin = cpu_of(engine)
    engine.ask("export", path=str(file), form="parquet", columns=columns.facts(), about={}, seed=7)
    told = engine.wait()
    took = cpu_of(engine) - begin
    assert Fingerprint.model_validate(told["settled"]) == expected
    return POINTS / took


def cpu_of(engine: Engine) -> float:
    times = psutil.Process(engine.pid).cpu_times()
    return float(times.user + times.system)


def received(shard: edge.EdgeShard) -> int:
    """Scroll, and take payload and vector of every point."""
    taken = 0
    for page in scroll(shard):
        taken += len([(r.id, r.payload, r.vector) for r in page])
    return taken


class Peak:
    """The most anonymous bytes that a process had meanwhile."""

    def __init__(self, pid: int) -> None:
        self.bytes, self._pid, self._over = 0, pid, threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            self.bytes = max(self.bytes, anonymous_memory(self._pid))

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


if __name__ == "__main__":
    main()
