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

A backup after BENCH_NIGHTS (30) nights like the second one is restored as `restore` does it, out of
repositories of the whole time, against `restic dump` of the same.

BENCH_POINTS (100000, on the sandbox 5000), BENCH_ROUNDS (3), BENCH_PARTS (stages,memory,rounds,
nights).
"""

from __future__ import annotations

import gc
import hashlib
import os
import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from benchmarks import machine, side, verdict
from benchmarks.archives_of_nights import nightly_archives
from benchmarks.many_nights import print_nights
from benchmarks.restic import Restic
from benchmarks.vault_memory import print_memory
from benchmarks.vault_repositories import (
    BUFFER,
    KINDS,
    backed_up,
    check_file,
    create_vault,
    restore_part,
    seconds_of,
    sha256_of,
    stored_bytes,
)
from qdrant_dr.digests import StreamDigest
from qdrant_dr.proof.engine import anonymous_memory
from qdrant_dr.records import Manifest
from qdrant_dr.vault.box import BLOCK, Table
from qdrant_dr.vault.compress import compress, decompress
from qdrant_dr.vault.cut import cut
from qdrant_dr.vault.known_blocks import MOST_IN_PACK, KnownBlocks, Pack

KNOWN_BYTES, KNOWN_PACKS = 12, 2000
NIGHTS = ("first", "second")
PARTS = ("stages", "memory", "rounds", "nights")

Figures = dict[str, list[float]]


def main() -> None:
    """Measure, print both sides of each ratio, and its verdict."""
    real = bool(os.environ.get("QDRANT_BIN"))
    points = int(os.environ.get("BENCH_POINTS", "100000" if real else "5000"))
    rounds = int(os.environ.get("BENCH_ROUNDS", "3"))
    memory = int(os.environ.get("BENCH_MEMORY_MIB", "4096")) * 2**20
    nights = int(os.environ.get("BENCH_NIGHTS", "30"))
    parts = os.environ.get("BENCH_PARTS", ",".join(PARTS)).split(",")
    restic = Restic.find()
    print(machine(restic.version if restic else "no restic 0.14 or newer"))
    with TemporaryDirectory(prefix="qdr-bench-") as name:
        folder = Path(name)
        if "memory" in parts:
            _print_known()
            print_memory(folder / "memory", memory)
        made = nightly_archives(folder, points, max(nights, 2), real=real)
        archives = [next(made), next(made)]
        sizes = " and ".join(f"{a.stat().st_size / 2**20:.0f}" for a in archives)
        kind = "Qdrant" if real else "the SANDBOX (set QDRANT_BIN: its archives have no graph)"
        print(f"vault: {points} points of {kind}, {sizes} MiB", flush=True)
        if "stages" in parts:
            _print_stages(archives[0])
        figures: defaultdict[str, list[float]] = defaultdict(list)
        if "rounds" in parts:
            for _ in range(rounds):
                with TemporaryDirectory(dir=folder) as place:
                    _one_round(Path(place), archives, restic, figures)
            _print(figures, with_restic=restic is not None)
        if "nights" in parts:
            with TemporaryDirectory(dir=folder) as place:
                print_nights(Path(place), chain(archives, made), restic, rounds)
        made.close()


# one round


def _one_round(
    folder: Path, archives: Sequence[Path], restic: Restic | None, figures: Figures
) -> None:
    places = {kind: folder / kind for kind in KINDS}
    vaults = {kind: create_vault(places[kind], kind) for kind in KINDS}
    kept: dict[str, int] = {}
    manifests: dict[str, Manifest] = {}
    if restic:
        places["restic"] = folder / "restic"
        restic = restic.at(places["restic"], folder)
        figures["start, restic"].append(seconds_of(partial(restic.run, "init", *restic.VERSION)))
        figures["start, restic"][-1] = seconds_of(partial(restic.run, "snapshots"))
    for night, archive in zip(NIGHTS, archives, strict=True):
        _warm(archive)
        for kind, vault in vaults.items():
            before = time.process_time()
            act = partial(backed_up, [vault], archive, f"{night}, {kind}")
            figures[f"{night}, {kind}"].append(seconds_of(lambda: manifests.update(act())))  # noqa: B023
            figures[f"{night}, {kind}, CPU"].append(time.process_time() - before)
        if restic:
            taken = partial(restic.run, "backup", "--compression", "auto", str(archive))
            figures[f"{night}, restic"].append(seconds_of(taken))
        for name, place in places.items():
            stored = stored_bytes(place)
            figures[f"{night}, {name}, stored"].append((stored - kept.get(name, 0)) / 2**20)
            kept[name] = stored
        _copies(folder, archive, night, figures)
    last, out = archives[-1], folder / "out"
    for kind, vault in vaults.items():
        back = partial(restore_part, vault, manifests[f"{NIGHTS[-1]}, {kind}"], out)
        figures[f"restore, {kind}"].append(seconds_of(back))
        check_file(out, last)
    if restic:
        figures["restore, restic"].append(seconds_of(partial(restic.dump, last, out)))
        check_file(out, last)
    for name, wanted in (("plain", ["plain"]), ("three", ["plain", *KINDS])):
        targets = [create_vault(folder / f"{name}-{kind}", kind) for kind in wanted]
        figures[f"fan-out, {name}"].append(seconds_of(partial(backed_up, targets, archives[0], "")))


def _copies(folder: Path, archive: Path, night: str, figures: Figures) -> None:
    to = folder / "copy"
    commands = {"cp": ["cp", str(archive), str(to)]}
    if rclone := shutil.which("rclone"):
        commands["rclone"] = [rclone, "copyto", "--config", os.devnull, str(archive), str(to)]
    for name, command in commands.items():
        run = partial(subprocess.run, command, check=True, capture_output=True)
        figures[f"{night}, {name}"].append(seconds_of(run))
        to.unlink()


def _warm(file: Path) -> None:
    """Neither side reads it from the disk."""
    sha256_of(file)


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


def _print_known() -> None:
    """What this process holds for each block that is known: as of half a terabyte."""
    chance = np.random.default_rng(7)
    known = KnownBlocks(lambda _: None)
    before = anonymous_memory(os.getpid())
    known.add_all(_tables(chance))
    gc.collect()
    each = (anonymous_memory(os.getpid()) - before) / len(known)
    met = "met" if round(each, 1) <= KNOWN_BYTES else "MISSED"
    print(f"vault: {each:.1f} bytes a block known, of {len(known)}, aim <= {KNOWN_BYTES}: {met}")


def _tables(chance: np.random.Generator) -> Iterator[tuple[Pack, Table]]:
    rows = np.zeros(MOST_IN_PACK, [("size", ">u4"), ("sha256", "u1", (32,))])
    rows["size"] = BLOCK
    for number in range(KNOWN_PACKS):
        rows["sha256"] = chance.integers(0, 256, (MOST_IN_PACK, 32), np.uint8)
        yield Pack(str(number)), Table(rows, b"", b"", b"")


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
