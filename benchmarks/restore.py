"""One archive out of a repository into a server, against `curl` with the same file.

Ours is the way of a real restore: read from an opened repository on disk, hashed in passing,
streamed as an upload with checksum and priority, until the server answered; then the uploaded file
is deleted again. The peer is `curl -F snapshot=@file` with the same checksum and priority. Both
restore into a collection that does not exist; the sides take turns.
A third side is ours with the proof: every point that the server then serves is read and compared
with the seal, still against `curl` without any proof.
Needs `QDRANT_BIN`: on the sandbox both sides wait for Python, so that ratio is labelled so.

BENCH_POINTS (200000, on the sandbox 10000) of BENCH_DIMENSIONS (128), BENCH_ROUNDS (5).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, cast

import httpx

from benchmarks import machine, side, verdict
from benchmarks.readback import FileReader, first_seal, make_archive, manifest_of
from qdrant_dr.cluster import Node, recover_by_upload
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.jobs.target.restored_content import Reference, compare_content
from qdrant_dr.records import BackupKey, Part, Seal
from qdrant_dr.repository import Repository, create_repository, new_id, open_repository
from tests.support.archives import part
from tests.support.servers import qdrant_server, sandbox_server

AIM = 1.15
PROVEN_AIM = 2.5
PATIENCE = timedelta(seconds=300)
TARGET = "restored"


def main() -> None:
    """Measure, print both sides, the ratio and the verdict."""
    real = bool(os.environ.get("QDRANT_BIN"))
    points = int(os.environ.get("BENCH_POINTS", "200000" if real else "10000"))
    rounds = int(os.environ.get("BENCH_ROUNDS", "5"))
    curl = shutil.which("curl")
    print(machine())
    with TemporaryDirectory(prefix="qdr-bench-") as name:
        folder = Path(name)
        server = qdrant_server if real else sandbox_server
        with (
            server(folder / "server") as running,
            httpx.Client(base_url=running.url, timeout=600) as client,
        ):
            file = folder / "collection.snapshot"
            make_archive(client, points, file)
            stored = _store(folder / "repository", file)
            manifest = manifest_of(client, file)
            seal = first_seal(manifest, FileReader(file), folder)
            port = running.grpc_port
            sides: dict[str, Callable[[], object]] = {
                "ours, from a repository": partial(_ours, running.url, *stored),
                "ours, content proven": partial(_proven, running.url, port, seal, *stored),
            }
            if curl:
                sides["curl, multipart"] = partial(_curl, curl, running.url, file, stored[2])
            seconds: dict[str, list[float]] = {side_name: [] for side_name in sides}
            for run in sides.values():  # imports, caches: neither side pays for them in its figure
                run()
                _drop(client, points)
            for _ in range(rounds):
                for side_name, run in sides.items():
                    begin = time.monotonic()
                    run()
                    seconds[side_name].append(time.monotonic() - begin)
                    _drop(client, points)
        size = file.stat().st_size / 2**20
    kind = "Qdrant" if real else "the SANDBOX (set QDRANT_BIN: this ratio means nothing)"
    for side_name, values in seconds.items():
        print(side(side_name, values, "s"))
    what = f"{points} points, {size:.0f} MiB into {kind}, medians of {rounds}"
    if not curl:
        print("restore: skipped: there is no curl in PATH, so there is no ratio")
        return
    ours, proven, peer = (median(values) for values in seconds.values())
    print(verdict("restore", what, ours / peer, AIM))
    print(verdict("restore", f"proof included, {what}", proven / peer, PROVEN_AIM))


def _store(folder: Path, file: Path) -> tuple[Repository, BackupKey, Part]:
    """The archive as a part in a repository on disk."""
    wanted = RepositoryConfig(name="one", url=folder.as_uri(), domain="disk")
    identity = create_repository(wanted, datetime.now(UTC))
    repository = open_repository(wanted.model_copy(update={"id": identity}), stall_timeout=PATIENCE)
    key = BackupKey(cluster="bench", collection="bench", backup_id=new_id(datetime.now(UTC)))
    about = part(file.read_bytes())
    sink = repository.part_sink(key, about.file, about.size_bytes)
    with file.open("rb") as source:
        while block := source.read(2**20):
            sink.write(block)
    sink.commit()
    return repository, key, about


def _ours(url: str, repository: Repository, key: BackupKey, about: Part) -> None:
    with Node(url) as node:
        digest = hashlib.sha256()
        recover_by_upload(
            node, TARGET, _hashed(repository.read_part(key, about), digest),
            size=about.size_bytes, sha256=about.sha256,
        )  # fmt: skip
        assert digest.hexdigest() == about.sha256


def _proven(
    url: str, grpc_port: int, seal: Seal, repository: Repository, key: BackupKey, about: Part
) -> None:
    _ours(url, repository, key, about)
    unused = cast("Any", None)  # a seal without replayed points needs nothing else
    with Node(url, grpc_port=grpc_port) as node:
        reference = Reference(unused, unused, seal, unused, Path())
        found = compare_content(reference, {None: node}, TARGET)
    assert found.equal, found.faults


def _hashed(blocks: Iterable[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for block in blocks:
        digest.update(block)
        yield block


def _curl(curl: str, url: str, file: Path, about: Part) -> None:
    target = f"{url}/collections/{TARGET}/snapshots/upload"
    query = f"?priority=snapshot&wait=true&checksum={about.sha256}"
    subprocess.run(
        [curl, "--silent", "--show-error", "--fail", "-X", "POST", "-F", f"snapshot=@{file}",
         target + query],
        check=True, capture_output=True, timeout=PATIENCE.total_seconds(),
    )  # fmt: skip


def _drop(client: httpx.Client, points: int) -> None:
    """What was restored is all there; then it goes, with its files."""
    where = f"/collections/{TARGET}"
    counted = client.post(f"{where}/points/count", json={"exact": True}).json()
    assert counted["result"]["count"] == points
    for snapshot in client.get(f"{where}/snapshots").json()["result"]:
        client.delete(f"{where}/snapshots/{snapshot['name']}").raise_for_status()
    client.delete(where).raise_for_status()


if __name__ == "__main__":
    main()
