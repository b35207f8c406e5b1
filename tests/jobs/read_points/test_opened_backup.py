"""Points of a backup, read by the engine from whichever copy is good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr import configfile
from qdrant_dr.cancel import stopping
from qdrant_dr.config import Config
from qdrant_dr.errors import Interrupted, ObjectMissing, UsageError
from qdrant_dr.jobs.read_points.opened_backup import (
    Unpacked,
    check_filter,
    look_up,
    opened_backup,
)
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.proof import EngineLimits
from qdrant_dr.proof.engine import Engine
from qdrant_dr.proof.fingerprint import bucket_of
from qdrant_dr.proof.point_encoding import point_digests
from qdrant_dr.proof.point_table import PointTable, id_key, key_id
from tests.support.archives import backup
from tests.support.replay import truth
from tests.support.world import World, make_world

SETS = ["basic", "rich", "sharded", "busy"]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path / "world", "http://127.0.0.1:9")


def stored(world: World, set_name: str) -> tuple[Config, Found]:
    """A real archive as a backup in both repositories."""
    config = configfile.load(world.reference)
    manifest, reader = backup(set_name, cluster="shop")
    opened, _ = open_all(config)
    for repository in opened.values():
        for part in manifest.parts:
            sink = repository.part_sink(manifest.key, part.file)
            sink.write(reader.parts[part.name])
            sink.commit()
        repository.commit(manifest)
    return config, look_up(config, Found(config, manifest.key, "one").backup)


def rows(table: PointTable) -> dict[int | str, dict[str, str]]:
    keys = [key_id(bytes(k).ljust(17, b"\0")) for k in table.keys(0, table.rows)]
    found: dict[int | str, dict[str, str]] = {k: {} for k in keys}
    for name in table.components:
        for key, digest in zip(keys, table.digests(name, 0, table.rows), strict=True):
            if digest.any():
                found[key][name] = digest.tobytes().hex()
    assert [id_key(k) for k in keys] == sorted(map(id_key, keys))
    return found


def digests_of(point: Mapping[str, Any]) -> dict[str, str]:
    found = point_digests(point["id"], point.get("payload"), point.get("vector"))
    return {name: digest.hex()[:32] for name, digest in found.items() if name != "id"}


@pytest.mark.parametrize("set_name", SETS)
def test_what_is_read_is_what_the_server_had(world: World, tmp_path: Path, set_name: str) -> None:
    config, found = stored(world, set_name)
    wanted = {p["id"]: p for p in truth(set_name)}
    read: dict[int | str, Any] = {}
    tables: dict[int | str, Any] = {}
    counted = 0
    with opened_backup(config, found, tmp_path / "open") as opened:
        for shard in opened.shards():
            points = [p for page in shard.pages() for p in page]
            assert len(points) == shard.points
            counted += shard.count()
            some = [p["id"] for p in points[:5]]
            assert {p["id"] for p in shard.retrieve(some)} == set(some)
            assert [p["id"] for page in shard.pages(ids=some) for p in page] == some
            bare = next(shard.pages(payload=False, vectors=False), [])
            assert all(p["payload"] is None and p["vector"] is None for p in bare)
            table, known = shard.table(tmp_path / f"table-{shard.shard}")
            assert known.fingerprint.points == table.rows == shard.points
            tables |= rows(table)
            some_buckets, _ = shard.table(tmp_path / f"some-{shard.shard}", buckets=[0, 7, 99])
            assert rows(some_buckets) == {
                i: d for i, d in rows(table).items() if bucket_of(i) in (0, 7, 99)
            }
            for i, digests in shard.digests(some).items():
                assert {n: d[:32] for n, d in digests.items() if n != "id"} == tables[i]
            read |= {p["id"]: p for p in points}
        assert list(opened.used) == ["one"]
    assert read.keys() == wanted.keys()
    assert counted == len(wanted)
    assert tables == {i: digests_of(p) for i, p in read.items()}
    assert all(read[i]["payload"] == p["payload"] for i, p in wanted.items())
    assert not (tmp_path / "open").exists()


def test_a_filter_finds_what_it_says(world: World, tmp_path: Path) -> None:
    config, found = stored(world, "basic")
    points = truth("basic")
    field, value = next(
        (f, v) for f, v in points[3]["payload"].items() if isinstance(v, str | int)
    )  # fmt: skip
    where = {"must": [{"key": field, "match": {"value": value}}]}
    wanted = {p["id"] for p in points if p["payload"].get(field) == value}
    with opened_backup(config, found, tmp_path / "open") as opened:
        for shard in opened.shards():
            assert {p["id"] for page in shard.pages(where=where) for p in page} == wanted
            assert shard.count(where) == len(wanted)
            few = {"must": [where, {"has_id": [points[3]["id"], 10**15]}]}
            assert [p["id"] for page in shard.pages(where=few) for p in page] == [points[3]["id"]]


def test_another_copy_is_read_if_one_is_bad(world: World, tmp_path: Path) -> None:
    config, found = stored(world, "basic")
    (bad,) = world.folders["one"].glob("backups/**/*.snapshot")
    data = bytearray(bad.read_bytes())
    data[len(data) // 2] ^= 1
    bad.write_bytes(data)
    with opened_backup(config, found, tmp_path / "open") as opened:
        assert sum(shard.count() for shard in opened.shards()) == len(truth("basic"))
        assert list(opened.used) == ["two"]
        assert "not from one" in opened.notes[0]
    (other,) = world.folders["two"].glob("backups/**/*.snapshot")
    other.unlink()
    with (
        opened_backup(config, found, tmp_path / "open") as opened,
        pytest.raises(ObjectMissing, match=r"one: .*SHA-256.*two: "),
    ):
        list(opened.shards())


def test_what_was_unpacked_is_kept_for_a_second_look(world: World, tmp_path: Path) -> None:
    config, found = stored(world, "sharded")
    unpacked: Unpacked = {}
    with opened_backup(config, found, tmp_path / "open", unpacked=unpacked) as opened:
        first = {s.shard: s.count() for s in opened.shards()}
    for path in world.folders["one"].glob("backups/**/*.snapshot"):
        path.unlink()
    with opened_backup(config, found, tmp_path / "open", unpacked=unpacked) as opened:
        assert {s.shard: s.count() for s in opened.shards()} == first
        assert [s.shard for s in opened.shards(only=[1])] == [1]
        assert len(first) == 3


@pytest.fixture
def stopped() -> Iterator[None]:
    stopping.set()
    yield
    stopping.clear()


@pytest.mark.usefixtures("stopped")
def test_it_stops_when_asked(world: World, tmp_path: Path) -> None:
    config, found = stored(world, "basic")
    with opened_backup(config, found, tmp_path / "open") as opened, pytest.raises(Interrupted):
        list(opened.shards())


BAD: list[tuple[Any, str]] = [
    ({"must": [{"key": "a", "match": {"any": [True]}}]}, "boolean"),
    ({"must": [{"key": "a", "match": {"except": [1, False]}}]}, "boolean"),
    ({"must": [{"key": "a", "range": {"gt": True}}]}, "boolean"),
    ({"must": [{"key": "a", "values_count": {"gt": True}}]}, "boolean"),
    ({"must": [{"has_id": [True]}]}, "boolean"),
    ({"must": [{"key": "a", "is_empty": "false"}]}, "neither true nor false"),
    ({"must": [{"key": "a", "match": {"value": 1, "any": [1]}}]}, "2 ways"),
    ({"must": [{"key": "a[", "match": {"value": 1}}]}, "JSON path"),
    ({"most": []}, "has no most"),
    ({"must": [{"key": "a"}]}, "nothing is asked"),
    ({"must": [{"has_id": ["x"]}]}, "UUID"),
    ({"must": ["a"]}, "no condition"),
    ([1], "no object"),
    ({"must": [{"key": "a", "range": {"gte": "no date"}}]}, "cannot parse"),
]
GOOD: list[Any] = [
    {},
    {"should": {"is_null": {"key": "a"}}, "must_not": [{"is_empty": {"key": "b"}}]},
    {"min_should": {"conditions": [{"has_vector": "v"}], "min_count": 1}},
    {"must": [{"nested": {"key": "a", "filter": {"must": [{"key": "b", "is_null": True}]}}}]},
    {"must": [{"key": "a", "range": {"gte": "2026-01-01T00:00:00Z", "lt": None}}]},
    {"must": [{"key": "a", "geo_radius": {"center": {"lon": 1, "lat": 2}, "radius": 5.0}}]},
    {"must": [{"key": "a", "values_count": {"gt": 1}}, {"key": "t", "match": {"text": "x y"}}]},
]


def test_filters_that_the_engine_parses_and_others(tmp_path: Path) -> None:
    with Engine(tmp_path, EngineLimits()) as engine:
        for where, words in [*BAD, *((good, None) for good in GOOD)]:
            engine.ask("parse", where=where)
            said = engine.wait()
            assert (words in said) if words else (said is None), where


def test_a_filter_is_refused_before_anything_is_read(world: World, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no most"):
        check_filter(configfile.load(world.reference), {"most": []}, tmp_path / "engine")
