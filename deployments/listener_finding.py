"""Show on a disposable server that archives without a log bring acknowledged deletes back.

    QDRANT_BIN=./qdrant python -m deployments.listener_finding --disposable --tries 10
    QDRANT_URL=http://scratch:6333 python -m deployments.listener_finding --disposable

With `QDRANT_BIN` it starts two nodes of its own, one of them a listener; with `QDRANT_URL` it uses
that server, on which everything may be lost, and leaves the listener out. In each try it fills a
collection, lets the optimizer build an index, deletes points, waits until each delete is
acknowledged, and only then takes snapshots: nobody writes any more. Each archive is then counted by
Qdrant's own storage engine. It ends with 0 if the archive of qdrant-dr was exact every time, with 1
if not, and with 4 if nothing was taken while the optimizer worked: then nothing was shown.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import yaml

from qdrant_dr import configfile
from qdrant_dr.children import SERVER, bare_environment
from qdrant_dr.dispatch.threads import in_threads
from qdrant_dr.jobs.backup.job import BackupRequest, backup
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.run import begin
from qdrant_dr.jobs.target.scratch import QUIET, free_ports
from qdrant_dr.parent_death import command_dying_with_parent
from qdrant_dr.proof.engine import Engine, EngineLimits
from qdrant_dr.proof.unpack import Limits, lay_out
from qdrant_dr.records import BackupKey
from qdrant_dr.repository import create_repository

COLLECTION = "qdr-finding"
WAIT_SECONDS = 120.0
OURS = "qdrant-dr backup"
STREAM, STORED = "shard snapshot, streamed", "shard snapshot, stored"
LISTENER, NORMAL = "collection snapshot of a listener", "collection snapshot of a normal node"


@dataclass(frozen=True)
class Sizes:
    """Of one try: points written, deleted again, and their dimensions."""

    points: int = 12_000
    deleted: int = 4_000
    dimensions: int = 96

    @property
    def left(self) -> int:
        return self.points - self.deleted


@dataclass(frozen=True)
class Taken:
    """One archive: how it was made, whether the optimizer was at work, and what is in it."""

    method: str
    busy: bool
    points: int


def main(arguments: list[str] | None = None) -> int:
    """Run the tries and print the table."""
    options = _options().parse_args(arguments)
    url, binary = os.environ.get("QDRANT_URL"), os.environ.get("QDRANT_BIN")
    if not options.disposable:
        print("everything on the server may be lost: say so with --disposable", file=sys.stderr)
        return 2
    if not (url or binary):
        print("set QDRANT_BIN (a binary) or QDRANT_URL (a disposable server)", file=sys.stderr)
        return 2
    sizes = Sizes(options.points, options.points // 3)
    taken: list[Taken] = []
    for n in range(options.tries):
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="qdr-finding-")))
            nodes = [url] if url else stack.enter_context(_two_nodes(folder, binary or ""))
            found = one_try(nodes, folder, sizes, seed=n)
        taken += found
        said = ", ".join(f"{t.method}: {t.points}{'' if t.busy else ' (settled)'}" for t in found)
        print(f"try {n + 1}: {said}", file=sys.stderr, flush=True)
    print(table(taken, sizes))
    if not any(t.busy for t in taken):
        print("the optimizer was never at work: use --points for a larger collection")
        return 4
    return 0 if all(t.points == sizes.left for t in taken if t.method == OURS) else 1


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="listener_finding", description=__doc__.split("\n")[0])
    parser.add_argument("--disposable", action="store_true", help="everything there may be lost")
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument("--points", type=int, default=Sizes.points)
    return parser


def table(taken: list[Taken], sizes: Sizes) -> str:
    """Build one row per method, of the archives that were taken while the optimizer was at work."""
    head = f"archive ({sizes.points} points, {sizes.deleted} deleted and acknowledged)"
    lines = [f"| {head} | tries | wrong | points in it |", "|---|---|---|---|"]
    for method in dict.fromkeys(t.method for t in taken):
        counts = [t.points for t in taken if t.method == method and t.busy]
        wrong = sum(c != sizes.left for c in counts)
        span = "-" if not counts else f"{min(counts)} to {max(counts)}"
        if counts and min(counts) == max(counts):
            span = str(counts[0])
        lines.append(f"| {method} | {len(counts)} | {wrong} | {span}, right is {sizes.left} |")
    return "\n".join(lines)


def one_try(nodes: list[str], folder: Path, sizes: Sizes, *, seed: int) -> list[Taken]:
    """Fill, optimize, delete, and take every kind of archive while the optimizer works."""
    taken = []
    with httpx.Client(base_url=nodes[0], timeout=WAIT_SECONDS, trust_env=False) as node:
        _fill(node, sizes, len(nodes), seed)
        _index_on(node, nodes)
        _delete(node, sizes, seed)
        path = _streamed(node, folder)
        taken.append(Taken(STREAM, _busy(node), _count(path, folder, "shard")))
        path = _stored(node, folder, "/shards/0")
        taken.append(Taken(STORED, _busy(node), _count(path, folder, "shard")))
        if len(nodes) > 1:
            with httpx.Client(base_url=nodes[1], timeout=WAIT_SECONDS, trust_env=False) as other:
                _await_queue(other)
                path = _stored(other, folder, "")
                taken.append(Taken(LISTENER, _busy(other), _count(path, folder, "collection")))
        path = _stored(node, folder, "")
        taken.append(Taken(NORMAL, _busy(node), _count(path, folder, "collection")))
        points = _our_capture(nodes, folder)
        taken.append(Taken(OURS, _busy(node), points))
        _ask(node, "DELETE", f"/collections/{COLLECTION}")
    return taken


def _ask(client: httpx.Client, method: str, path: str, **more: Any) -> Any:
    response = client.request(method, path, **more)
    response.raise_for_status()
    return response.json()["result"]


def _fill(client: httpx.Client, sizes: Sizes, replicas: int, seed: int) -> None:
    client.delete(f"/collections/{COLLECTION}")
    _ask(client, "PUT", f"/collections/{COLLECTION}", json={
        "vectors": {"size": sizes.dimensions, "distance": "Cosine"},
        "shard_number": 1,
        "replication_factor": replicas,
        "hnsw_config": {"m": 48, "ef_construct": 600},
        "optimizers_config": {"indexing_threshold": 0, "default_segment_number": 2},
    })  # fmt: skip
    chance = random.Random(seed)
    for start in range(0, sizes.points, 1000):
        batch = [
            {"id": n, "vector": [chance.gauss(0, 1) for _ in range(sizes.dimensions)]}
            for n in range(start, min(start + 1000, sizes.points))
        ]
        path = f"/collections/{COLLECTION}/points"
        _ask(client, "PUT", path, params={"wait": "true"}, json={"points": batch})


def _index_on(client: httpx.Client, nodes: list[str]) -> None:
    """Ask for an index while nothing runs, and wait until every node is building one.

    An optimization is listed a moment before it takes its segments; it has when it copies them.
    """
    _await_queue(client)
    _ask(client, "PATCH", f"/collections/{COLLECTION}",
         json={"optimizers_config": {"indexing_threshold": 100}})  # fmt: skip
    deadline = time.monotonic() + WAIT_SECONDS
    for url in nodes:
        with httpx.Client(base_url=url, timeout=WAIT_SECONDS, trust_env=False) as node:
            while not any((r.get("progress") or {}).get("children") for r in _running(node)):
                if time.monotonic() > deadline:
                    raise SystemExit("the optimizer did not begin")
                time.sleep(0.02)


def _running(client: httpx.Client) -> list[dict[str, Any]]:
    found = _ask(client, "GET", f"/collections/{COLLECTION}/optimizations")
    return list(found["running"])


def _busy(client: httpx.Client) -> bool:
    return bool(_running(client))


def _await_queue(client: httpx.Client) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while (_ask(client, "GET", f"/collections/{COLLECTION}").get("update_queue") or {}).get(
        "length"
    ):
        if time.monotonic() > deadline:
            raise SystemExit("updates stay queued")
        time.sleep(0.05)


def _delete(client: httpx.Client, sizes: Sizes, seed: int) -> None:
    """Delete, acknowledged as applied; and see that the server itself counts so."""
    gone = random.Random(-seed - 1).sample(range(sizes.points), sizes.deleted)
    path = f"/collections/{COLLECTION}/points"
    _ask(client, "POST", f"{path}/delete", params={"wait": "true"}, json={"points": gone})
    counted = _ask(client, "POST", f"{path}/count", json={"exact": True})["count"]
    if counted != sizes.left:
        raise SystemExit(f"the server counts {counted} points, {sizes.left} should be left")


def _streamed(client: httpx.Client, folder: Path) -> Path:
    return _download(client, f"/collections/{COLLECTION}/shards/0/snapshot", folder / "stream")


def _stored(client: httpx.Client, folder: Path, where: str) -> Path:
    path = f"/collections/{COLLECTION}{where}/snapshots"
    name = _ask(client, "POST", path)["name"]
    file = _download(client, f"{path}/{name}", folder / f"stored-{time.monotonic_ns()}")
    _ask(client, "DELETE", f"{path}/{name}")
    return file


def _download(client: httpx.Client, path: str, file: Path) -> Path:
    with client.stream("GET", path, headers={"accept-encoding": "identity"}) as response:
        response.raise_for_status()
        with file.open("wb") as out:
            for block in response.iter_bytes():
                out.write(block)
    return file


def _count(archive: Path, folder: Path, kind: Any) -> int:
    """Points that Qdrant's engine finds, its log replayed where there is one."""
    where = folder / "laid-out"
    size = archive.stat().st_size
    with archive.open("rb") as data:
        blocks = iter(lambda: data.read(1 << 20), b"")
        laid = lay_out(blocks, where, kind=kind, limits=Limits.of_part(size, 1 << 40))
    for fault in laid.faults:
        raise fault
    (shard,) = laid.local_shards
    with Engine(folder / "engine", EngineLimits()) as engine:
        points = engine.load(shard.folder).points
    shutil.rmtree(where)
    archive.unlink()
    return points


def _our_capture(nodes: list[str], folder: Path) -> int:
    """Back up and seal with qdrant-dr; return how many points the seal says the backup holds."""
    disk = {"name": "disk", "url": str(folder / "repository"), "domain": "disk"}
    body = {
        "format": 1,
        "cluster": {"name": "finding", "nodes": nodes},
        "collections": {"include": [COLLECTION]},
        "repositories": [disk],
        "copies": {"quorum": 1, "domains": 1},
        "capture": {"spool": {"path": str(folder / "spool"), "max": "10GiB"}},
    }
    file = folder / "qdrant-dr.yaml"
    file.write_text(yaml.safe_dump(body))
    (cfg,) = configfile.load(str(file)).repositories
    disk["id"] = create_repository(cfg, datetime.now(UTC))
    file.write_text(yaml.safe_dump(body))
    config = configfile.load(str(file))
    run = begin(config, "backup", parameters={})
    end = backup(config, BackupRequest(prove="content"), run, in_threads(config, run.run_id))
    (captured,) = (o for o in end.outcomes if o.unit == "capture")
    if captured.error is not None or captured.backup_id is None:
        raise SystemExit(f"qdrant-dr could not back up: {captured.error}")
    opened, _ = open_all(config)
    key = BackupKey(cluster="finding", collection=COLLECTION, backup_id=captured.backup_id)
    seal = opened["disk"].read_seal(key)
    if seal is None:
        raise SystemExit(f"qdrant-dr did not seal its backup: {'; '.join(end.reasons)}")
    return seal.points


@contextmanager
def _two_nodes(folder: Path, binary: str) -> Iterator[list[str]]:
    """A cluster on loopback: one normal node, one listener. It dies with us."""
    http, p2p = free_ports(5)[:2], free_ports(5)[3:]
    urls = [f"http://127.0.0.1:{port}" for port in http]
    processes = []
    with ExitStack() as stack:
        for n, port in enumerate(http):
            home = folder / f"node-{n}"
            home.mkdir()
            settings = {
                **QUIET,
                "QDRANT__STORAGE__STORAGE_PATH": str(home / "storage"),
                "QDRANT__STORAGE__SNAPSHOTS_PATH": str(home / "snapshots"),
                "QDRANT__STORAGE__NODE_TYPE": "Listener" if n else "Normal",
                "QDRANT__SERVICE__HTTP_PORT": str(port),
                "QDRANT__SERVICE__GRPC_PORT": str(free_ports(1)[0]),
                "QDRANT__CLUSTER__ENABLED": "true",
                "QDRANT__CLUSTER__P2P__PORT": str(p2p[n]),
                "QDRANT_INIT_FILE_PATH": str(home / ".initialized"),
            }
            uri = f"http://127.0.0.1:{p2p[n]}"
            more = ["--bootstrap", f"http://127.0.0.1:{p2p[0]}"] if n else []
            log = stack.enter_context((home / "server.log").open("wb"))
            process = subprocess.Popen(
                command_dying_with_parent(str(Path(binary).resolve()), "--uri", uri, *more),
                cwd=home,
                env=bare_environment(settings, also=SERVER),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            processes.append(process)
            stack.callback(_end, process)
            _await(urls[n], peers=n + 1, log=home / "server.log")
        yield urls


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _await(url: str, *, peers: int, log: Path) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        try:
            found = httpx.get(f"{url}/cluster", timeout=5, trust_env=False).json()["result"]
            if len(found["peers"]) == peers and found["raft_info"]["leader"] is not None:
                return
        except (httpx.TransportError, KeyError):
            pass
        time.sleep(0.1)
    raise SystemExit(f"the node did not start: {log.read_text(errors='replace')[-500:]}")


if __name__ == "__main__":
    sys.exit(main())
