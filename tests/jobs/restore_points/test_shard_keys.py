"""Points of a collection with custom sharding, where one id is a point of each shard key; and of
one of which not every replica answers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr import configfile
from qdrant_dr.cluster.addresses import node_of
from qdrant_dr.cluster.query import nearest
from qdrant_dr.dispatch.threads import in_threads
from qdrant_dr.errors import PlanRefused
from qdrant_dr.jobs.compare_points.job import Differences, compare
from qdrant_dr.jobs.export.job import ExportRequest, export
from qdrant_dr.jobs.run.catalogs import catalog_of, open_all
from qdrant_dr.jobs.run.run import begin, utc_now
from qdrant_dr.jobs.target import search
from qdrant_dr.records.export import ExportManifest
from tests.cli.conftest import Command, qdr
from tests.support.clusters import call, world_of
from tests.support.driving import do
from tests.support.restored_points import bring, take_back, the_detail, the_outcome
from tests.support.servers import Node, qdrant_cluster, sandbox_cluster, script
from tests.support.world import World, lent

__all__ = ["qdr"]
NAME = "tenants"
KEYS = ("eu", "us")
Held = dict[tuple[str, int], dict[str, Any]]
"""What a server has, by shard key and id: not what our code reads."""


@pytest.fixture(scope="module", params=["sandbox", pytest.param("real", marks=pytest.mark.qdrant)])
def nodes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sequence[Node]]:
    folder = tmp_path_factory.mktemp("nodes")
    if request.param == "real" and "QDRANT_BIN" not in os.environ:
        pytest.skip("needs QDRANT_BIN")
    if request.param == "real":
        with qdrant_cluster(folder, 1) as found:
            yield found
        return
    with sandbox_cluster(folder, holding=()) as found:
        yield found


def point(key: str, number: int, more: int = 0) -> dict[str, Any]:
    return {
        "id": number,
        "vector": [float(KEYS.index(key) + 1), number / 7, 1.0 + more, 0.5],
        "payload": {"key": key, "n": number + more},
    }


def put(url: str, key: str, numbers: Sequence[int], more: int = 0) -> None:
    path = f"/collections/{NAME}/points?wait=true"
    call(url, "PUT", path, shard_key=key, points=[point(key, n, more) for n in numbers])


def delete(url: str, key: str, numbers: Sequence[int]) -> None:
    path = f"/collections/{NAME}/points/delete?wait=true"
    call(url, "POST", path, shard_key=key, points=list(numbers))


def held(url: str) -> Held:
    found: Held = {}
    for key in KEYS:
        asked = {"limit": 1000, "with_vector": True, "with_payload": True, "shard_key": key}
        for p in call(url, "POST", f"/collections/{NAME}/points/scroll", **asked)["points"]:
            found[key, p["id"]] = {name: p[name] for name in ("payload", "vector")}
    return found


def create(url: str, distance: str = "Dot") -> None:
    settings = {"shard_number": 1, "replication_factor": 1, "sharding_method": "custom"}
    vectors = {"size": 4, "distance": distance}
    call(url, "PUT", f"/collections/{NAME}?timeout=30", vectors=vectors, **settings)
    call(url, "PUT", f"/collections/{NAME}/shards?timeout=30", shard_key="eu", shards_number=2)
    call(url, "PUT", f"/collections/{NAME}/shards?timeout=30", shard_key="us")
    put(url, "eu", range(1, 101))
    put(url, "us", range(51, 151))


@pytest.fixture(scope="module")
def backed_up(nodes: Sequence[Node], tmp_path_factory: pytest.TempPathFactory) -> World:
    create(nodes[0].url)
    world = world_of(tmp_path_factory.mktemp("world"), nodes)
    end = do(world, "backup", prove="content")
    assert end.verdict == "ok", end.reasons
    return world


@pytest.fixture
def world(backed_up: World, nodes: Sequence[Node]) -> World:
    """Everything is as it was backed up."""
    url = nodes[0].url
    for key, numbers in (("eu", range(1, 101)), ("us", range(51, 151))):
        delete(url, key, [i for k, i in held(url) if k == key])
        put(url, key, numbers)
    return backed_up


@pytest.fixture
def own(world: World) -> Iterator[World]:
    """Of the same source, with repositories that this test may add backups to."""
    with lent(world) as mine:
        yield mine


def damage(url: str) -> None:
    """Ids 60 to 69 are lost under one key, and 70 to 74 changed under the other."""
    delete(url, "eu", range(60, 70))
    put(url, "us", range(70, 75), more=1000)


def brought(world: World, **request: Any) -> Any:
    return bring(world, backup=f"{NAME}@latest-proven", **request)


def ids_file(folder: Path, numbers: Sequence[int]) -> str:
    file = folder / "ids"
    file.write_text("".join(f"{n}\n" for n in numbers))
    return str(file)


def apart(one: Mapping[Any, Any], two: Mapping[Any, Any]) -> set[Any]:
    return {place for place in one.keys() | two.keys() if one.get(place) != two.get(place)}


def test_missing_points_are_those_of_a_key(world: World, nodes: Sequence[Node]) -> None:
    url = nodes[0].url
    before = held(url)
    damage(url)
    damaged = held(url)
    end = brought(world, missing=True)
    detail = the_detail(end)
    assert the_outcome(end).verdict == "ok", the_outcome(end)
    assert (detail.created, detail.overwritten, detail.proven) == (10, 0, True)
    assert apart(before, held(url)) == {("us", n) for n in range(70, 75)}
    assert detail.others_sampled
    undone = take_back(world, end.start.run_id)
    assert the_outcome(undone).verdict == "ok", the_outcome(undone)
    assert held(url) == damaged


@pytest.mark.parametrize("only", [None, "payload", "vector:"])
def test_ids_are_brought_back_under_every_key(
    world: World, nodes: Sequence[Node], tmp_path: Path, only: str | None
) -> None:
    url = nodes[0].url
    before = held(url)
    damage(url)
    damaged = held(url)
    end = brought(world, ids=ids_file(tmp_path, range(60, 80)), only=only)
    detail = the_detail(end)
    now = held(url)
    if only is None:
        assert (detail.created, detail.overwritten, detail.equal) == (10, 5, 25)
        assert now == before
    else:
        assert (detail.created, detail.overwritten) == (0, 5), the_outcome(end).model_dump_json()
        assert detail.selected == 40
        what = "payload" if only == "payload" else "vector"
        assert all(now["us", n][what] == before["us", n][what] for n in range(70, 75))
        assert apart(damaged, now) == {("us", n) for n in range(70, 75)}
    assert detail.proven
    take_back(world, end.start.run_id)
    assert held(url) == damaged


def test_an_undo_deletes_under_its_key_alone(world: World, nodes: Sequence[Node]) -> None:
    url = nodes[0].url
    delete(url, "us", range(60, 70))
    run = brought(world, missing=True).start.run_id
    assert the_detail(take_back(world, run)).deleted == 10
    assert {i for k, i in held(url) if k == "eu"} == {*range(1, 101)}
    assert {i for k, i in held(url) if k == "us"} == {*range(51, 60), *range(70, 151)}


def test_a_key_that_is_gone_is_named(world: World, nodes: Sequence[Node]) -> None:
    url = nodes[0].url
    call(url, "POST", f"/collections/{NAME}/shards/delete?timeout=30", shard_key="us")
    try:
        end = brought(world, missing=True, another_incarnation=True)
        error = end.error or the_outcome(end).error
        assert error is not None
        assert "has no such key" in error.message
        assert "shard key 'us'" in error.message
    finally:
        call(url, "PUT", f"/collections/{NAME}/shards?timeout=30", shard_key="us")
        put(url, "us", range(51, 151))


def differences(world: World, one: str, two: str, out: Path | None = None) -> Differences:
    return compare(configfile.load(world.reference), one, two, out=out, now=utc_now())


def test_a_diff_names_points_by_their_key(
    world: World, nodes: Sequence[Node], tmp_path: Path
) -> None:
    backup = f"{NAME}@latest-proven"
    assert differences(world, backup, f"{NAME}@live").equal
    damage(nodes[0].url)
    found = differences(world, backup, f"{NAME}@live", tmp_path / "out.ndjson")
    assert (found.before, found.after) == (200, 190)
    assert found.counts == {"removed": 10, "added": 0, "changed": 5}
    rows = [json.loads(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    assert {(r["shard_key"], r["id"], r["change"]) for r in rows} == {
        *(("eu", n, "removed") for n in range(60, 70)),
        *(("us", n, "changed") for n in range(70, 75)),
    }
    assert any('key = "eu"' in said for said in found.sentences)


def test_a_point_that_moved_to_another_key_is_no_equality(
    own: World, nodes: Sequence[Node], qdr: Command
) -> None:
    """The sums of all points are the same: those of each key are not."""
    url = nodes[0].url
    backup = own.manifests("one")[-1].backup_id
    lost = held(url)["eu", 5]
    delete(url, "eu", [5])
    path = f"/collections/{NAME}/points?wait=true"
    call(url, "PUT", path, shard_key="us", points=[{"id": 5, **lost}])
    end = do(own, "backup", prove="content")
    newer = own.manifests("one")[-1].backup_id
    assert newer != backup, end.reasons
    found = differences(own, f"{NAME}@{backup}", f"{NAME}@{newer}")
    assert found.counts == {"removed": 1, "added": 1, "changed": 0}
    assert found.buckets < 256
    rows = qdr("-c", own.file, "--json", "find", NAME, "--id", "5").json["rows"]
    seen = {(r["backup_id"], r["shard_key"], r["state"]) for r in rows}
    assert seen == {
        (newer, "us", "there"),
        (backup, "us", "absent"), (backup, "eu", "there"),
    }  # fmt: skip


def test_find_shows_a_point_of_each_key(world: World, qdr: Command) -> None:
    rows = qdr("-c", world.file, "--json", "find", NAME, "--id", "60").json["rows"]
    assert {(r["shard_key"], r["payload"]["key"]) for r in rows} == {("eu", "eu"), ("us", "us")}


def test_a_question_is_put_to_its_own_key(
    world: World, nodes: Sequence[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    if len(nodes) > 1:
        pytest.skip("a sandbox has no index to be asked")
    config = configfile.load(world.reference)
    backup = catalog_of(config, *open_all(config)).backups[0]
    assert backup.seal is not None
    vectors: dict[str, list[list[float]]] = {key: [] for key in KEYS}

    def listened(*given: Any, **options: Any) -> Any:
        vectors[options["shard_key"]].append(given[2])
        return nearest(*given, **options)

    monkeypatch.setattr(search, "nearest", listened)
    with node_of(config, nodes[0].url) as node:
        faults, searched = search.search_served(
            node, NAME, backup.seal, backup.manifest.keys_of_shards
        )
    assert (list(faults), searched.lowest_recall_ppm) == ([], 1_000_000)
    for key, asked in vectors.items():
        assert asked
        mine = [p["vector"] for (k, _), p in held(nodes[0].url).items() if k == key]
        assert all(vector in mine for vector in asked)


def test_an_export_says_the_key_of_each_file(world: World, tmp_path: Path) -> None:
    config = configfile.load(world.reference)
    asked = ExportRequest(
        backup=f"{NAME}@latest-proven", out=str(tmp_path / "out"), format="ndjson"
    )
    run = begin(config, "export", parameters=asked.model_dump())
    end = export(config, asked, run, in_threads(config, run.run_id))
    assert end.verdict == "ok", end.reasons
    file = tmp_path / "out" / "manifest.json"
    manifest = ExportManifest.from_bytes(file.read_bytes(), where="here")
    points: set[tuple[str, int]] = set()
    for one in manifest.files:
        for line in (tmp_path / "out" / one.name).read_text().splitlines():
            row = json.loads(line)
            assert row["payload"]["key"] == one.shard_key
            points.add((str(one.shard_key), row["id"]))
    assert points == {*(("eu", n) for n in range(1, 101)), *(("us", n) for n in range(51, 151))}


@pytest.fixture
def scripted(nodes: Sequence[Node], request: pytest.FixtureRequest) -> Iterator[Sequence[Node]]:
    if len(nodes) == 1:
        pytest.skip("the sandbox alone says what a script tells it")
    yield nodes
    script(nodes, NAME, states={})


@pytest.mark.parametrize("state", ["Dead", "Partial", "Recovery", "Initializing"])
def test_a_shard_without_an_answering_replica_is_refused(
    world: World, scripted: Sequence[Node], state: str
) -> None:
    peers = {node.peer_id for node in scripted}
    shard = {str(peer): state for peer in peers}
    script(scripted, NAME, states={"2": shard})
    end = brought(world, missing=True)
    error = end.error or the_outcome(end).error
    assert error is not None
    assert f"no replica of shard 2 answers ({state})" in error.message
    with pytest.raises(PlanRefused, match="no replica of shard 2 answers"):
        differences(world, f"{NAME}@latest-proven", f"{NAME}@live")


@pytest.mark.parametrize("state", ["Dead", "Partial", "Recovery"])
def test_a_replica_that_lags_is_said(world: World, scripted: Sequence[Node], state: str) -> None:
    told = call(scripted[0].url, "GET", f"/collections/{NAME}/cluster")
    mine = {r["shard_id"] for r in told["local_shards"]}
    holders = {r["peer_id"] for r in told["remote_shards"] if r["shard_id"] == 1}
    holders |= {told["peer_id"]} if 1 in mine else set()
    other = next(node.peer_id for node in scripted[1:] if node.peer_id not in holders)
    script(scripted, NAME, states={"1": {str(other): state}})
    delete(scripted[0].url, "eu", [7])
    planned = brought(world, missing=True, dry_run=True)
    assert any(f"is {state}" in said for said in planned.remarks), planned
    end = brought(world, missing=True)
    assert the_detail(end).proven
    assert any(f"is {state}" in note for note in the_outcome(end).notes)
    found = differences(world, f"{NAME}@latest-proven", f"{NAME}@live")
    assert found.equal
    assert any(f"is {state}" in note for note in found.notes)
