"""Missing points of a live collection back out of a backup, against `upload_points` of the same.

One of a hundred points is deleted, then brought back: by `restore --points --missing`, and by
qdrant-client's `upload_points` with `wait=True`, which has the points in memory already. The sides
take turns. Ours is measured twice: the writing, in which every batch is compared with the undo
record before and read back after; and all of it, from the look at the target to the end of the
proof, with the archive unpacked and read, the undo record in two repositories, and a sample of
other points. The bar is on the writing: what is read of the archive grows with the archive, and
not with what is written. Memory is the peak of this process and of its largest child.

BENCH_POINTS (60000, on the sandbox 6000) of BENCH_DIMENSIONS (128), BENCH_ROUNDS (3).
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from qdrant_client import QdrantClient, models

from benchmarks import machine, side, verdict
from qdrant_dr.records import RestoredPoints
from tests.support.driving import do
from tests.support.restored_points import NAME, bring, the_outcome
from tests.support.servers import qdrant_server, sandbox_server
from tests.support.world import World, make_world

AIM = 1.2
MEMORY_AIM = 600
MIB = 2**20


def main() -> None:
    """Measure, print the sides, the ratio and the verdict."""
    real = bool(os.environ.get("QDRANT_BIN"))
    points = int(os.environ.get("BENCH_POINTS", "60000" if real else "6000"))
    dimensions = int(os.environ.get("BENCH_DIMENSIONS", "128"))
    rounds = int(os.environ.get("BENCH_ROUNDS", "3"))
    print(machine())
    with TemporaryDirectory(prefix="qdr-bench-") as name:
        folder = Path(name)
        server = qdrant_server if real else sandbox_server
        with server(folder / "server") as running:
            client = QdrantClient(url=running.url, timeout=600, check_compatibility=False)
            _fill(client, points, dimensions)
            world = make_world(folder / "world", running.url)
            end = do(world, "backup")
            assert end.verdict == "ok", end.reasons
            measured = [_round(client, world, points, n) for n in range(rounds)]
            client.close()
    writing, whole, theirs = zip(*measured, strict=True)
    where = "a server" if real else "the sandbox"
    print(f"restore_points: {points // 100} of {points} points of {dimensions}, on {where}")
    print(side("restore --points --missing, the writing", writing, "s"))
    print(side("restore --points --missing, all of it", whole, "s"))
    print(side("upload_points(wait=True)", theirs, "s"))
    print(verdict("restore_points", "writing, to upload_points", median(writing) / median(theirs),
                  AIM))  # fmt: skip
    peaks = [resource.getrusage(w).ru_maxrss / 1024
             for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]  # fmt: skip
    print(f"  memory: {peaks[0]:.0f} MiB here, {peaks[1]:.0f} MiB in the largest child "
          f"({'within' if max(peaks) <= MEMORY_AIM else 'ABOVE'} {MEMORY_AIM} MiB)")  # fmt: skip


def _fill(client: QdrantClient, points: int, dimensions: int) -> None:
    client.create_collection(
        NAME,
        vectors_config=models.VectorParams(size=dimensions, distance=models.Distance.COSINE),
    )
    chance = np.random.default_rng(5)
    for start in range(0, points, 1000):
        ids = range(start, min(points, start + 1000))
        vectors = chance.normal(size=(len(ids), dimensions)).astype("f4")
        client.upsert(
            NAME, wait=True,
            points=models.Batch(
                ids=list(ids), vectors=vectors.tolist(),
                payloads=[{"n": n, "city": f"city-{n % 50}"} for n in ids],
            ),
        )  # fmt: skip


def _round(
    client: QdrantClient, world: World, points: int, number: int
) -> tuple[float, float, float]:
    """Delete and bring back the same points on both sides; which is first changes."""
    lost = list(range(number, points, 100))
    kept = client.retrieve(NAME, lost, with_payload=True, with_vectors=True)
    sides = [lambda: _ours(world, len(lost)), lambda: _theirs(client, kept)]
    found: dict[int, tuple[float, ...]] = {}
    for place in (0, 1) if number % 2 else (1, 0):
        client.delete(NAME, points_selector=models.PointIdsList(points=lost), wait=True)
        found[place] = sides[place]()
        assert client.count(NAME, exact=True).count == points
    return (*found[0], *found[1])  # type: ignore[return-value]


def _ours(world: World, lost: int) -> tuple[float, float]:
    outcome = the_outcome(bring(world, missing=True))
    detail = outcome.detail
    assert isinstance(detail, RestoredPoints), outcome
    assert detail.created == lost, detail
    assert detail.proven
    (writing,) = [p.duration_us / 1e6 for p in detail.phases if p.name == "write"]
    return writing, detail.total_us / 1e6


def _theirs(client: QdrantClient, kept: list[models.Record]) -> tuple[float]:
    structs = [models.PointStruct(id=r.id, vector=r.vector, payload=r.payload) for r in kept]
    begun = time.perf_counter()
    client.upload_points(NAME, structs, wait=True)
    return (time.perf_counter() - begun,)


if __name__ == "__main__":
    main()
