"""`python -m benchmarks.readback`: an edge drill against restoring into a server and scrolling.

Ours: one archive, SHA-256 verified, laid out, opened by the engine, every point fingerprinted and
compared with its seal. The peer: the same archive uploaded to a server, recovered, and every point
scrolled over REST with payload and vectors. Needs `QDRANT_BIN`: on the sandbox the peer is our own
Python, so that ratio means nothing and is labelled so.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from qdrant_dr.proof import plan_seal, prove
from qdrant_dr.records import Manifest, Part, Seal, ShardFacts
from tests.support import records
from tests.support.archives import part
from tests.support.servers import qdrant_server, sandbox_server

DIMENSIONS = int(os.environ.get("BENCH_DIMENSIONS", "128"))
ROUNDS = 5
BATCH = 1000
AIM = 0.2
GENRES = ("drama", "comedy", "science fiction")


class FileReader:
    """A copy on local disk."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def sizes(self, part: Part) -> int | None:  # noqa: ARG002 - there is only one
        return self.path.stat().st_size

    def blocks(self, part: Part, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        left = (part.size_bytes if end is None else end) - start
        with self.path.open("rb") as file:
            file.seek(start)
            while block := file.read(min(left, 1 << 20)):
                left -= len(block)
                yield block


def main() -> None:
    real = bool(os.environ.get("QDRANT_BIN"))
    points = int(os.environ.get("BENCH_POINTS", "200000" if real else "10000"))
    with tempfile.TemporaryDirectory(prefix="qdr-bench-") as folder:
        server = qdrant_server if real else sandbox_server
        with server(Path(folder) / "server") as running:
            compare(running.url, points, Path(folder), real=real)


def compare(url: str, points: int, folder: Path, *, real: bool) -> None:
    """Print medians of interleaved rounds, and their ratio."""
    archive = folder / "collection.snapshot"
    with httpx.Client(base_url=url, timeout=600) as client:
        make_archive(client, points, archive)
        manifest, reader = manifest_of(client, archive), FileReader(archive)
        seal = first_seal(manifest, reader, folder)
        ours, peer = [], []
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            result = prove(manifest, reader, depth="content", folder=folder, seal=seal)
            ours.append(time.perf_counter() - begin)
            assert result.passed, result.findings
            peer.append(restore_and_scroll(client, archive, points))
    size = archive.stat().st_size / 2**20
    one, two = statistics.median(ours), statistics.median(peer)
    kind = "Qdrant" if real else "the SANDBOX (set QDRANT_BIN: this ratio means nothing)"
    print(f"readback: {points} x {DIMENSIONS}-d points, {size:.0f} MiB, medians of {ROUNDS}")
    print(f"  edge drill with full content proof             {one:8.2f} s")
    print(f"  upload, recover and scroll on {kind:16}  {two:8.2f} s")
    print(f"  ratio {one / two:.2f}{f' (aim: <= {AIM})' if real else ''}")


def make_archive(client: httpx.Client, points: int, archive: Path) -> None:
    """The snapshot of a collection of `make_points`."""
    make_points(client, points)
    download(client, archive)


def download(client: httpx.Client, archive: Path) -> None:
    """A snapshot of the collection `bench`, as it is now."""
    snapshot = _ok(client.post("/collections/bench/snapshots?wait=true"))
    headers = {"Accept-Encoding": "identity"}
    path = f"/collections/bench/snapshots/{snapshot['name']}"
    with client.stream("GET", path, headers=headers) as answer, archive.open("wb") as file:
        answer.raise_for_status()
        for block in answer.iter_bytes(1 << 20):
            file.write(block)


def make_points(client: httpx.Client, points: int) -> None:
    """A collection `bench` with two payload indexes, settled. No HNSW graph is built: it changes
    no benchmark and would take minutes."""
    body = {
        "vectors": {"size": DIMENSIONS, "distance": "Cosine"},
        "optimizers_config": {"indexing_threshold": 0},
    }
    _ok(client.put("/collections/bench", json=body))
    for field, schema in (("genre", "keyword"), ("year", "integer")):
        index = {"field_name": field, "field_schema": schema}
        _ok(client.put("/collections/bench/index?wait=true", json=index))
    rng = np.random.default_rng(7)
    for start in range(0, points, BATCH):
        ids = range(start, min(start + BATCH, points))
        vectors = rng.standard_normal((len(ids), DIMENSIONS)).astype(np.float32).tolist()
        rows = [
            {"id": i, "vector": v, "payload": {"genre": GENRES[i % 3], "year": 1950 + i % 70}}
            for i, v in zip(ids, vectors, strict=True)
        ]
        _ok(client.put("/collections/bench/points?wait=true", json={"points": rows}))
    while _ok(client.get("/collections/bench"))["status"] == "yellow":
        time.sleep(1)


def manifest_of(client: httpx.Client, archive: Path) -> Manifest:
    """What a backup would have recorded."""
    info = _ok(client.get("/collections/bench"))
    facts = ShardFacts(
        shard=0, operation_before=0, operation_after=0, count_before=None, count_after=None
    )
    return records.manifest(
        "bench",
        parts=(part(archive.read_bytes()),),
        shards=(facts,),
        server_version="1.18.3",
        collection_info=json.dumps(info),
    )


def first_seal(manifest: Manifest, reader: FileReader, folder: Path) -> Seal:
    read = prove(manifest, reader, depth="content", folder=folder).read_back
    assert read is not None
    return plan_seal(manifest, read, None, None, drift_limit=1, now=records.NOW)


def restore_and_scroll(client: httpx.Client, archive: Path, points: int) -> float:
    """Seconds from the first byte of the upload to the last point of the scroll."""
    begin = time.perf_counter()
    with archive.open("rb") as file:
        path = "/collections/drill/snapshots/upload?priority=snapshot&wait=true"
        _ok(client.post(path, files={"snapshot": ("drill.snapshot", file)}))
    seen, offset = 0, None
    while True:
        body = {"limit": BATCH, "offset": offset, "with_payload": True, "with_vector": True}
        page = _ok(client.post("/collections/drill/points/scroll", json=body))
        seen += len(page["points"])
        if (offset := page["next_page_offset"]) is None:
            break
    seconds = time.perf_counter() - begin
    assert seen == points
    _ok(client.delete("/collections/drill"))
    return seconds


def _ok(answer: httpx.Response) -> Any:
    answer.raise_for_status()
    return answer.json()["result"]


if __name__ == "__main__":
    main()
