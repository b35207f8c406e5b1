"""Everything a collection can hold: backed up, deleted, restored, and read back as it was.

What was there is what the server itself answered before, read without the product.
"""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from qdrant_dr.records import Restored
from tests.support.contents import aliases_of, ask, get, points_of, same_settings
from tests.support.driving import do, outcomes
from tests.support.replay import FIXTURES, PEER, ReplaySource, Served, truth
from tests.support.rest import operation_numbers, upload
from tests.support.servers import qdrant_server, sandbox_server
from tests.support.world import World, make_world

SIZE = 32
POINTS = 300
needs_binary = pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN")
SERVERS = ["sandbox", pytest.param("server", marks=needs_binary)]
Chance = random.Random
Points = list[dict[str, Any]]


def dense(chance: Chance, size: int = SIZE) -> list[float]:
    return [round(chance.gauss(0, 1), 4) for _ in range(size)]


def sparse(chance: Chance) -> dict[str, Any]:
    indices = sorted(chance.sample(range(30_000), 6))
    return {"indices": indices, "values": [round(chance.random(), 4) for _ in indices]}


def named(number: int, chance: Chance) -> dict[str, Any]:
    """Two of three vectors, of some points only one."""
    both = {"text": dense(chance), "image": dense(chance, 8)}
    return both if number % 5 else {"image": both["image"]}


def halves(number: int, chance: Chance) -> dict[str, Any]:
    return {"half": dense(chance), "bytes": [chance.randrange(256) for _ in range(8)]}


def typed(number: int, chance: Chance) -> dict[str, Any]:
    """A value for every type of payload index; nothing at all for some points."""
    if number % 9 == 0:
        return {}
    return {
        "keyword": ["a", "b", None][number % 3],
        "integer": chance.randrange(-(2**62), 2**62),
        "float": chance.random(),
        "bool": number % 2 == 0,
        "geo": {"lon": chance.uniform(-180, 180), "lat": chance.uniform(-90, 90)},
        "datetime": f"2026-11-{1 + number % 28:02}T10:00:00Z",
        "uuid": str(uuid.UUID(int=number)),
        "text": f"Der Film Nummer {number} läuft",
        "nested": {"list": [{"rank": number}, {}, [1, "x", []]]},
    }


def ranked(number: int, chance: Chance) -> dict[str, Any]:
    return {"rank": number % 7, "title": f"Nr. {number} - 映画"}


def either(number: int) -> int | str:
    """Every second id is a UUID, the others are far apart."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))) if number % 2 else number * 10**15


@dataclass(frozen=True)
class Kind:
    """How a collection is made and filled."""

    body: Mapping[str, Any]
    vector: Callable[[int, Chance], Any] = lambda _, chance: dense(chance)
    payload: Callable[[int, Chance], dict[str, Any]] = ranked
    points: int = POINTS
    id_of: Callable[[int], int | str] = int
    indexes: Mapping[str, Any] = field(default_factory=lambda: {"rank": "integer"})
    edited: bool = False


def of_size(**more: Any) -> dict[str, Any]:
    return {"vectors": {"size": SIZE, "distance": "Cosine"}, **more}


INDEXED_SOON = {"optimizers_config": {"indexing_threshold": 10}}
NEVER_FLUSHED = {"optimizers_config": {"flush_interval_sec": 3600}}
KINDS: dict[str, Kind] = {
    "dense": Kind(of_size(**INDEXED_SOON)),
    "named": Kind(
        {
            "vectors": {
                "text": {"size": SIZE, "distance": "Euclid", "on_disk": True},
                "image": {"size": 8, "distance": "Manhattan", "hnsw_config": {"m": 8}},
                "never": {"size": 4, "distance": "Dot"},
            }
        },
        named,
    ),
    "multi": Kind(
        {
            "vectors": {
                "colbert": {
                    "size": 8,
                    "distance": "Cosine",
                    "multivector_config": {"comparator": "max_sim"},
                }
            }
        },
        lambda n, chance: {"colbert": [dense(chance, 8) for _ in range(1 + n % 4)]},
    ),
    "sparse": Kind(
        {"vectors": {}, "sparse_vectors": {"words": {"modifier": "idf"}}},
        lambda n, chance: {"words": sparse(chance)} if n % 6 else {},
    ),
    "int8": Kind(
        of_size(
            quantization_config={"scalar": {"type": "int8", "quantile": 0.99, "always_ram": True}},
            **INDEXED_SOON,
        )
    ),
    "product": Kind(
        of_size(quantization_config={"product": {"compression": "x16"}}, **INDEXED_SOON)
    ),
    "binary": Kind(
        of_size(quantization_config={"binary": {"always_ram": True}}, **INDEXED_SOON)
    ),
    "halves": Kind(
        {
            "vectors": {
                "half": {"size": SIZE, "distance": "Dot", "datatype": "float16"},
                "bytes": {"size": 8, "distance": "Euclid", "datatype": "uint8"},
            }
        },
        halves,
    ),
    "indexed": Kind(
        of_size(on_disk_payload=False),
        payload=typed,
        indexes={
            "keyword": {"type": "keyword", "is_tenant": True},
            "integer": {"type": "integer", "lookup": True, "range": True, "is_principal": True},
            "float": "float",
            "bool": "bool",
            "geo": "geo",
            "datetime": {"type": "datetime", "on_disk": True},
            "uuid": "uuid",
            "text": {
                "type": "text", "tokenizer": "multilingual", "min_token_len": 2, "lowercase": True,
                "stopwords": "german", "phrase_matching": True,
            },
            "nested.list[].rank": "integer",
        },
    ),
    "Фильмы и 映画 🎬": Kind(of_size(), id_of=either),
    "uuids": Kind(of_size(shard_number=2), id_of=lambda n: str(uuid.UUID(int=n * 10**30))),
    "empty": Kind(of_size(), points=0),
    "one": Kind(of_size(), points=1),
    "edited": Kind(of_size(**NEVER_FLUSHED), edited=True),
}  # fmt: skip
LEAN = ("product", "binary", "sparse", "edited")
"""On the sandbox; real archives of all else are restored to it elsewhere."""


def fill(url: str, name: str, kind: Kind) -> None:
    chance = random.Random(name)
    path = f"/collections/{name}"
    ask(url, "PUT", path, dict(kind.body))
    for key, schema in kind.indexes.items():
        body = {"field_name": key, "field_schema": schema}
        ask(url, "PUT", f"{path}/index?wait=true", body)

    def point(number: int) -> dict[str, Any]:
        vector, payload = kind.vector(number, chance), kind.payload(number, chance)
        return {"id": kind.id_of(number), "vector": vector, "payload": payload}

    if kind.points:
        batch = [point(n) for n in range(kind.points)]
        ask(url, "PUT", f"{path}/points?wait=true", {"points": batch})
    if kind.edited:
        edit(url, path, [point(n) for n in range(0, kind.points, 4)])
    ask(
        url, "POST", "/collections/aliases",
        {"actions": [{"create_alias": {"alias_name": f"{name}-live", "collection_name": name}}]},
    )  # fmt: skip


def edit(url: str, path: str, again: Points) -> None:
    """Every kind of change, each of them acknowledged and none of them flushed."""
    ask(url, "PUT", f"{path}/points?wait=true", {"points": again})
    ask(url, "POST", f"{path}/points/delete?wait=true", {"points": list(range(1, POINTS, 4))})
    by_rank = {"must": [{"key": "rank", "match": {"value": 3}}]}
    ask(url, "POST", f"{path}/points/delete?wait=true", {"filter": by_rank})
    told = {"payload": {"told": [1, {"a": None}]}, "points": list(range(0, POINTS, 28))}
    ask(url, "POST", f"{path}/points/payload?wait=true", told)


@dataclass(frozen=True)
class House:
    """A server with proven backups of every collection, and what each was like before."""

    url: str
    world: World
    points: Mapping[str, Points]
    info: Mapping[str, Any]


def filled(kind: str, names: Collection[str], folder: Path) -> Iterator[House]:
    with started(kind, folder / "server") as url:
        for name in names:
            fill(url, name, KINDS[name])
        world = make_world(folder / "world", url, repositories=("one",))
        end = do(world, "backup")
        assert end.verdict == "ok", end.reasons
        points = {name: points_of(url, f"/collections/{name}") for name in names}
        info = {name: get(url, f"/collections/{name}") for name in names}
        yield House(url, world, points, info)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    yield from filled("sandbox", LEAN, tmp_path_factory.mktemp("sandbox"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    yield from filled("server", KINDS, tmp_path_factory.mktemp("server"))


@contextmanager
def started(kind: str, folder: Path) -> Iterator[str]:
    make = sandbox_server if kind == "sandbox" else qdrant_server
    with make(folder) as server:
        yield server.url


def bring_back(world: World, url: str, backup: str, **request: Any) -> Restored:
    end = do(world, "restore", backups=[backup], to=url, dry_run=False, **request)
    assert end.verdict == "ok", [end.reasons, end.error]
    (outcome,) = outcomes(end, "restore")
    assert isinstance(outcome.detail, Restored)
    assert outcome.detail.fingerprint_equal
    return outcome.detail


@pytest.mark.parametrize("name", LEAN)
def test_deleted_and_restored_on_the_sandbox(sandbox: House, name: str) -> None:
    is_as_it_was(sandbox, name)


@needs_binary
@pytest.mark.parametrize("name", KINDS)
def test_deleted_and_restored_on_a_real_server(server: House, name: str) -> None:
    is_as_it_was(server, name)


def is_as_it_was(house: House, name: str) -> None:
    """Once it was deleted and restored."""
    ask(house.url, "DELETE", f"/collections/{name}")
    assert f"{name}-live" not in aliases_of(house.url)
    detail = bring_back(house.world, house.url, f"{name}@latest-proven")
    was = house.points[name]
    assert detail.points_restored == len(was)
    assert points_of(house.url, f"/collections/{name}") == was
    same_settings(house.url, name, house.info[name])
    assert aliases_of(house.url)[f"{name}-live"] == name
    assert get(house.url, f"/collections/{name}/snapshots") == []


# two days of a collection, and one whose optimizer was at work


@dataclass(frozen=True)
class Archives:
    """Backups of real archives, and what each of them holds."""

    world: World
    points: Mapping[str, Points]


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> Archives:
    """`busy` as a real node tells of it; nobody wrote down what a node said of `series`, so a
    sandbox that was given the archive tells it."""
    folder = tmp_path_factory.mktemp("archives")
    points: dict[str, Points] = {}
    with ReplaySource(["busy"]) as source:
        world = make_world(folder / "world", source.url, repositories=("one",))
        for day in ("day-1", "day-2"):
            archive = FIXTURES / "series" / f"{day}.snapshot"
            served, points[day] = told_by_a_sandbox(archive, folder / day)
            source.collections["series"] = served
            wanted = {} if day == "day-1" else {"collections": ("series",)}
            end = do(world, "backup", **wanted)
            assert end.verdict == "ok", end.reasons
    points["busy"] = [{k: p.get(k) for k in ("id", "payload", "vector")} for p in truth("busy")]
    return Archives(world, points)


def told_by_a_sandbox(archive: Path, folder: Path) -> tuple[Served, Points]:
    with sandbox_server(folder) as server:
        with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
            upload(client, "series", archive.read_bytes())
            numbers = operation_numbers(client, "series")
        points = points_of(server.url, "/collections/series")
        served = Served(
            set_name="series",
            archive=archive,
            info=get(server.url, "/collections/series"),
            cluster={**get(server.url, "/collections/series/cluster"), "peer_id": PEER},
            shard_keys={},
            aliases=[],
            operations=dict(enumerate(numbers)),
            counts={0: len(points)},
            points=points,
        )
    return served, points


@pytest.fixture(params=SERVERS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with started(request.param, tmp_path / "target") as url:
        yield url


def test_both_days_and_the_busy_one(archives: Archives, target: str) -> None:
    first, second = (m for m in archives.world.manifests("one") if m.collection == "series")
    for name, backup in (
        ("busy", "busy@latest-proven"),
        ("day-1", f"series@{first.backup_id}"),
        ("day-2", f"series@{second.backup_id}"),
    ):
        detail = bring_back(archives.world, target, backup, name=name)
        assert detail.points_restored == len(archives.points[name])
        assert points_of(target, f"/collections/{name}") == archives.points[name]
    days = [archives.points[day] for day in ("day-1", "day-2")]
    assert [len(points) for points in days] == [8000, 8000]
    assert sum(one != two for one, two in zip(*days, strict=True)) == 80  # 1 % was rewritten


# written to while it is captured


def after(operations: int) -> dict[int, Any]:
    """What is there after so many of them: one puts a point, the next deletes one."""
    there: dict[int, Any] = dict.fromkeys(range(1, 2000))
    for n in range(operations):
        if n % 2:
            del there[1 + n // 2]
        else:
            there |= {0: n, 10_000 + n: n}
    return there


def operation(url: str, n: int) -> None:
    path = "/collections/moving/points"
    if n % 2:
        ask(url, "POST", f"{path}/delete?wait=true", {"points": [1 + n // 2]})
    else:
        put = [{"id": i, "vector": [n, i], "payload": {"n": n}} for i in (0, 10_000 + n)]
        ask(url, "PUT", f"{path}?wait=true", {"points": put})


@contextmanager
def writing(url: str) -> Iterator[list[float]]:
    """One operation after the other; yields when each of them was acknowledged."""
    at: list[float] = []
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set() and len(at) < 3900:
            operation(url, len(at))
            at.append(time.time())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield at
    finally:
        stop.set()
        writer.join()


@pytest.mark.parametrize("kind", SERVERS)
def test_changes_that_only_the_log_has(kind: str, tmp_path: Path) -> None:
    """What comes back is what was there after one of the operations, none earlier than the last
    one acknowledged before the capture began; nothing is missing and nothing deleted is back."""
    with started(kind, tmp_path / "server") as url:
        body = {"vectors": {"size": 2, "distance": "Dot"}, **NEVER_FLUSHED}
        ask(url, "PUT", "/collections/moving", body)
        points = [{"id": n, "vector": [0, n]} for n in range(1, 2000)]
        ask(url, "PUT", "/collections/moving/points?wait=true", {"points": points})
        world = make_world(tmp_path / "world", url, repositories=("one",))
        with writing(url) as at:
            end = do(world, "backup")
        assert end.verdict == "ok", end.reasons
        (manifest,) = world.manifests("one")
        acknowledged = sum(t < manifest.captured_at.timestamp() for t in at)
        assert 0 < acknowledged < len(at)
        ask(url, "DELETE", "/collections/moving")
        bring_back(world, url, "moving@latest-proven")
        back = points_of(url, "/collections/moving")
    found: dict[Any, Any] = {p["id"]: (p["payload"] or {}).get("n") for p in back}
    assert 0 in found, f"{acknowledged} operations were acknowledged before, and none is here"
    done = found[0] + 1
    assert found in [after(n) for n in (done, done + 1) if n >= acknowledged]
    assert all(p["vector"] == [found[p["id"]] or 0, p["id"]] for p in back)
