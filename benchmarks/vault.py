"""Chunked repositories against restic, with two nights of a real server's archive.

The archives are snapshots of one collection (128 dimensions, default configuration, so with an HNSW
graph, a keyword index), the second one after 1 % of its points were rewritten and a tenth of that
deleted. Ours is what `backup` does with the bytes of a download (`fan_out`, one cutter, the part's
sinks, then the manifest), clear and encrypted, into a folder; restic (repository version 2, so
0.14 at least, `--compression auto`) backs up the same file. Restore is a part read into a file
against `restic dump`. Each round has fresh repositories; the sides take turns. restic is a process
of its own, whose start is in its figures: what it needs to list nothing is printed, too.

Also: a fan-out to a plain, a chunked and an encrypted repository against the plain one alone, the
anonymous memory of those three with BENCH_MEMORY_MIB (4096) that never repeat, and what each stage
does by itself on one core. Needs `QDRANT_BIN`: archives of the sandbox have no graph.

BENCH_POINTS (100000, on the sandbox 5000), BENCH_ROUNDS (3).
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import httpx
import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks import machine, side, verdict
from benchmarks.readback import DIMENSIONS, download
from benchmarks.restic import Restic
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.digests import StreamDigest
from qdrant_dr.proof.engine import anonymous_memory
from qdrant_dr.records import Manifest
from qdrant_dr.records.repository import Layout
from qdrant_dr.repository import (
    Repository,
    create_repository,
    fan_out,
    open_repository,
    read_repository,
)
from qdrant_dr.vault.compress import compress, decompress
from qdrant_dr.vault.cut import cut
from qdrant_dr.vault.cut_once import CutOnce
from tests.support import records
from tests.support.servers import qdrant_server, sandbox_server
from tests.support.stores import AFTER_ALL

CEILING_MIB = 600
BUFFER = 2**20  # bytes: what a download hands on
BATCH = 1000
PATIENCE = timedelta(seconds=300)
NIGHTS = ("first", "second")
KINDS = ("clear", "encrypted")

Figures = dict[str, list[float]]


def main() -> None:
    """Measure, print both sides of each ratio, and its verdict."""
    real = bool(os.environ.get("QDRANT_BIN"))
    points = int(os.environ.get("BENCH_POINTS", "100000" if real else "5000"))
    rounds = int(os.environ.get("BENCH_ROUNDS", "3"))
    memory = int(os.environ.get("BENCH_MEMORY_MIB", "4096")) * 2**20
    restic = Restic.find()
    print(machine(restic.version if restic else "no restic 0.14 or newer"))
    with TemporaryDirectory(prefix="qdr-bench-") as name:
        folder = Path(name)
        archives = _archives(folder, points, real=real)
        sizes = " and ".join(f"{a.stat().st_size / 2**20:.0f}" for a in archives)
        kind = "Qdrant" if real else "the SANDBOX (set QDRANT_BIN: its archives have no graph)"
        print(f"vault: {points} points of {kind}, {sizes} MiB")
        _print_stages(archives[0])
        _print_memory(folder / "memory", memory)
        figures: defaultdict[str, list[float]] = defaultdict(list)
        for _ in range(rounds):
            with TemporaryDirectory(dir=folder) as place:
                _one_round(Path(place), archives, restic, figures)
    _print(figures, with_restic=restic is not None)


# archives


def _archives(folder: Path, points: int, *, real: bool) -> tuple[Path, Path]:
    first, second = (folder / f"{night}.snapshot" for night in NIGHTS)
    server = qdrant_server if real else sandbox_server
    with (
        server(folder / "server") as running,
        httpx.Client(base_url=running.url, timeout=600) as client,
    ):
        vectors = {"size": DIMENSIONS, "distance": "Cosine"}
        client.put("/collections/bench", json={"vectors": vectors}).raise_for_status()
        index = {"field_name": "genre", "field_schema": "keyword"}
        client.put("/collections/bench/index?wait=true", json=index).raise_for_status()
        chance = np.random.default_rng(7)
        _put(client, range(points), chance)
        _settle(client)
        download(client, first)
        changed = [int(i) for i in chance.choice(points, points // 100, replace=False)]
        _put(client, changed, chance)
        gone = {"points": changed[: len(changed) // 10]}
        client.post("/collections/bench/points/delete?wait=true", json=gone).raise_for_status()
        _settle(client)
        download(client, second)
    shutil.rmtree(folder / "server")
    return first, second


def _put(client: httpx.Client, ids: Sequence[int], chance: np.random.Generator) -> None:
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        vectors = chance.standard_normal((len(batch), DIMENSIONS)).astype(np.float32).tolist()
        rows = [
            {"id": i, "vector": v, "payload": {"genre": f"genre-{i % 30}", "year": 1950 + i % 70}}
            for i, v in zip(batch, vectors, strict=True)
        ]
        where = "/collections/bench/points?wait=true"
        client.put(where, json={"points": rows}).raise_for_status()


def _settle(client: httpx.Client) -> None:
    """Wait until nothing is optimized, three looks in a row."""
    quiet = 0
    while quiet < 3:
        time.sleep(0.5)
        status = client.get("/collections/bench").json()["result"]["status"]
        quiet = quiet + 1 if status == "green" else 0


# one round


def _one_round(
    folder: Path, archives: Sequence[Path], restic: Restic | None, figures: Figures
) -> None:
    places = {kind: folder / kind for kind in KINDS}
    vaults = {kind: _create(places[kind], kind) for kind in KINDS}
    kept: dict[str, int] = {}
    manifests: dict[str, Manifest] = {}
    if restic:
        places["restic"] = folder / "restic"
        restic = restic.at(places["restic"], folder)
        figures["start, restic"].append(_seconds(partial(restic.run, "init", *restic.VERSION)))
        figures["start, restic"][-1] = _seconds(partial(restic.run, "snapshots"))
    for night, archive in zip(NIGHTS, archives, strict=True):
        _warm(archive)
        for kind, vault in vaults.items():
            before = time.process_time()
            act = partial(_backed_up, [vault], archive, f"{night}, {kind}")
            figures[f"{night}, {kind}"].append(_seconds(lambda: manifests.update(act())))  # noqa: B023
            figures[f"{night}, {kind}, CPU"].append(time.process_time() - before)
        if restic:
            taken = partial(restic.run, "backup", "--compression", "auto", str(archive))
            figures[f"{night}, restic"].append(_seconds(taken))
        for name, place in places.items():
            stored = _stored(place)
            figures[f"{night}, {name}, stored"].append((stored - kept.get(name, 0)) / 2**20)
            kept[name] = stored
        _copies(folder, archive, night, figures)
    last, out = archives[-1], folder / "out"
    for kind, vault in vaults.items():
        back = partial(_restore, vault, manifests[f"{NIGHTS[-1]}, {kind}"], out)
        figures[f"restore, {kind}"].append(_seconds(back))
        _check(out, last)
    if restic:
        figures["restore, restic"].append(_seconds(partial(restic.dump, last, out)))
        _check(out, last)
    for name, wanted in (("plain", ["plain"]), ("three", ["plain", *KINDS])):
        targets = [_create(folder / f"{name}-{kind}", kind) for kind in wanted]
        figures[f"fan-out, {name}"].append(_seconds(partial(_backed_up, targets, archives[0], "")))


def _create(folder: Path, kind: str) -> Repository:
    """A new repository in a folder: plain, or chunked and clear or encrypted."""
    encrypted = kind == "encrypted"
    cfg = RepositoryConfig(
        name=folder.name, url=folder.as_uri(), domain=folder.name,
        key=f"file:{folder}.key" if encrypted else None,
    )  # fmt: skip
    layout: Layout = "plain" if kind == "plain" else "chunked"
    made = create_repository(cfg, AFTER_ALL, kind=layout, encrypt=encrypted)
    key_id = read_repository(cfg, stall_timeout=PATIENCE).record.key_id
    made_one = cfg.model_copy(update={"id": made, "key_id": key_id})
    return open_repository(made_one, stall_timeout=PATIENCE)


def _backed_up(
    repositories: Sequence[Repository], archive: Path, name: str
) -> Mapping[str, Manifest]:
    with archive.open("rb") as file:
        blocks = iter(partial(file.read, BUFFER), b"")
        return {name: _write(repositories, blocks, archive.stat().st_size)}


def _write(repositories: Sequence[Repository], blocks: Iterable[bytes], size: int) -> Manifest:
    """What a backup does with a stream, up to its manifest."""
    digest = StreamDigest()
    stream = CutOnce(sum(r.record.layout == "chunked" for r in repositories), digest)
    plain = records.manifest("bench", at=datetime.now(UTC))
    key, file = plain.key, plain.parts[0].file
    sinks = {r.name: partial(r.part_sink, key, file, size, stream, digest) for r in repositories}
    written = fan_out(blocks, sinks, stall_timeout=PATIENCE, digest=digest)
    if written.left_behind:
        raise next(iter(written.left_behind.values()))
    receipt = written.receipts[repositories[0].name]
    about = {"size_bytes": size, "sha256": receipt.sha256, "blocks": receipt.blocks}
    part = plain.parts[0].model_copy(update=about)
    manifest = plain.model_copy(update={"parts": (part,)})
    for repository in repositories:
        repository.commit(manifest)
    return manifest


def _restore(repository: Repository, manifest: Manifest, out: Path) -> None:
    with out.open("wb") as file:
        for block in repository.read_part(manifest.key, manifest.parts[0]):
            file.write(block)


def _check(out: Path, archive: Path) -> None:
    assert _sha256(out) == _sha256(archive)
    out.unlink()


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _copies(folder: Path, archive: Path, night: str, figures: Figures) -> None:
    to = folder / "copy"
    commands = {"cp": ["cp", str(archive), str(to)]}
    if rclone := shutil.which("rclone"):
        commands["rclone"] = [rclone, "copyto", "--config", os.devnull, str(archive), str(to)]
    for name, command in commands.items():
        run = partial(subprocess.run, command, check=True, capture_output=True)
        figures[f"{night}, {name}"].append(_seconds(run))
        to.unlink()


def _stored(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def _warm(file: Path) -> None:
    """Neither side reads it from the disk."""
    _sha256(file)


def _seconds(act: Callable[[], object]) -> float:
    begin = time.monotonic()
    act()
    return time.monotonic() - begin


# one stage at a time, on one core


def _print_stages(archive: Path) -> None:
    """What each stage of a first backup does by itself in one thread."""
    data = archive.read_bytes()
    buffers = [data[at : at + BUFFER] for at in range(0, len(data), BUFFER)]
    blocks = [p.data for p in cut(buffers) if p.is_block]
    frames = [compress(b) for b in blocks]
    cipher, nonce = AESGCM(bytes(32)), bytes(12)
    stages: dict[str, Callable[[], object]] = {
        "cut": lambda: sum(1 for _ in cut(buffers)),
        "SHA-256 of the stream": lambda: StreamDigest().update(data),
        "SHA-256 of the blocks": lambda: [hashlib.sha256(b).digest() for b in blocks],
        "zstd": lambda: [compress(b) for b in blocks],
        "zstd, decoded again": lambda: [
            decompress(f, len(b)) for f, b in zip(frames, blocks, strict=True)
        ],
        "SHA-256 of the packs": lambda: [hashlib.sha256(f).digest() for f in frames],
        "AES-GCM": lambda: [cipher.encrypt(nonce, f, None) for f in frames],
    }
    spent: dict[str, float] = {}
    for name, act in stages.items():
        begin = time.thread_time()
        act()
        spent[name] = max(time.thread_time() - begin, 1e-6)
    whole = sum(spent.values())
    for name, seconds in spent.items():
        rate = len(data) / 2**20 / seconds
        print(f"  {name:<24} {rate:8.0f} MiB/s of one core, {seconds / whole:4.0%}")
    slowest = max(spent, key=spent.__getitem__)
    rate = len(data) / 2**20 / whole
    print(f"  {'all of them':<24} {rate:8.0f} MiB/s of one core; what holds it back: {slowest}")


# memory


def _print_memory(folder: Path, size: int) -> None:
    """The most anonymous bytes of this process while three repositories take a stream."""
    idle = anonymous_memory(os.getpid()) / 2**20
    repositories = [_create(folder / kind, kind) for kind in ("plain", *KINDS)]
    with _watched() as peaks:
        _write(repositories, _never_the_same(size), size)
    shutil.rmtree(folder)
    peak = max(peaks) / 2**20
    met = "met" if peak <= CEILING_MIB else "MISSED"
    print(f"vault: memory of three repositories, {size >> 20} MiB: {peak:.0f} MiB, "
          f"{idle:.0f} of them before, aim <= {CEILING_MIB} MiB: {met}")  # fmt: skip


@contextmanager
def _watched() -> Iterator[list[int]]:
    """Look at the memory of this process 50 times a second."""
    peaks, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(0.02):
            peaks[0] = max(peaks[0], anonymous_memory(os.getpid()))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield peaks
    finally:
        ended.set()
        watcher.join()


def _never_the_same(size: int) -> Iterator[bytes]:
    chance = random.Random(7)
    for at in range(0, size, BUFFER):
        yield chance.randbytes(min(BUFFER, size - at))


# figures


def _print(figures: Figures, *, with_restic: bool) -> None:
    for name, values in figures.items():
        print(side(name, values, "MiB" if name.endswith("stored") else "s"))
    middle = {name: median(values) for name, values in figures.items()}
    ratio = middle["fan-out, three"] / middle["fan-out, plain"]
    print(verdict("vault", "fan-out to three, to plain alone", ratio, 1.5))
    if not with_restic:
        print("vault: skipped: there is no restic >= 0.14 in PATH, so there are no more ratios")
        return
    aims = {"first": (1.3, 1.02), "second": (1.0, 0.2)}
    for kind in KINDS:
        for night, (wall, stored) in aims.items():
            ours, peer = f"{night}, {kind}", f"{night}, restic"
            what = f"{night} backup, {kind}, to restic"
            print(verdict("vault", f"{what}, wall", middle[ours] / middle[peer], wall))
            share = middle[f"{ours}, stored"] / middle[f"{peer}, stored"]
            print(verdict("vault", f"{what}, bytes", share, stored))
        back = middle[f"restore, {kind}"] / middle["restore, restic"]
        print(verdict("vault", f"restore, {kind}, to restic dump", back, 1.2))


if __name__ == "__main__":
    main()
