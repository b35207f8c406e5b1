"""How often a whole backup, with its proof of content, asks a node; the bounds are promises."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from qdrant_dr.cluster.sampling import SAMPLING_REQUESTS
from tests.support.driving import do
from tests.support.either_server import KINDS, either_server
from tests.support.loopback import loopback
from tests.support.servers import Server
from tests.support.spy import Spy
from tests.support.world import make_world

A_COLLECTION = 40
"""Of one shard on one node, with all that a run asks once."""
A_SHARD = 6 + SAMPLING_REQUESTS
"""More of it: two counts, four operation numbers, a sample."""
POINTS = 300


@pytest.fixture(
    scope="module",
    params=KINDS,
)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with either_server(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


def fill(server: Server, name: str, shards: int) -> None:
    chance = random.Random(name)
    body = {"vectors": {"size": 4, "distance": "Dot"}, "shard_number": shards}
    loopback.put(f"{server.url}/collections/{name}", json=body, timeout=60).raise_for_status()
    points = [
        {"id": 3 * n, "vector": [chance.random() for _ in range(4)], "payload": {"n": n}}
        for n in range(POINTS)
    ]
    where = f"{server.url}/collections/{name}/points?wait=true"
    loopback.put(where, json={"points": points}, timeout=60).raise_for_status()


def asked(spy: Spy, folder: Path, server: Server, backups: int = 2) -> list[int]:
    """Requests of each backup of what there is, one after the other; all of them must be good."""
    world = make_world(folder, spy.url)
    counts = []
    for _ in range(backups):
        before = len(spy.log)
        end = do(world, "backup")
        assert end.verdict == "ok", end
        counts.append(len(spy.log) - before)
    seals = list(world.folders["one"].glob("backups/**/seal.json"))
    assert seals
    assert all(b'"reference":"source"' in seal.read_bytes() for seal in seals)
    return counts


def test_a_collection_and_a_shard_cost_a_constant(server: Server, tmp_path: Path) -> None:
    with Spy(server.url) as spy:
        fill(server, "one", 1)
        first, again = asked(spy, tmp_path / "1", server)
        assert first <= A_COLLECTION, spy.log
        assert again <= A_COLLECTION, spy.log
        fill(server, "another", 1)
        both, _ = asked(spy, tmp_path / "2", server)
        assert both - first <= A_COLLECTION
        seen = [both]
        for shards in (2, 4):
            loopback.delete(f"{server.url}/collections/another").raise_for_status()
            fill(server, "another", shards)
            seen += asked(spy, tmp_path / f"of-{shards}", server, backups=1)
        assert seen[1] - seen[0] <= A_SHARD
        assert seen[2] - seen[1] <= 2 * A_SHARD
