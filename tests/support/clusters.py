"""Backups of clusters, and what they hold."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import qdrant_edge

from qdrant_dr.records import Compared, Manifest, Outcome, RunEnd, Seal
from tests.support.driving import do, outcomes
from tests.support.loopback import loopback
from tests.support.servers import Node
from tests.support.world import World, make_world

SIZE = 128


def world_of(folder: Path, nodes: Sequence[Node], **sections: Any) -> World:
    return make_world(
        folder,
        nodes[0].url,
        repositories=("one",),
        **{"cluster": {"name": "shop", "nodes": [n.url for n in nodes]}, **sections},
    )


def call(url: str, method: str, path: str, **body: Any) -> Any:
    response = loopback.request(method, url + path, json=body or None, timeout=60)
    response.raise_for_status()
    return response.json()["result"]


def movies(url: str, *, points: int = 3000, **settings: Any) -> None:
    """3 shards, replication 2; some points deleted again."""
    settings = {"shard_number": 3, "replication_factor": 2, **settings}
    call(
        url, "PUT", "/collections/movies?timeout=30",
        vectors={"size": SIZE, "distance": "Cosine"}, **settings,
    )  # fmt: skip
    put(url, "movies", range(points))
    call(url, "POST", "/collections/movies/points/delete?wait=true", points=list(range(500)))


def put(url: str, collection: str, ids: range, **more: Any) -> None:
    dice = random.Random(ids.start)
    for at in range(ids.start, ids.stop, 500):
        batch = [
            {"id": n, "vector": [dice.gauss(0, 1) for _ in range(SIZE)], "payload": {"rank": n % 7}}
            for n in range(at, min(at + 500, ids.stop))
        ]
        call(url, "PUT", f"/collections/{collection}/points?wait=true", points=batch, **more)


def tenants(url: str) -> None:
    """Custom sharding: two keys, one of them with two shards."""
    call(
        url, "PUT", "/collections/tenants?timeout=30",
        vectors={"size": SIZE, "distance": "Dot"}, sharding_method="custom",
        shard_number=1, replication_factor=1,
    )  # fmt: skip
    call(url, "PUT", "/collections/tenants/shards?timeout=30", shard_key="eu", shards_number=2)
    call(url, "PUT", "/collections/tenants/shards?timeout=30", shard_key="us")
    put(url, "tenants", range(400), shard_key="eu")
    put(url, "tenants", range(1000, 1200), shard_key="us")


def seal_of(world: World, collection: str) -> Seal:
    (found,) = [
        s
        for p in world.folders["one"].glob("backups/**/seal.json")
        if (s := Seal.from_bytes(p.read_bytes(), where=str(p))).collection == collection
    ]
    return found


def manifest_of(world: World, collection: str) -> Manifest:
    return next(m for m in reversed(world.manifests("one")) if m.collection == collection)


def ids_in(world: World, manifest: Manifest, folder: Path) -> dict[int, set[int]]:
    """Every id of every shard, read out of the stored parts with the engine, log replayed."""
    found = {}
    for part in manifest.parts:
        (path,) = world.folders["one"].glob(f"backups/**/{manifest.backup_id}/{part.file}")
        target = folder / part.name
        qdrant_edge.EdgeShard.unpack_snapshot(str(path), str(target))
        shard = qdrant_edge.EdgeShard.load(str(target))
        records, _ = shard.scroll(
            qdrant_edge.ScrollRequest(limit=10**6, with_payload=False, with_vector=False)
        )
        found[part.shards[0]] = {r.id for r in records}
        shard.close()
    return found


def the_capture(end: RunEnd) -> Outcome:
    (outcome,) = outcomes(end, "capture")
    return outcome


def compared(world: World, **request: Any) -> tuple[Outcome, Compared]:
    request = {"collections": ("movies",), **request}
    (outcome,) = outcomes(do(world, "check", **request), "compare")
    assert isinstance(outcome.detail, Compared), outcome
    return outcome, outcome.detail
