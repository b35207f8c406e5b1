"""Re-framing a node's archive shard by shard, against `cat`.

Both read one file from the page cache and write its bytes to one pipe that somebody drains: `cat`
as it is, ours cut into its shards on the way, names and checksums made anew. A third side reads
and writes in Python and cuts nothing: what separates it from `cat` is not the re-framing's. The
archive has the shape of Qdrant's: per shard some large segments and the sparse files of its log.

BENCH_MIB (1024) is the size, BENCH_ROUNDS (5) how often each side runs; the sides take turns.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import machine, side
from qdrant_dr.cluster import ShardSplitter
from qdrant_dr.cluster.split_archive import COLLECTION_FILES
from tests.support.archives import END, RawMember, header

AIM = 0.7
BLOCK = 2**20  # bytes; as `download` hands them on
SHARDS = 3
SEGMENTS = 8
LOG = 2**15


def main() -> None:
    """Measure, print both sides, the ratio and the verdict."""
    size = int(os.environ.get("BENCH_MIB", "1024")) * 2**20
    rounds = int(os.environ.get("BENCH_ROUNDS", "5"))
    print(machine())
    with TemporaryDirectory(prefix="qdr-bench-") as folder:
        file = Path(folder) / "movies.snapshot"
        _write(file, size)
        total = file.stat().st_size
        ours = [sys.executable, "-m", "benchmarks.reframe", str(file)]
        commands = {
            "cat": ["cat", str(file)],
            "ours, re-framed": ours,
            "ours, as it is": [*ours, "as it is"],
        }
        rates: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, values in rates.items():
                values.append(_rate(commands[name], total))
    print(f"reframe: {total >> 20} MiB of {SHARDS} shards, load {os.getloadavg()[0]:.1f} after")
    for name, values in rates.items():
        print(side(name, values, "GB/s"))
    ratio = median(rates["ours, re-framed"]) / median(rates["cat"])
    words = "met" if ratio >= AIM else "MISSED"
    print(f"reframe: ours to cat: ratio {ratio:.2f}, aim >= {AIM:.2f}: {words}")
    alone = median(rates["ours, re-framed"]) / median(rates["ours, as it is"])
    print(f"reframe: ours to the same loop without re-framing: ratio {alone:.2f}")


def pour(file: Path, *, as_it_is: bool = False) -> None:
    """Our side, in a process of its own: starting it is not timed, its first byte is."""
    if as_it_is:
        _out(_blocks(file))
        return
    reframing = ShardSplitter(_blocks(file), range(SHARDS), file.name)
    for _, archive in reframing.shards():
        _out(archive)


def _out(blocks: Iterator[bytes]) -> None:
    for block in blocks:
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(1, rest) :]


def _rate(command: list[str], size: int) -> float:
    """GB/s from the first byte to the last."""
    got = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as child:
        assert child.stdout is not None
        fcntl.fcntl(child.stdout, fcntl.F_SETPIPE_SZ, BLOCK)  # fewer switches between the two
        buffer = bytearray(BLOCK)
        got = child.stdout.readinto(buffer) or 0
        start = time.monotonic()
        while count := child.stdout.readinto(buffer):
            got += count
        seconds = time.monotonic() - start
    if child.returncode or got < size * 0.99:
        raise RuntimeError(f"{command[0]} gave {got} of {size} bytes, exit {child.returncode}")
    return got / seconds / 1e9


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb", buffering=0) as source:
        while block := source.read(BLOCK):
            yield block


def _write(file: Path, size: int) -> None:
    """Three shards, eight segments each, and what Qdrant puts behind them."""
    segment = size // SHARDS // SEGMENTS
    state = json.dumps({"is_local": True}).encode()
    with file.open("wb") as out:
        for shard in range(SHARDS):
            for number in range(SEGMENTS):
                out.write(header(f"{shard}/segments/{number}.tar", segment))
                for at in range(0, segment, BLOCK):
                    out.write(os.urandom(min(BLOCK, segment - at)))
                out.write(bytes(-segment % 512))
            runs = [(at * 4096, 512) for at in range(LOG // 512)]
            head = header(f"{shard}/wal/open-1", LOG, b"S", runs=runs, apparent=2**25)
            out.write(RawMember(head, os.urandom(LOG)).to_bytes())
            for name, data in (("replica_state.json", state), ("shard_config.json", b"{}")):
                out.write(RawMember(header(f"{shard}/{name}", len(data)), data).to_bytes())
        for name in COLLECTION_FILES:
            out.write(RawMember(header(name, 2), b"{}").to_bytes())
        out.write(END)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        pour(Path(sys.argv[1]), as_it_is=len(sys.argv) > 2)
    else:
        main()
