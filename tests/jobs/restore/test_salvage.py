"""Archives that no server takes, read with the engine and written into a new collection."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import zstandard

from qdrant_dr import configfile
from qdrant_dr.cluster import Node, collection_facts, scroll_points
from qdrant_dr.cluster.split_archive import ShardSplitter
from qdrant_dr.cluster.upsert import spelled
from qdrant_dr.errors import NothingChecked
from qdrant_dr.jobs.restore.salvage import Salvaged, salvage
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.proof import compare_replayed, digest_point, plan_seal, prove
from qdrant_dr.proof.fingerprint import fingerprint_of
from qdrant_dr.proof.missing_points import find_lost
from qdrant_dr.records import Manifest, Seal, ShardFacts
from tests.support import archives, records
from tests.support.archives import MemoryReader, backup, put_together, take_apart
from tests.support.replay import FIXTURES, expected, truth
from tests.support.servers import qdrant_cluster, qdrant_server, sandbox_server
from tests.support.thorough import thorough
from tests.support.world import World, make_world

Points = list[dict[str, Any]]
SealOf = Callable[[str], Seal]


@pytest.fixture(
    scope="module", params=["sandbox", pytest.param("server", marks=pytest.mark.qdrant)]
)
def target(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Node]:
    if request.param == "server" and "QDRANT_BIN" not in os.environ:
        pytest.skip("needs QDRANT_BIN")
    start = sandbox_server if request.param == "sandbox" else qdrant_server
    with start(tmp_path_factory.mktemp("target")) as server, Node(server.url) as node:
        yield node


@pytest.fixture
def saved(target: Node, tmp_path: Path) -> Callable[..., tuple[Salvaged, Points]]:
    """Store a backup in repositories, salvage it, and read what the target has then."""

    def run(
        manifest: Manifest,
        *copies: Mapping[str, bytes],
        seal: Seal | None = None,
        node: Node = target,
        name: str = "salvaged",
        body: Mapping[str, Any] | None = None,
    ) -> tuple[Salvaged, Points]:
        names = tuple(f"r{n}" for n in range(len(copies)))
        world = make_world(tmp_path / "world", node.url, repositories=names)
        found = store(world, manifest, copies, seal)
        config = configfile.load(world.reference)
        try:
            result = salvage(config, found, node, name, tmp_path / "scratch", body=body)
            return result, list(scroll_points(node, name))
        finally:
            node.ask("DELETE", f"/collections/{name}", "clean up", write=True)

    return run


def store(
    world: World, manifest: Manifest, copies: tuple[Mapping[str, bytes], ...], seal: Seal | None
) -> Found:
    opened, _ = open_all(configfile.load(world.reference))
    for repository, contents in zip(opened.values(), copies, strict=True):
        for part in manifest.parts:
            sink = repository.part_sink(manifest.key, part.file)
            sink.write(contents[part.name].ljust(part.size_bytes, b"\0"))
            sink.commit()
        repository.commit(manifest)
        for part in manifest.parts:  # a copy may have lost its end since
            for path in world.folders[repository.name].glob(f"backups/**/{part.file}"):
                path.write_bytes(contents[part.name])
        if seal is not None:
            mine = {"manifest_sha256": manifest.sha256, "backup_id": manifest.backup_id}
            repository.put_seal(seal.model_copy(update=mine))
    return Found(configfile.load(world.reference), manifest.key, next(iter(opened)))


@pytest.fixture(scope="module")
def seal_of(tmp_path_factory: pytest.TempPathFactory) -> SealOf:
    """The seal of a whole set, which what is lost of it is compared with."""
    folder = tmp_path_factory.mktemp("seal")

    @cache
    def seal(set_name: str) -> Seal:
        return sealed(*backup(set_name, cluster="shop"), folder)

    return seal


def sealed(manifest: Manifest, reader: MemoryReader, folder: Path) -> Seal:
    exam = prove(manifest, reader, depth="content", folder=folder)
    assert exam.read_back is not None, exam.findings
    return plan_seal(manifest, exam.read_back, None, None, drift_limit=0.5, now=datetime.now(UTC))


def of_cluster(
    name: str, nodes: str, cuts: Mapping[str, set[int]]
) -> tuple[Manifest, MemoryReader]:
    """A backup of a real cluster: of each node's archive these shards, re-framed."""
    parts, contents, counts = [], {}, {}
    topology = expected()["sets"]["cluster"]["topology"][name]
    for node in nodes:
        data = (FIXTURES / "cluster" / f"{name}-node-{node}.snapshot").read_bytes()
        for shard, blocks in ShardSplitter([data], cuts[node]).shards():
            contents[f"shard-{shard}"] = b"".join(blocks)
        counts |= {
            s["shard_id"]: s["points_count"] for s in topology[node]["cluster"]["local_shards"]
        }
    for part, data in sorted(contents.items()):
        number = int(part.removeprefix("shard-"))
        kept = archives.part(data, name=part, kind="shard", shards=[number])
        parts.append(kept.model_copy(update={"reframed": True}))
    numbers = sorted(p.shards[0] for p in parts)
    facts = tuple(
        ShardFacts(
            shard=n, operation_before=5, operation_after=5,
            count_before=counts[n], count_after=counts[n],
        )
        for n in numbers
    )  # fmt: skip
    first = topology[nodes[0]]
    manifest = records.manifest(
        name, parts=tuple(parts), shards=facts, server_version="1.18.3",
        collection_info=json.dumps(first["info"]), collection_cluster=json.dumps(first["cluster"]),
        shard_keys=json.dumps(first["shards"]), cluster="shop",
    )  # fmt: skip
    return manifest, MemoryReader(contents)


def cluster_points(name: str) -> Points:
    with (FIXTURES / "cluster" / f"{name}.points.ndjson.zst").open("rb") as raw:
        lines = io.TextIOWrapper(zstandard.ZstdDecompressor().stream_reader(raw), encoding="utf-8")
        return [json.loads(line) for line in lines]


def assert_equal(points: Points, wanted: Points, *, tolerance: float = 1e-6) -> None:
    assert len(points) == len(wanted)
    wrong, _ = compare_replayed(wanted, {p["id"]: p for p in points}, tolerance)
    assert wrong == []


@pytest.mark.parametrize("set_name", ["basic", "rich", "sharded", "single", "empty"])
def test_every_point_of_a_whole_archive(
    saved: Callable[..., tuple[Salvaged, Points]], seal_of: SealOf, set_name: str
) -> None:
    manifest, reader = backup(set_name, cluster="shop")
    result, points = saved(manifest, reader.parts, seal=seal_of(set_name))
    assert result.whole, result
    assert result.points == result.expected == len(truth(set_name))
    assert_equal(points, list(truth(set_name)), tolerance=1e-3 if set_name == "rich" else 1e-6)
    assert [type(p["id"]) for p in points] == [type(p["id"]) for p in truth(set_name)]


def test_all_but_cosine_vectors_keep_their_bits(
    saved: Callable[..., tuple[Salvaged, Points]],
) -> None:
    manifest, reader = backup("rich", cluster="shop")
    _, points = saved(manifest, reader.parts)
    info = json.loads(manifest.collection_info)["config"]["params"]
    cosine = {n for n, v in info["vectors"].items() if v["distance"] == "Cosine"}
    rest = [
        {**p, "vector": {n: v for n, v in p["vector"].items() if n not in cosine}} for p in points
    ]
    was = [
        {**p, "vector": {n: v for n, v in p["vector"].items() if n not in cosine}}
        for p in truth("rich")
    ]
    assert {n for p in was for n in p["vector"]}, "nothing was compared"
    assert list(map(digest_point, rest)) == list(map(digest_point, was))


def test_payload_indexes_come_back(target: Node, tmp_path: Path) -> None:
    manifest, reader = backup("rich", cluster="shop")
    world = make_world(tmp_path / "world", target.url, repositories=("r0",))
    found = store(world, manifest, (reader.parts,), None)
    salvage(configfile.load(world.reference), found, target, "indexed", tmp_path / "scratch")
    was = json.loads(manifest.collection_info)["payload_schema"]
    now = collection_facts(target, "indexed").info["payload_schema"]
    assert {n: f["data_type"] for n, f in now.items()} == {
        n: f["data_type"] for n, f in was.items()
    }
    target.ask("DELETE", "/collections/indexed", "clean up", write=True)


def test_into_another_number_of_shards(saved: Callable[..., tuple[Salvaged, Points]]) -> None:
    manifest, reader = backup("sharded", cluster="shop")
    params = json.loads(manifest.collection_info)["config"]["params"]
    result, points = saved(
        manifest, reader.parts, body={"vectors": params["vectors"], "shard_number": 2}
    )
    assert (result.points, result.lost_ids, result.changed_ids) == (900, (), ())
    assert_equal(points, list(truth("sharded")))


def test_what_the_log_deletes_stays_deleted(
    saved: Callable[..., tuple[Salvaged, Points]], seal_of: SealOf
) -> None:
    manifest, reader = backup("motion", cluster="shop")
    result, points = saved(manifest, reader.parts, seal=seal_of("motion"))
    assert result.whole, result
    assert_equal(points, list(truth("motion")))


def test_a_cut_segment_costs_its_own_points_only_and_they_are_named(
    saved: Callable[..., tuple[Salvaged, Points]], seal_of: SealOf
) -> None:
    _, reader = backup("sharded", cluster="shop")
    seal = seal_of("sharded")
    parts = take_apart(reader.parts["collection"])
    at, victim = max(
        ((n, m) for n, m in enumerate(parts) if m.name.startswith("1/segments/")),
        key=lambda pair: len(pair[1].data),
    )
    parts[at] = victim.with_data(victim.data[: len(victim.data) // 2])
    # without the log, which would bring the points back
    parts = [m for m in parts if not m.name.startswith("1/wal/")]
    bad = put_together(parts)
    cut, _ = backup("sharded", data={"collection": bad}, cluster="shop")
    result, points = saved(cut, {"collection": bad}, seal=seal)
    there = {p["id"] for p in points}
    gone = {p["id"] for p in truth("sharded")} - there
    assert 0 < len(gone) < 400
    assert not result.whole
    assert result.points == 900 - len(gone)
    assert set(result.lost_ids) <= gone
    assert len(result.lost_ids) + (result.lost_unknown or 0) == len(gone)
    integers = {i for i in gone if isinstance(i, int)}
    assert integers <= set(result.lost_ids), "gaps between integers tell which are lost"
    assert any("segment" in note for note in result.notes)
    assert_equal(points, [p for p in truth("sharded") if p["id"] in there])


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("segment.json", False),
        pytest.param("mutable_id_tracker.mappings", False, marks=thorough),
        ("payload_storage/page_0.dat", True),
    ],
)
def test_a_segment_that_the_engine_cannot_read_costs_no_other(
    saved: Callable[..., tuple[Salvaged, Points]], seal_of: SealOf, file: str, told: bool
) -> None:
    """Where its list of ids is readable, what is lost is known by name."""
    _, reader = backup("sharded", cluster="shop")
    seal = seal_of("sharded")
    parts = [m for m in take_apart(reader.parts["collection"]) if not m.name.startswith("1/wal/")]
    at = next(n for n, m in enumerate(parts) if m.name.startswith("1/segments/"))
    inner = take_apart(parts[at].data)
    spot = next(n for n, m in enumerate(inner) if m.name == f"snapshot/files/{file}")
    inner[spot] = replace(inner[spot], data=b"\xa5" * len(inner[spot].data))
    parts[at] = parts[at].with_data(put_together(inner, end=b""))
    bad = put_together(parts)
    cut, _ = backup("sharded", data={"collection": bad}, cluster="shop")
    result, points = saved(cut, {"collection": bad}, seal=seal)
    there = {p["id"] for p in points}
    gone = {p["id"] for p in truth("sharded")} - there
    assert 0 < len(gone) < 318
    assert not result.whole
    assert set(result.lost_ids) <= gone
    assert len(result.lost_ids) + (result.lost_unknown or 0) == len(gone)
    if told:
        assert set(result.lost_ids) == gone
    assert_equal(points, [p for p in truth("sharded") if p["id"] in there])


def test_a_log_that_goes_back_far_enough_brings_a_cut_segment_back(
    saved: Callable[..., tuple[Salvaged, Points]], seal_of: SealOf
) -> None:
    _, reader = backup("sharded", cluster="shop")
    seal = seal_of("sharded")
    parts = take_apart(reader.parts["collection"])
    at, victim = max(
        ((n, m) for n, m in enumerate(parts) if m.name.startswith("1/segments/")),
        key=lambda pair: len(pair[1].data),
    )
    parts[at] = victim.with_data(victim.data[: len(victim.data) // 2])
    bad = put_together(parts)
    cut, _ = backup("sharded", data={"collection": bad}, cluster="shop")
    result, points = saved(cut, {"collection": bad}, seal=seal)
    assert result.lost_ids == ()
    assert result.points == 900
    assert_equal(points, list(truth("sharded")))


def test_an_archive_that_ends_early_gives_what_came_before(
    saved: Callable[..., tuple[Salvaged, Points]], seal_of: SealOf
) -> None:
    manifest, reader = backup("sharded", cluster="shop")
    whole = reader.parts["collection"]
    seal = seal_of("sharded")
    result, points = saved(manifest, {"collection": whole[: len(whole) // 2]}, seal=seal)
    there = {p["id"] for p in points}
    gone = {p["id"] for p in truth("sharded")} - there
    assert 0 < result.points < 900
    assert not result.whole
    assert any("ends at byte" in note for note in result.notes)
    assert {i for i in gone if isinstance(i, int)} == set(result.lost_ids) & gone
    assert len(result.lost_ids) + (result.lost_unknown or 0) == len(gone)


def test_two_damaged_copies_together(
    saved: Callable[..., tuple[Salvaged, Points]], seal_of: SealOf
) -> None:
    """One has lost its end, the other a segment at its beginning: nothing is lost."""
    manifest, reader = backup("sharded", cluster="shop")
    whole = reader.parts["collection"]
    seal = seal_of("sharded")
    parts = take_apart(whole)
    at = next(n for n, m in enumerate(parts) if m.name.startswith("0/segments/"))
    parts[at] = parts[at].with_data(parts[at].data[:1536])
    parts = [m for m in parts if not m.name.startswith("0/wal/")]
    end = next(n for n, m in enumerate(parts) if m.name.startswith("1/segments/"))
    cut = put_together(take_apart(whole)[: end + 2], end=b"")
    result, points = saved(
        manifest, {"collection": cut}, {"collection": put_together(parts)}, seal=seal
    )
    assert result.lost_ids == ()
    assert_equal(points, list(truth("sharded")))


def test_a_whole_copy_is_preferred_to_a_damaged_one(
    saved: Callable[..., tuple[Salvaged, Points]], seal_of: SealOf
) -> None:
    manifest, reader = backup("sharded", cluster="shop")
    whole = reader.parts["collection"]
    seal = seal_of("sharded")
    result, points = saved(
        manifest, {"collection": whole[: len(whole) // 2]}, {"collection": whole}, seal=seal
    )
    assert result.whole, result
    assert_equal(points, list(truth("sharded")))


def test_an_archive_without_a_log_says_that_deleted_points_are_back(
    saved: Callable[..., tuple[Salvaged, Points]], seal_of: SealOf
) -> None:
    """The archive of a busy shard without its log: what was deleted is in it again."""
    _, reader = backup("busy", cluster="shop")
    seal = seal_of("busy")
    parts = [m for m in take_apart(reader.parts["collection"]) if not m.name.startswith("0/wal/")]
    bad = put_together(parts)
    cut, _ = backup("busy", data={"collection": bad}, cluster="shop")
    result, _ = saved(cut, {"collection": bad}, seal=seal)
    assert result.points > 3000
    assert not result.whole
    assert any("deleted ones are back" in note for note in result.notes)
    assert any(f"{result.points - 3000} points more" in note for note in result.notes)


def test_nothing_readable_is_an_error(saved: Callable[..., tuple[Salvaged, Points]]) -> None:
    manifest, _ = backup("basic", cluster="shop")
    junk = hashlib.sha256(b"junk").digest() * 40_000
    with pytest.raises(NothingChecked, match="no shard of"):
        saved(manifest, {"collection": junk})


def test_a_cluster_into_one_server(
    saved: Callable[..., tuple[Salvaged, Points]], tmp_path: Path
) -> None:
    manifest, reader = of_cluster("movies", "ab", {"a": {1, 2}, "b": {0}})
    result, points = saved(manifest, reader.parts, seal=sealed(manifest, reader, tmp_path / "seal"))
    assert result.whole, result
    assert_equal(points, cluster_points("movies"))


def test_custom_sharding_into_a_server_without_keys(
    saved: Callable[..., tuple[Salvaged, Points]],
) -> None:
    manifest, reader = of_cluster("tenants", "ab", {"a": {2}, "b": {1}})
    result, points = saved(manifest, reader.parts)
    assert result.points == len(points) > 0
    assert any("custom sharding is given up" in note for note in result.notes)
    wanted = {p["id"]: p for p in cluster_points("tenants")}
    assert_equal(points, [wanted[p["id"]] for p in points])


@pytest.mark.qdrant
@pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN")
def test_custom_sharding_into_a_real_cluster(tmp_path: Path) -> None:
    manifest, reader = of_cluster("tenants", "ab", {"a": {2}, "b": {1}})
    keys = {s["shard_id"]: s["shard_key"] for side in ("local_shards", "remote_shards")
            for s in json.loads(manifest.collection_cluster)[side]}  # fmt: skip
    with qdrant_cluster(tmp_path / "cluster", 1) as (server,), Node(server.url) as node:
        world = make_world(tmp_path / "world", node.url, repositories=("r0",))
        found = store(world, manifest, (reader.parts,), None)
        config = configfile.load(world.reference)
        result = salvage(config, found, node, "tenants", tmp_path / "scratch")
        for shard in (1, 2):
            answer = node.ask(
                "POST", "/collections/tenants/points/count", "count",
                json={"exact": True, "shard_key": [keys[shard]]},
            )  # fmt: skip
            (facts,) = (s for s in manifest.shards if s.shard == shard)
            assert answer["count"] == facts.count_before
    assert result.points == sum(s.count_before or 0 for s in manifest.shards)
    assert result.changed_ids == ()


def test_lost_ids_are_found_by_the_sums_of_a_seal() -> None:
    points = [{"id": n, "payload": {}, "vector": [1.0]} for n in range(1000)]
    kept = [p for p in points if p["id"] % 7 and p["id"] < 900]
    gone = {p["id"] for p in points} - {p["id"] for p in kept}
    lost = find_lost(fingerprint_of(points), fingerprint_of(kept), {p["id"] for p in kept})
    assert set(lost.ids) == gone
    assert lost.buckets == ()


def test_ids_without_order_are_lost_as_a_number_unless_somebody_knows_them() -> None:
    uuids = [f"00000000-0000-4000-8000-{n * 7919:012x}" for n in range(300)]
    points = [{"id": u, "payload": {}, "vector": [1.0]} for u in uuids]
    kept, gone = points[:200], set(uuids[200:])
    there = {p["id"] for p in kept}
    unknown = find_lost(fingerprint_of(points), fingerprint_of(kept), there)
    assert unknown.ids == ()
    assert unknown.buckets
    told = find_lost(fingerprint_of(points), fingerprint_of(kept), there, known=uuids)
    assert set(told.ids) == gone
    assert told.buckets == ()


def test_nothing_is_called_lost_where_too_much_came_too() -> None:
    points = [{"id": n, "payload": {}, "vector": [1.0]} for n in range(100)]
    extra = [{"id": 10_000_019, "payload": {}, "vector": [1.0]}]
    lost = find_lost(
        fingerprint_of(points), fingerprint_of(points + extra), {*range(100), 10_000_019}
    )
    assert lost.ids == ()
    assert len(lost.buckets) == 1


@pytest.mark.parametrize("value", [0.1, 1.5, -2.0, 0.0, 1e300, 12345.678])
def test_usual_floats_are_spelled_as_usual(value: float) -> None:
    assert spelled(value) is None


@pytest.mark.qdrant
@pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN")
def test_payload_floats_keep_their_bits_on_a_server_that_rounds_them(tmp_path: Path) -> None:
    """What a real server stored of random doubles comes back to the bit after a salvage."""
    import random

    from qdrant_dr.cluster.upsert import Upserts

    rng = random.Random(7)
    with qdrant_server(tmp_path / "server") as server, Node(server.url) as node:
        vectors = {"vectors": {"size": 1, "distance": "Dot"}}
        for name in ("one", "two"):
            node.ask("PUT", f"/collections/{name}", "create", json=vectors, write=True)
        sent = [
            {"id": n, "vector": [1.0], "payload": {"f": rng.random() * 10 ** rng.randint(-9, 9)}}
            for n in range(2000)
        ]
        Upserts(node, "one").send(sent)
        stored = list(scroll_points(node, "one"))
        Upserts(node, "two").send(stored)
        again = list(scroll_points(node, "two"))
        differing = [a for a, b in zip(stored, again, strict=True) if a["payload"] != b["payload"]]
        assert differing, "this server does not round: the respelling can go"
        Upserts(node, "two").send(differing, respell=True)
        assert list(scroll_points(node, "two")) == stored
