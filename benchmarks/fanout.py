"""One snapshot to three S3 repositories: our one read and three writes against `rclone copy`.

Ours is what `backup` does with the bytes of a download: digests in passing, `fan_out` into the
part sinks of three opened repositories, until each part is committed and was looked at again. The
bytes come from the same file that rclone reads, at full speed: the node is no part of this.
rclone (with its defaults, but without its last look) copies the file to the three at once, three
processes, and one after another. Up to 200 MiB it sends a file in one request: below that the
ratio is of something else. Each repository is an S3 emulator in a process of its own. They need
more of this machine's cores than either side, so they have the last half of them for themselves
and the sides the first; processor time is only that of the side.

BENCH_MIB (512) is the size, BENCH_ROUNDS (3) how often each side runs; the sides take turns.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import boto3

from benchmarks import machine, side, verdict
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.digests import StreamDigest
from qdrant_dr.records import BackupKey
from qdrant_dr.repository import create_repository, fan_out, new_id, open_repository
from tests.support.stores import Place, s3_place

AIM = 1.0
CPU_AIM = 1.5
BLOCK = 2**20  # bytes: what a download hands on
PATIENCE = timedelta(seconds=300)


def main() -> None:
    """Measure, print both sides, the ratio and the verdict."""
    size = int(os.environ.get("BENCH_MIB", "512")) * 2**20
    rounds = int(os.environ.get("BENCH_ROUNDS", "3"))
    rclone = shutil.which("rclone")
    os.environ.pop("QDR_TEST_S3_URL", None)  # emulators here, whatever the tests are told to use
    print(machine(_version(rclone)))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="qdr-bench-")))
        file = _write(folder / "movies.snapshot", size)
        with _on(last_half=True):  # children stay where they were started
            places = [stack.enter_context(s3_place()) for _ in range(3)]
        stack.enter_context(_on(last_half=False))
        sides: dict[str, Callable[[], object]] = {
            "ours, three at once": partial(_ours, file, _repositories(places))
        }
        if rclone:
            copies = [_rclone(rclone, file, place) for place in places]
            sides["rclone, three at once"] = partial(_at_once, copies)
            sides["rclone, one after another"] = partial(_one_by_one, copies)
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        processor: dict[str, list[float]] = {name: [] for name in sides}
        idle = _peak_mib()
        for _ in range(rounds):
            for name, run in sides.items():
                start, spent = time.monotonic(), _spent()
                run()
                seconds[name].append(time.monotonic() - start)
                processor[name].append((_spent() - spent) * 2**30 / size)
                for place in places:
                    _empty(place, expected=size)
    print(
        f"  our process peaked at {_peak_mib():.0f} MiB, {idle:.0f} of them before the first byte"
    )
    _print(seconds, processor, size)


@contextmanager
def _on(*, last_half: bool) -> Iterator[None]:
    """Stay on one half of the cores, as far as there are two."""
    cores = sorted(os.sched_getaffinity(0))
    half = len(cores) // 2
    os.sched_setaffinity(0, (cores[half:] if last_half else cores[:half]) or cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def _spent() -> float:
    """Processor seconds of this process and of children that ended: emulators did not."""
    usages = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _print(seconds: dict[str, list[float]], processor: dict[str, list[float]], size: int) -> None:
    print(f"fanout: {size >> 20} MiB to three S3 repositories, load {os.getloadavg()[0]:.1f} after")
    for name, values in seconds.items():
        print(side(name, values, "s"))
    for name, values in processor.items():
        print(side(f"{name}, CPU", values, "s/GiB"))
    ours, *peers = (median(values) for values in seconds.values())
    if not peers:
        print("fanout: skipped: there is no rclone in PATH, so there is no ratio")
        return
    at_once, in_turn = peers
    print(f"  rclone, at once to one after another: {at_once / in_turn:.2f}")
    print(f"  ours to rclone, one after another:    {ours / in_turn:.2f}")
    print(verdict("fanout", "ours to rclone, at once", ours / at_once, AIM))
    ours, at_once, _ = (median(values) for values in processor.values())
    print(verdict("fanout", "CPU seconds per GiB, ours to rclone's", ours / at_once, CPU_AIM))


def _write(file: Path, size: int) -> Path:
    """Bytes that nothing can compress or skip."""
    with file.open("wb") as out:
        for _ in range(size // BLOCK):
            out.write(os.urandom(BLOCK))
    return file


def _repositories(places: Sequence[Place]) -> list[RepositoryConfig]:
    made = []
    for number, place in enumerate(places):
        cfg = place.config(f"s3-{number}")
        made.append(cfg.model_copy(update={"id": create_repository(cfg, datetime.now(UTC))}))
    return made


def _ours(file: Path, configs: Sequence[RepositoryConfig]) -> None:
    opened = [open_repository(cfg, stall_timeout=PATIENCE) for cfg in configs]
    key = BackupKey(cluster="bench", collection="movies", backup_id=new_id(datetime.now(UTC)))
    size, digest = file.stat().st_size, StreamDigest()
    written = fan_out(
        _blocks(file),
        {r.name: partial(r.part_sink, key, "collection.snapshot", size, digest) for r in opened},
        stall_timeout=PATIENCE,
        digest=digest,
    )
    for error in written.left_behind.values():
        raise error
    if any(receipt.size_bytes != size for receipt in written.receipts.values()):
        raise RuntimeError(f"not all of {size} bytes were written: {written.receipts}")


def _blocks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while block := source.read(BLOCK):
            yield block


def _rclone(program: str, file: Path, place: Place) -> Callable[[], subprocess.Popen[bytes]]:
    """How to start a copy of the file to one place."""
    options = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "REGION": "us-east-1",
        "ENDPOINT": place.options["endpoint_url"],
        "ACCESS_KEY_ID": place.options["key"],
        "SECRET_ACCESS_KEY": place.options["secret"],
    }
    environment = {f"RCLONE_CONFIG_BENCH_{name}": value for name, value in options.items()}
    bucket = place.base.removeprefix("s3://")
    command = [program, "copy", str(file), f"bench:{bucket}/rclone", "--config", os.devnull]
    command += ["--s3-no-head"]  # the emulator refuses its last look, at version `null`
    # what AWS's own tools are told on this machine is no part of the comparison
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return partial(subprocess.Popen, command, env=inherited | environment)


def _at_once(copies: Sequence[Callable[[], subprocess.Popen[bytes]]]) -> None:
    for process in [start() for start in copies]:
        _finish(process)


def _one_by_one(copies: Sequence[Callable[[], subprocess.Popen[bytes]]]) -> None:
    for start in copies:
        _finish(start())


def _finish(process: subprocess.Popen[bytes]) -> None:
    if code := process.wait():
        raise RuntimeError(f"rclone ended with {code}")


def _empty(place: Place, *, expected: int) -> None:
    """Take the one snapshot away that must be there, so that the next run finds it all as new."""
    client = boto3.client(
        "s3",
        endpoint_url=place.options["endpoint_url"],
        region_name="us-east-1",
        aws_access_key_id=place.options["key"],
        aws_secret_access_key=place.options["secret"],
    )
    listed = client.list_objects_v2(Bucket="backups").get("Contents", [])
    snapshots = [o for o in listed if o["Key"].endswith(".snapshot")]
    if [o["Size"] for o in snapshots] != [expected]:
        raise RuntimeError(f"one snapshot of {expected} bytes should be there: {snapshots}")
    client.delete_object(Bucket="backups", Key=snapshots[0]["Key"])


def _version(rclone: str | None) -> str:
    if rclone is None:
        return "no rclone"
    said = subprocess.run([rclone, "version"], capture_output=True, text=True, check=True)
    return said.stdout.splitlines()[0]


if __name__ == "__main__":
    main()
