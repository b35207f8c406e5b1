"""What a backup of a cluster costs: each shard once, against one collection snapshot per node.

Three nodes hold `movies`, 3 shards with replication 2, as real archives of such a cluster; they are
sandbox nodes, or with QDRANT_BIN a real cluster that is filled first. The other side is the usual
way: a snapshot of every node, all of them kept, which is what a person needs who cannot tell the
shards apart. Stored are the parts of the manifest against those files; read is what came over the
network for them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from benchmarks import machine, verdict
from qdrant_dr.config import Config
from qdrant_dr.dispatch.threads import in_threads
from qdrant_dr.jobs.backup.job import BackupRequest, backup
from qdrant_dr.jobs.run.run import begin
from qdrant_dr.records import Manifest
from qdrant_dr.repository import create_repository
from tests.support.servers import Node, qdrant_cluster, sandbox_cluster

AIM = 0.55
POINTS = 20_000
SIZE = 128


def main() -> None:
    """Measure, print both sides, the ratio and the verdict."""
    print(machine())
    with TemporaryDirectory(prefix="qdr-bench-") as name, _cluster(Path(name)) as nodes:
        manifest = _ours(Path(name), nodes)
        theirs = [_snapshot(node) for node in nodes]
    stored = manifest.size_bytes
    read = sum({p.node: p.server_size_bytes or 0 for p in manifest.parts}.values())
    every = sum(theirs)
    print(f"cover: movies, 3 shards x 2 on three nodes ({nodes[0].kind})")
    print(f"  one snapshot per node      stored {every / 1e6:9.2f} MB   read {every / 1e6:9.2f} MB")
    print(f"  ours, each shard once      stored {stored / 1e6:9.2f} MB   read {read / 1e6:9.2f} MB")
    print(f"  read: ratio {read / every:.2f}, from {len(manifest.sources)} of {len(nodes)} nodes")
    print(verdict("cover", "stored, ours to one per node", stored / every, AIM))


@contextmanager
def _cluster(folder: Path) -> Iterator[Sequence[Node]]:
    if "QDRANT_BIN" not in os.environ:
        with sandbox_cluster(folder / "nodes") as nodes:
            yield nodes
        return
    with qdrant_cluster(folder / "nodes") as nodes:
        _fill(nodes[0].url)
        yield nodes


def _fill(url: str) -> None:
    with httpx.Client(base_url=url, timeout=120, trust_env=False) as client:
        made = {
            "vectors": {"size": SIZE, "distance": "Cosine"},
            "shard_number": 3,
            "replication_factor": 2,
        }
        client.put("/collections/movies?timeout=60", json=made).raise_for_status()
        for at in range(0, POINTS, 1000):
            batch = [
                {"id": n, "vector": [((n * 31 + i * 17) % 97) / 97 for i in range(SIZE)]}
                for n in range(at, at + 1000)
            ]
            client.put(
                "/collections/movies/points?wait=true", json={"points": batch}
            ).raise_for_status()


def _ours(folder: Path, nodes: Sequence[Node]) -> Manifest:
    store = folder / "store"
    body = {
        "format": 1,
        "cluster": {"name": "bench", "nodes": [n.url for n in nodes]},
        "collections": {"include": ["movies"]},
        "repositories": [{"name": "one", "url": store.as_uri(), "domain": "disk"}],
        "capture": {"spool": {"path": str(folder / "spool"), "max": "1GiB"}},
    }
    config = Config.model_validate(body)
    made = create_repository(config.repositories[0], datetime.now(UTC))
    body["repositories"] = [{**body["repositories"][0], "id": made}]  # type: ignore[index]
    config = Config.model_validate(body)
    run = begin(config, "backup")
    end = backup(config, BackupRequest(), run, in_threads(config, run.run_id))
    if end.verdict != "ok":
        raise RuntimeError(f"the backup is {end.verdict}: {'; '.join(end.reasons)}")
    (path,) = store.glob("backups/**/manifest.json")
    return Manifest.from_bytes(path.read_bytes(), where=str(path))


def _snapshot(node: Node) -> int:
    answer = httpx.post(
        f"{node.url}/collections/movies/snapshots", timeout=120, trust_env=False
    ).raise_for_status()
    return int(answer.json()["result"]["size"])


if __name__ == "__main__":
    main()
