"""`python -m benchmarks.diff`: two sealed backups compared, against the content proof of one.

Both as commands, by turns: `diff OLD NEW`, of which 1 % of the points changed (half of them were
deleted, half given another vector), and `verify NEW --depth content`. Of `diff` also the most
anonymous memory of it and its children. Needs `QDRANT_BIN`, else the sandbox makes the archives.

BENCH_POINTS (100000), BENCH_DIMENSIONS (128), BENCH_ROUNDS (3).
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np

from benchmarks import machine
from benchmarks.memory_of_content import peak_of
from benchmarks.readback import DIMENSIONS, make_points
from qdrant_dr.cli.exit_codes import DIFFERENT
from tests.support.driving import do
from tests.support.servers import qdrant_server, sandbox_server
from tests.support.world import make_world

AIM, CEILING_MIB = 1.3, 600.0


def main() -> None:
    """Print medians, their ratio, and the peak of memory."""
    points = int(os.environ.get("BENCH_POINTS", "100000"))
    rounds = int(os.environ.get("BENCH_ROUNDS", "3"))
    server = qdrant_server if os.environ.get("QDRANT_BIN") else sandbox_server
    print(machine())
    with tempfile.TemporaryDirectory(prefix="qdr-bench-") as name:
        folder = Path(name)
        with server(folder / "server") as running:
            world = make_world(
                folder / "world", running.url, repositories=("one",),
                copies={"quorum": 1, "domains": 1, "stall_timeout": "300s"},
                capture={"spool": {"path": str(folder / "spool"), "max": "64GiB"}},
            )  # fmt: skip
            with httpx.Client(base_url=running.url, timeout=600) as client:
                make_points(client, points)
                assert do(world, "backup", prove="content").verdict != "failed"
                change(client, points)
                assert do(world, "backup", prove="content").verdict != "failed"
        old, new = (f"bench@{m.backup_id}" for m in world.manifests("one"))
        proofs, diffs, peaks = [], [], []
        for _ in range(rounds):
            begin = time.perf_counter()
            peak_of(world, ["verify", new, "--depth", "content"])
            proofs.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            peaks.append(peak_of(world, ["diff", old, new], DIFFERENT) / 2**20)
            diffs.append(time.perf_counter() - begin)
    proof, diff = statistics.median(proofs), statistics.median(diffs)
    met = "met" if diff / proof <= AIM else "MISSED"
    print(f"  verify --depth content of one: {proof:.2f} s, of {[round(p, 2) for p in proofs]}")
    print(f"  diff of two, 1 % changed:      {diff:.2f} s, of {[round(d, 2) for d in diffs]}")
    print(f"diff: {points} x {DIMENSIONS}-d, ratio {diff / proof:.2f}, aim <= {AIM}: {met}")
    kept = "met" if max(peaks) <= CEILING_MIB else "MISSED"
    print(f"diff: at most {max(peaks):.0f} MiB, aim <= {CEILING_MIB:.0f} MiB: {kept}")


def change(client: httpx.Client, points: int) -> None:
    """Delete one point of two hundred, and give another vector to one of two hundred."""
    path = "/collections/bench/points"
    gone = list(range(0, points, 200))
    client.post(f"{path}/delete?wait=true", json={"points": gone}).raise_for_status()
    rng = np.random.default_rng(11)
    rows = [
        {"id": i, "vector": rng.standard_normal(DIMENSIONS).tolist(), "payload": {"year": 1}}
        for i in range(100, points, 200)
    ]
    body = json.dumps({"points": rows})
    client.put(f"{path}?wait=true", content=body).raise_for_status()


if __name__ == "__main__":
    main()
