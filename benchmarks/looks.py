"""`python -m benchmarks.looks`: requests of a `watch` to S3, cold and warm.

Three repositories on an emulator (moto), each with the same 200 backups, two proofs of each and the
records of two runs for each: `gather`, as `watch`, `report` and `status` do it, in a process of its
own. The very first look fetches every record and leaves bundles; cold is the first look of another
machine, warm is any further one. Requests are counted where the client sends them, those of
retries, too. They are what a look costs: money and, over a distance, time. The second size says how
they grow.

BENCH_LOOKS (200,2000): numbers of backups.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import machine, verdict
from benchmarks.catalog import PATIENCE
from benchmarks.history import BUCKET, NAMES, id_of
from qdrant_dr.config import Config
from tests.support import records as made
from tests.support.stores import await_http, child, free_port

COLD, WARM = 600, 60
AIMED_AT = 200
"""Requests, and the backups that they are the aim for."""


def main() -> None:
    """Measure, print both readings of each size and the verdicts."""
    sizes = [int(n) for n in os.environ.get("BENCH_LOOKS", "200,2000").split(",")]
    print(machine("moto"), flush=True)
    for backups in sizes:
        with emulator(backups) as url, TemporaryDirectory(prefix="qdr-bench-") as homes:
            for name, home, aim in (
                ("the very first time", "one", None),
                ("cold", "two", COLD),
                ("warm", "two", WARM),
            ):
                took = _look(url, backups, f"{homes}/{home}")
                print(
                    f"  {backups} backups x {len(NAMES)}, {name}: {took['requests']} requests, "
                    f"{took['seconds']:.1f} s, {took['processor']:.1f} s of a processor",
                    flush=True,
                )
                if aim is not None and backups <= AIMED_AT:
                    what = f"{backups} backups, {name}, to {aim} requests"
                    print(verdict("looks", what, took["requests"] / aim, 1.0), flush=True)


@contextmanager
def emulator(backups: int, collections: int = 10) -> Iterator[str]:
    """The URL of one whose bucket has the three repositories."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.history", *map(str, (port, backups, collections))]
    with child([*command, *NAMES], dict(os.environ)):
        url = f"http://127.0.0.1:{port}"
        await_http(f"{url}/moto-api/", within=PATIENCE)
        yield url


def configuration(url: str, **sections: Any) -> Config:
    """The three repositories of an emulator."""
    repositories = [
        {
            "name": name,
            "id": id_of(name),
            "url": f"s3://{BUCKET}/{name}",
            "domain": name,
            "options": {"endpoint_url": url, "key": "any", "secret": "any"},
        }
        for name in NAMES
    ]
    return made.config(*NAMES, repositories=repositories, **sections)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """What the S3 client sends meanwhile in this process, by the method of HTTP."""
    from aiobotocore.httpsession import AIOHTTPSession

    sent: Counter[str] = Counter()
    send = AIOHTTPSession.send

    async def counting(self: Any, request: Any) -> Any:
        sent[request.method] += 1
        return await send(self, request)

    AIOHTTPSession.send = counting  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        AIOHTTPSession.send = send  # type: ignore[method-assign]


def look(url: str) -> dict[str, float]:
    """One reading, here, that leaves bundles. What it takes to leave them is not counted."""
    from qdrant_dr.jobs.run.catalogs import bundle_all, open_all
    from qdrant_dr.report.evidence.gather import gather

    config, now = configuration(url), datetime.now(UTC)
    with counted() as sent:
        begin, worked = time.perf_counter(), time.process_time()
        opened, failed = open_all(config, remember=True)
        found = gather(config, now, timedelta(days=30), ledgers=False, among=(opened, failed))
        seconds, processor = time.perf_counter() - begin, time.process_time() - worked
    bundle_all(opened)
    whole = found.complete and not found.catalog.lost
    backups = len(found.catalog.backups) if whole else -1
    return {
        "requests": sent.total(), "seconds": seconds, "processor": processor, "backups": backups,
    }  # fmt: skip


def _look(url: str, expected: int, remembered: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.looks", url], capture_output=True, text=True,
        env={**os.environ, "XDG_CACHE_HOME": remembered}, timeout=PATIENCE, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(done.stderr)
    found: dict[str, float] = json.loads(done.stdout)
    if found["backups"] != expected:
        raise RuntimeError(f"{expected} backups should be there: {found}")
    return found


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(look(sys.argv[1])))
    else:
        main()
