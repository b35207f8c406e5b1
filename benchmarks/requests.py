"""`python -m benchmarks.requests`: how often a backup and its proof of content ask a node.

Counted by a proxy between us and the server: a collection of one shard, a second collection, more
shards of it. A sandbox, or with `QDRANT_BIN` a real server. There is no peer to compare with: one
`POST snapshots`, one `GET` of the file and one `DELETE` are the least that a copy without any proof
needs, and are printed beside it.

BENCH_POINTS (20000): more than one page of ids, so that samples cost what they cost at any size.
"""

from __future__ import annotations

import os
import random
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import machine, verdict
from tests.support.driving import do
from tests.support.loopback import loopback
from tests.support.servers import qdrant_server, sandbox_server
from tests.support.spy import Spy
from tests.support.world import make_world

AIM = 40
BARE = 3
PAGE = 2000


def main() -> None:
    """Count, print what each costs and the verdict."""
    points = int(os.environ.get("BENCH_POINTS", "20000"))
    real = "QDRANT_BIN" in os.environ
    print(machine("qdrant" if real else "sandbox"), flush=True)
    start = qdrant_server if real else sandbox_server
    with TemporaryDirectory(prefix="qdr-bench-") as base:
        folder = Path(base)
        with start(folder / "server") as server, Spy(server.url) as spy:
            _fill(server.url, "one", 1, points)
            alone = _backup(spy, folder / "alone")
            _fill(server.url, "another", 1, points)
            two = _backup(spy, folder / "two")
            loopback.delete(f"{server.url}/collections/another").raise_for_status()
            _fill(server.url, "another", 4, points)
            wide = _backup(spy, folder / "wide")
    print(f"requests: {points} points, a copy without any proof takes {BARE}")
    print(f"  a collection of one shard: {alone}")
    print(f"  one more collection: {two - alone}")
    print(f"  one more shard: {(wide - two) / 3:.1f}")
    print(verdict("requests", f"of a collection of one shard, to {AIM}", alone / AIM, 1.0))


def _fill(url: str, name: str, shards: int, points: int) -> None:
    chance = random.Random(name)
    body = {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": shards}
    loopback.put(f"{url}/collections/{name}", json=body, timeout=60).raise_for_status()
    for begin in range(0, points, PAGE):
        some = [
            {"id": n, "vector": [chance.random() for _ in range(4)], "payload": {"n": n}}
            for n in range(begin, min(points, begin + PAGE))
        ]
        where = f"{url}/collections/{name}/points?wait=true"
        loopback.put(where, json={"points": some}, timeout=60).raise_for_status()


def _backup(spy: Spy, folder: Path) -> int:
    world = make_world(folder, spy.url)
    before = len(spy.log)
    end = do(world, "backup")
    if end.verdict != "ok":
        raise RuntimeError(f"the backup ended {end.verdict}: {end.reasons}")
    asked = Counter(line.partition(" ")[0] for line in spy.log[before:])
    return asked.total()


if __name__ == "__main__":
    main()
