"""A sample takes few requests and reaches all over a collection, however its ids are made."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from uuid import UUID

import pytest

from qdrant_dr.cluster import Node, sample_points, sampling
from qdrant_dr.cluster.sampling import SAMPLING_REQUESTS
from qdrant_dr.cluster.scroll import id_order
from tests.support.loopback import loopback
from tests.support.servers import Server, sandbox_server
from tests.support.spy import Spy
from tests.support.thorough import few

POINTS, PAGE, COUNT = 900, 60, 64
Ids = Callable[[random.Random], list[int | str]]


def _v7(chance: random.Random, n: int) -> str:
    """As one a minute makes them: 48 bits of time, then chance."""
    return str(UUID(int=(1_795_000_000_000 + n * 60_000) << 80 | chance.getrandbits(80)))


LAYOUTS: dict[str, Ids] = {
    "dense": lambda _: [n + 1 for n in range(POINTS)],
    "hashed": lambda chance: [chance.getrandbits(64) for _ in range(POINTS)],
    "by time": lambda _: [(1_795_000_000_000 + 60_000 * n) << 22 for n in range(POINTS)],
    "UUIDs": lambda chance: [str(UUID(int=chance.getrandbits(128))) for _ in range(POINTS)],
    "UUIDs by time": lambda chance: [_v7(chance, n) for n in range(POINTS)],
    "both": lambda chance: [
        *range(POINTS // 2),
        *(str(UUID(int=chance.getrandbits(128))) for _ in range(POINTS // 2)),
    ],
    "few integers": lambda chance: [
        *range(20),
        *(str(UUID(int=chance.getrandbits(128))) for _ in range(POINTS - 20)),
    ],
    "few UUIDs": lambda chance: [
        *range(POINTS - 20),
        *(str(UUID(int=chance.getrandbits(128))) for _ in range(20)),
    ],
    "dense, then hashed": lambda chance: [
        *range(POINTS // 2),
        *(chance.getrandbits(64) for _ in range(POINTS // 2)),
    ],
}


@pytest.fixture(scope="module")
def spied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Spy]]:
    with sandbox_server(tmp_path_factory.mktemp("sandbox")) as server, Spy(server.url) as spy:
        yield server, spy


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "IDS_PAGE", PAGE)


def fill(server: Server, name: str, ids: list[int | str]) -> None:
    body = {"vectors": {"size": 2, "distance": "Dot"}}
    loopback.put(f"{server.url}/collections/{name}", json=body).raise_for_status()
    points = [{"id": i, "vector": [n, 1], "payload": {"n": n}} for n, i in enumerate(ids)]
    where = f"{server.url}/collections/{name}/points?wait=true"
    loopback.put(where, json={"points": points}).raise_for_status()


def scrolls(spy: Spy) -> int:
    return spy.count("POST", "/shards/0/points/scroll$")


DAILY = ("dense, then hashed", "both", "few integers", "few UUIDs")


@pytest.mark.parametrize("layout", few(LAYOUTS, *DAILY))
def test_few_requests_all_over_the_ids(spied: tuple[Server, Spy], layout: str) -> None:
    server, spy = spied
    ids = sorted(set(LAYOUTS[layout](random.Random(layout))), key=id_order)
    name = layout.replace(" ", "-").replace(",", "")
    fill(server, name, ids)
    reached: set[int] = set()
    with Node(spy.url) as node:
        for seed in ("one", "two", "three"):
            before = scrolls(spy)
            found = sample_points(node, name, count=COUNT, seed=seed, shard=0, total=len(ids))
            assert scrolls(spy) - before <= SAMPLING_REQUESTS
            ranks = [ids.index(p["id"]) for p in found]
            assert len(set(ranks)) == len(found) >= COUNT // 3
            assert all(p["vector"] == [ids.index(p["id"]), 1] for p in found)
            assert {type(p["id"]) for p in found} == {type(i) for i in ids}
            assert max(ranks) > len(ids) // 3
            again = sample_points(node, name, count=COUNT, seed=seed, shard=0, total=len(ids))
            assert again == found
            reached |= set(ranks)
        assert len({rank * 4 // len(ids) for rank in reached}) >= 3
        unknown = sample_points(node, name, count=COUNT, seed="one", shard=0)
        assert len(unknown) >= COUNT // 6


@pytest.mark.parametrize("points", [0, 1, 5, PAGE])
def test_a_small_collection_is_taken_whole(spied: tuple[Server, Spy], points: int) -> None:
    server, spy = spied
    fill(server, f"small-{points}", list(range(points)))
    with Node(spy.url) as node:
        before = scrolls(spy)
        found = sample_points(node, f"small-{points}", count=COUNT, seed="s", shard=0)
    assert [p["id"] for p in found] == list(range(points))
    assert scrolls(spy) - before == (2 if points else 1)


def test_pages_as_small_as_strict_mode_wants(spied: tuple[Server, Spy]) -> None:
    server, spy = spied
    fill(server, "strict", list(range(300)))
    with Node(spy.url) as node:
        before = scrolls(spy)
        found = sample_points(node, "strict", count=COUNT, seed="s", shard=0, limit=7, total=300)
    assert scrolls(spy) - before <= SAMPLING_REQUESTS
    assert len({p["id"] for p in found}) == len(found) > 7
