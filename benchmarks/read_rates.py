"""`python -m benchmarks.read_rates`: points per CPU second of the proof's reading of one shard.

Ours: every point fingerprinted in the engine's child process, dense vectors from the files of the
segments. The peers in the same run: the same by the engine alone (as a first seal is made); that as
it was when the aim was set, whole pages of Python's floats; the engine's scroll whose vectors
nobody looks at; and SHA-256 of the same bytes in one call a point.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import qdrant_edge as edge

from qdrant_dr.proof.engine import Engine, EngineLimits, PointsRead
from qdrant_dr.proof.fingerprint import Fingerprinter
from qdrant_dr.proof.point_encoding import encode_bits

DIMENSIONS = tuple(int(d) for d in os.environ.get("BENCH_DIMENSIONS", "128,768,1536").split(","))
POINTS = int(os.environ.get("BENCH_POINTS", "20000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "5"))
BATCH = 1000
AIM = 3.0
"""Of the rate that was ours when the aim was set."""
GENRES = ("drama", "comedy", "science fiction")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="qdr-bench-") as folder:
        for dimensions in DIMENSIONS:
            rates(Path(folder) / str(dimensions), dimensions)


def rates(folder: Path, dimensions: int) -> None:
    """Print medians of interleaved rounds in points per CPU second, and their ratios."""
    make_shard(folder, dimensions)
    ours, alone, before, scrolls, hashes = [], [], [], [], []
    copy = shutil.copytree(folder, folder.with_name(f"{folder.name}-copy"))
    shard = edge.EdgeShard.load(str(copy))
    with Engine(folder.parent / "engine", EngineLimits()) as engine:
        assert engine.load(folder).points == POINTS
        for _ in range(ROUNDS):
            one, rate = fingerprinted(engine, 7)
            ours.append(rate)
            assert one.stored == POINTS
            other, rate = fingerprinted(engine, None)
            alone.append(rate)
            assert other.fingerprint == one.fingerprint
            before.append(per_cpu_second(partial(as_it_was, shard, one)))
            scrolls.append(per_cpu_second(lambda: sum(len(page) for page in scroll(shard))))
            hashes.append(hashed(shard))
    shard.close()
    mine, reference = statistics.median(ours), statistics.median(before)
    print(f"read-rates: {POINTS} x {dimensions}-d points, per CPU second, medians of {ROUNDS}")
    print(f"  fingerprints, vectors from files      {mine:10,.0f}")
    print(f"  fingerprints by the engine alone      {statistics.median(alone):10,.0f}")
    print(f"  that as it was, pages of floats       {reference:10,.0f}")
    print(f"  the engine's scroll, nothing looked at {statistics.median(scrolls):9,.0f}")
    print(f"  SHA-256 of the same vectors           {statistics.median(hashes):10,.0f}")
    words = "met" if mine / reference >= AIM else "MISSED"
    print(f"  ratio {mine / reference:.2f} of what it was, aim >= {AIM}: {words}")


def make_shard(folder: Path, dimensions: int) -> None:
    """A shard with two fields of payload, settled."""
    folder.mkdir()
    params = edge.EdgeVectorParams(size=dimensions, distance=edge.Distance.Cosine)
    shard = edge.EdgeShard.create(str(folder), edge.EdgeConfig(vectors=params))
    rng = np.random.default_rng(7)
    for start in range(0, POINTS, BATCH):
        vectors = rng.standard_normal((BATCH, dimensions)).astype(np.float32).tolist()
        points = [
            edge.Point(start + n, v, {"genre": GENRES[n % 3], "year": 1950 + n % 70})
            for n, v in enumerate(vectors)
        ]
        shard.update(edge.UpdateOperation.upsert_points(points))
    shard.close()


def fingerprinted(engine: Engine, seed: int | None) -> tuple[PointsRead, float]:
    """What the child reads, and its points per CPU second."""
    begin = _cpu(engine)
    engine.ask("read", seed=seed)
    read = engine.wait_points()
    return read, POINTS / (_cpu(engine) - begin)


def _cpu(engine: Engine) -> float:
    times = psutil.Process(engine.pid).cpu_times()
    return float(times.user + times.system)


def as_it_was(shard: edge.EdgeShard, read: PointsRead) -> int:
    """The engine's reading before vectors came from files: the same digests."""
    work = Fingerprinter()
    for page in scroll(shard):
        work.add([(r.id, r.payload, r.vector) for r in page])
    assert work.record() == read.fingerprint
    return work.sums["id"].count


def scroll(shard: edge.EdgeShard) -> Iterator[list[edge.Record]]:
    offset = None
    while True:
        page, offset = shard.scroll(
            edge.ScrollRequest(offset=offset, limit=2000, with_payload=True, with_vector=True)
        )
        yield page
        if offset is None:
            return


def per_cpu_second(work: Callable[[], int]) -> float:
    begin = time.process_time()
    points = work()
    return points / (time.process_time() - begin)


def hashed(shard: edge.EdgeShard) -> float:
    encoded = [encode_bits(r.vector) for r in next(scroll(shard))]
    return per_cpu_second(lambda: len([hashlib.sha256(data).digest() for data in encoded]))


if __name__ == "__main__":
    main()
