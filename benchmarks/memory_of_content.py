"""Anonymous memory of whole commands that read every point: embeddings of today, and many rows.

`backup --prove content` (the engine alone reads, for the first seal), `verify --depth content`
(vectors from the files, where they are plain) and `restore --execute` (what the server then serves
is read and compared) of two collections: 1536 dimensions, and a multivector of 128 rows of 128. Of
each command the bytes of RssAnon of the process and its children, added up, looked at 50 times a
second; the server is another process. Needs `QDRANT_BIN`, else the sandbox serves.

BENCH_POINTS (8000) of 1536 dimensions, and a quarter as many of the multivector, so that a page of
two thousand points would be no limit.
"""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import httpx
import psutil

from benchmarks import machine
from qdrant_dr.proof.engine import anonymous_memory
from tests.support.servers import qdrant_server, sandbox_server
from tests.support.world import World, make_world

CEILING_MIB = 600.0
LOOK_EVERY = 0.02  # seconds
BATCH_FLOATS = 2**20
ROWS, COLUMNS = 128, 128


def main() -> None:
    """Measure each command for each collection, and say whether the ceiling was kept."""
    points = int(os.environ.get("BENCH_POINTS", "8000"))
    server = qdrant_server if os.environ.get("QDRANT_BIN") else sandbox_server
    collections: dict[str, tuple[int, dict[str, Any], int]] = {
        "dense": (points, {"size": 1536, "distance": "Dot"}, 1),
        "rows": (
            points // 4,
            {
                "size": COLUMNS,
                "distance": "Dot",
                "multivector_config": {"comparator": "max_sim"},
            },
            ROWS,
        ),
    }
    print(machine())
    worst = 0.0
    with TemporaryDirectory(prefix="qdr-bench-") as name:
        folder = Path(name)
        with (
            server(folder / "server") as running,
            httpx.Client(base_url=running.url, timeout=600) as client,
        ):
            for collection, (count, vectors, rows) in collections.items():
                _fill(client, collection, count, vectors, rows)
                world = make_world(
                    folder / collection,
                    running.url,
                    copies={"quorum": 1, "domains": 1, "stall_timeout": "300s"},
                    capture={"spool": {"path": str(folder / "spool"), "max": "64GiB"}},
                    repositories=("one",),
                )
                for words in _commands(collection, running.url):
                    peak = peak_of(world, words) / 2**20
                    worst = max(worst, peak)
                    print(f"  {collection}, {count} points: {words[0]:<8} {peak:6.0f} MiB")
                client.delete(f"/collections/{collection}").raise_for_status()
                client.delete("/collections/back").raise_for_status()
    met = "met" if worst <= CEILING_MIB else "MISSED"
    print(f"memory-of-content: at most {worst:.0f} MiB, aim <= {CEILING_MIB:.0f} MiB: {met}")


def _commands(collection: str, url: str) -> Iterator[list[str]]:
    yield ["backup", collection, "--prove", "content"]
    yield ["verify", f"{collection}@latest", "--depth", "content"]
    yield ["restore", f"{collection}@latest", "--to", url, "--as", "back", "--execute"]


def _fill(
    client: httpx.Client, collection: str, count: int, vectors: dict[str, Any], rows: int
) -> None:
    size = vectors["size"]
    wanted = {"vectors": vectors, "optimizers_config": {"indexing_threshold": 0}}
    client.put(f"/collections/{collection}", json=wanted).raise_for_status()
    chance = random.Random(7)
    batch = max(1, BATCH_FLOATS // (rows * size))
    for start in range(0, count, batch):
        points = []
        for n in range(start, min(start + batch, count)):
            floats = struct.unpack(f"<{rows * size}h", chance.randbytes(2 * rows * size))
            matrix = [floats[at : at + size] for at in range(0, len(floats), size)]
            points.append({"id": n, "vector": matrix if rows > 1 else matrix[0]})
        where = f"/collections/{collection}/points?wait=true"
        client.put(where, content=json.dumps({"points": points})).raise_for_status()


def peak_of(world: World, words: list[str], expected: int = 0) -> int:
    """Run a command to its end; return the most anonymous bytes of it and its children."""
    peak = 0
    command = [sys.executable, "-m", "qdrant_dr.cli", *words, "-c", world.reference, "--json"]
    with TemporaryFile() as said:
        with subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT) as child:
            watched = psutil.Process(child.pid)
            while child.poll() is None:
                peak = max(peak, sum(anonymous_memory(pid) for pid in _tree(watched)))
                time.sleep(LOOK_EVERY)
        if child.returncode != expected:
            said.seek(0)
            words_of_it = said.read().decode(errors="replace")
            raise RuntimeError(f"{words[0]} ended with {child.returncode}: {words_of_it}")
    return peak


def _tree(process: psutil.Process) -> list[int]:
    try:
        return [process.pid, *(p.pid for p in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


if __name__ == "__main__":
    main()
