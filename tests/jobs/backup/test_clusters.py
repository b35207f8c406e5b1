"""Backups of a cluster: each shard once, from a full replica, whoever dies meanwhile.

On sandbox nodes always; on real ones with QDRANT_BIN.
"""

from __future__ import annotations

import importlib
import os
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from qdrant_dr.jobs.backup import capture_engine, transfer
from qdrant_dr.jobs.backup import prepare as capture_sources
from qdrant_dr.jobs.backup import uncommitted_backup as draft
from qdrant_dr.records import RunEnd, Seal
from tests.support.clusters import (
    call,
    ids_in,
    manifest_of,
    movies,
    put,
    seal_of,
    tenants,
    the_capture,
    world_of,
)
from tests.support.command import Command
from tests.support.driving import do, outcomes
from tests.support.loopback import loopback
from tests.support.servers import (
    CLUSTER_PEERS,
    Node,
    qdrant_cluster,
    sandbox_cluster,
    script,
)
from tests.support.thorough import thorough
from tests.support.world import World

real = [
    pytest.mark.qdrant,
    pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN"),
]
KINDS = ["sandbox", pytest.param("server", marks=real)]
on_a_real_one = pytest.mark.parametrize("mortal", KINDS[1:], indirect=True)


@dataclass(frozen=True)
class Cluster:
    """Three nodes; of each collection its shards, and how many points are in it."""

    nodes: tuple[Node, ...]
    collections: dict[str, tuple[tuple[int, ...], int]]


@pytest.fixture(scope="module")
def sandboxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, ...]]:
    with sandbox_cluster(tmp_path_factory.mktemp("sandboxes")) as nodes:
        yield nodes


@pytest.fixture
def told(sandboxes: tuple[Node, ...]) -> Iterator[tuple[Node, ...]]:
    """Those that a test tells what to say of `movies`; afterwards they say what is."""
    yield sandboxes
    script(sandboxes, "movies")


@pytest.fixture(scope="module", params=KINDS)
def seeded(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """One that no test harms, with an automatically and a custom sharded collection."""
    if request.param == "sandbox":
        nodes = request.getfixturevalue("sandboxes")
        yield Cluster(nodes, {"movies": ((0, 1, 2), 1200), "tenants": ((1, 2), 400)})
        return
    with qdrant_cluster(tmp_path_factory.mktemp("cluster")) as nodes:
        movies(nodes[0].url)
        tenants(nodes[0].url)
        yield Cluster(nodes, {"movies": ((0, 1, 2), 2500), "tenants": ((1, 2, 3), 600)})


@pytest.fixture(params=KINDS)
def mortal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Node, ...]]:
    """One of the test's own, for `movies`."""
    folder = tmp_path / "cluster"
    with (
        sandbox_cluster(folder, holding=["movies"])
        if request.param == "sandbox"
        else qdrant_cluster(folder)
    ) as nodes:
        yield nodes


def snapshots_on(nodes: Sequence[Node], collection: str) -> list[str]:
    paths = [f"/collections/{collection}/snapshots"]
    paths += [f"/collections/{collection}/shards/{n}/snapshots" for n in range(3)]
    found = []
    for node in nodes:
        for path in paths:
            answer = loopback.get(node.url + path, timeout=30)
            found += [s["name"] for s in answer.json().get("result") or ()]
    return found


def test_each_shard_once_sealed_against_the_source(seeded: Cluster, tmp_path: Path) -> None:
    world = world_of(tmp_path, seeded.nodes)
    end = do(world, "backup")
    assert end.verdict == "ok", end.reasons
    for name, (shards, points) in seeded.collections.items():
        manifest = manifest_of(world, name)
        assert tuple(p.shards[0] for p in manifest.parts) == shards
        assert all(p.kind == "shard" and p.reframed and p.wal for p in manifest.parts)
        assert {p.node for p in manifest.parts} <= {n.url for n in seeded.nodes}
        assert len({p.node for p in manifest.parts}) == len(manifest.sources) > 1
        assert manifest.skew is not None
        seal = seal_of(world, name)
        assert seal.points == points
        assert (seal.consistency, seal.reference) == ("quiesced", "source"), seal.reference_reason
        assert snapshots_on(seeded.nodes, name) == []
    keys = [s.shard_key for s in manifest_of(world, "tenants").shards]
    assert keys == ["eu"] * (len(keys) - 1) + ["us"]
    again = do(world, "backup")
    assert again.verdict == "ok", again.reasons
    first, second = (m for m in world.manifests("one") if m.collection == "movies")
    assert first.incarnation == second.incarnation
    assert len(first.incarnation) == 36  # the uuid that the archives hold
    assert do(world, "verify").verdict == "ok"


def test_one_address_is_enough_if_the_others_are_named(seeded: Cluster, tmp_path: Path) -> None:
    peers = {str(n.peer_id): n.url for n in seeded.nodes[1:]}
    cluster = {"name": "shop", "nodes": [seeded.nodes[0].url], "peers": peers}
    world = world_of(tmp_path, seeded.nodes, cluster=cluster)
    end = do(world, "backup", collections=("movies",))
    assert end.verdict == "ok", end.reasons
    assert len(manifest_of(world, "movies").sources) == 2
    assert seal_of(world, "movies").reference == "source"


def test_a_peer_without_an_address_is_named_with_the_next_step(
    seeded: Cluster, tmp_path: Path
) -> None:
    """All listen on one host: the port of the first node is no guess for the others."""
    world = world_of(tmp_path, seeded.nodes[:1])
    end = do(world, "backup", collections=("movies",))
    assert end.verdict == "failed"
    capture = the_capture(end)
    assert capture.error is not None
    assert capture.error.code == "plan-refused"
    assert "has no complete replica within reach" in capture.error.message
    assert sum("cluster.peers" in reason for reason in end.reasons) == 2


@pytest.mark.parametrize("method", ["shard", "stream"])
def test_without_a_log_from_settled_shards(seeded: Cluster, tmp_path: Path, method: str) -> None:
    world = world_of(tmp_path, seeded.nodes)
    end = do(world, "backup", method=method)
    assert end.verdict == "ok", end.reasons
    for name, (shards, points) in seeded.collections.items():
        parts = manifest_of(world, name).parts
        assert [(p.kind, p.wal, p.reframed) for p in parts] == [("shard", False, False)] * len(
            shards
        )
        assert seal_of(world, name).points == points
        assert snapshots_on(seeded.nodes, name) == []


def scripted(
    nodes: tuple[Node, ...], tmp_path: Path, *, reached: int = 3, method: str = "auto", **said: Any
) -> tuple[World, RunEnd]:
    """A backup of `movies` on nodes that say so of it; the first `reached` have a URL."""
    script(nodes, "movies", **said)
    world = world_of(tmp_path / "world", nodes[:reached])
    request = {"collections": ("movies",), "prove": "bytes"}
    request |= {} if method == "auto" else {"method": method}
    return world, do(world, "backup", **request)


def test_shards_without_a_full_replica_are_refused_by_name(
    told: tuple[Node, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_sources, "PATIENCE", timedelta(seconds=1))
    states = {"0": {str(peer): "Dead" for peer in CLUSTER_PEERS.values()}}
    _, end = scripted(told, tmp_path, states=states)
    error = the_capture(end).error
    assert error is not None
    assert error.code == "plan-refused"
    assert "shard 0 has no complete replica within reach: Dead on peer" in error.message


def test_a_dead_replica_is_left_alone(told: tuple[Node, ...], tmp_path: Path) -> None:
    peer = CLUSTER_PEERS["b"]
    world, end = scripted(
        told, tmp_path, states={"0": {str(peer): "Dead"}, "2": {str(peer): "Partial"}}
    )
    assert the_capture(end).verdict == "ok", end.reasons
    assert peer not in {p.peer_id for p in manifest_of(world, "movies").parts}


def test_a_listener_gives_what_nobody_else_at_hand_has_and_it_is_said(
    told: tuple[Node, ...], tmp_path: Path
) -> None:
    """Shard 0 lies on b and c, and c cannot be reached from here."""
    listener = CLUSTER_PEERS["b"]
    world, end = scripted(told, tmp_path, reached=2, states={"0": {str(listener): "Listener"}})
    capture = the_capture(end)
    assert capture.verdict == "degraded", end.reasons
    assert any("shards [0] come from a listener" in note for note in capture.notes)
    parts = {p.shards[0]: p for p in manifest_of(world, "movies").parts}
    assert sorted(parts) == [0, 1, 2]
    assert parts[0].peer_id == listener


@pytest.mark.parametrize("method", ["collection", "shard"])
def test_a_transfer_under_way_is_waited_for_and_marked(
    told: tuple[Node, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """On a cluster that is being rebalanced there may always be one. A shard that is being sent
    takes every write and keeps its log; an archive without a log is not made meanwhile."""
    monkeypatch.setattr(capture_sources, "PATIENCE", timedelta(seconds=1))
    moving = [{"shard_id": 0, "from": 1, "to": 2}]
    world, end = scripted(told, tmp_path, method=method, shard_transfers=moving)
    capture = the_capture(end)
    if method == "shard":
        assert capture.error is not None
        assert "1 shard transfers are under way, and method shard has no WAL" in (
            capture.error.message
        )
        assert world.manifests("one") == []
        return
    assert capture.verdict == "degraded", end.reasons
    assert any("1 shard transfers are under way" in note for note in capture.notes)


def on_the_way(
    monkeypatch: pytest.MonkeyPatch, moment: str, strike: Callable[[str], None]
) -> Callable[[], int]:
    """`strike` at the node that is asked for `movies`, before or after its archive is made, as
    often as one is asked that `strike` has something against."""
    create, struck = capture_engine.create_snapshot, []

    def striking(node: Any, *of: Any, **options: Any) -> Any:
        struck.append(node.url)
        if moment == "before the archive":
            strike(node.url)
        answer = create(node, *of, **options)
        if moment == "after the archive":
            strike(node.url)
        return answer

    monkeypatch.setattr(capture_engine, "create_snapshot", striking)
    return lambda: len(struck)


@pytest.mark.parametrize("state", [None, "Dead"])
def test_a_replica_that_goes_once_its_archive_is_made(
    told: tuple[Node, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str | None
) -> None:
    """Moved away: the archive says itself that it was full. Dead: it may lack what the others had
    acknowledged, so the shards of that node are taken again, where they are full."""
    nodes = told
    peers = {n.url: str(p) for n, p in zip(nodes, CLUSTER_PEERS.values(), strict=True)}
    held = {n.url: shards for n, shards in zip(nodes, ((1, 2), (0, 2), (0, 1)), strict=True)}
    gone: list[str] = []
    first = threading.Lock()

    def strike(url: str) -> None:
        if first.acquire(blocking=False):
            gone.append(url)
            states = {str(n): {peers[url]: state} for n in held[url]}
            script(nodes, "movies", states=states)

    asked = on_the_way(monkeypatch, "after the archive", strike)
    world = world_of(tmp_path / "world", nodes)
    end = do(world, "backup", collections=("movies",))
    capture = the_capture(end)
    assert capture.verdict == "degraded", end.reasons
    manifest = manifest_of(world, "movies")
    assert sorted(p.shards[0] for p in manifest.parts) == [0, 1, 2]
    assert {o.verdict for o in outcomes(end, "verify")} == {"ok"}, end.outcomes
    assert seal_of(world, "movies").points == 1200
    mine = [s for s in manifest.shards if s.operation_after is None]
    if state is None:
        assert asked() == 2  # nothing is read twice
        assert mine
        assert any("was moved from" in d for d in manifest.doubts), manifest.doubts
    else:
        assert asked() > 2
        assert mine == []
        assert gone[0] not in {p.node for p in manifest.parts}
        assert any("they were taken again" in d for d in manifest.doubts), manifest.doubts
    assert snapshots_on(nodes, "movies") == []


def test_replicas_that_never_stay_are_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As often as it is taken, it is Dead afterwards: bounded, and said."""
    checked: list[int] = []

    def always(before: Any, after: Any, **_: Any) -> tuple[str, ...]:
        checked.append(1)
        return ("replicas changed: shard 1 went from Active to Dead",)

    monkeypatch.setattr(draft, "check_gates", always)
    monkeypatch.setattr(draft, "lost_replicas", always)
    with sandbox_cluster(tmp_path / "nodes", holding=["movies"]) as nodes:
        world = world_of(tmp_path / "world", nodes)
        end = do(world, "backup", collections=("movies",), prove="bytes")
    error = the_capture(end).error
    assert error is not None
    assert error.code == "replica-moved"
    assert len(checked) == 2 * 2 * (transfer.MOVES + 1)
    assert world.manifests("one") == []


@contextmanager
def writing(urls: Sequence[str], collection: str) -> Iterator[list[tuple[float, set[int], bool]]]:
    """Upserts and deletes without a pause; yields (when acknowledged, ids, whether deleted)."""
    log: list[tuple[float, set[int], bool]] = []
    stop, dice = threading.Event(), random.Random(5)

    def write() -> None:
        number = 100_000
        there: list[int] = []
        while not stop.is_set():
            if dice.random() < 0.4 and len(there) > 200:
                gone = {there.pop(dice.randrange(len(there))) for _ in range(30)}
                call(
                    dice.choice(urls), "POST",
                    f"/collections/{collection}/points/delete?wait=true", points=sorted(gone),
                )  # fmt: skip
                log.append((time.time(), gone, True))
            else:
                put(dice.choice(urls), collection, range(number, number + 50))
                log.append((time.time(), set(range(number, number + 50)), False))
                there += range(number, number + 50)
                number += 50

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(log) < 20:
            assert writer.is_alive()
            time.sleep(0.01)
        yield log
        assert writer.is_alive()
    finally:
        stop.set()
        writer.join()


@on_a_real_one
def test_under_writes_nothing_acknowledged_is_missing_and_nothing_deleted_is_back(
    mortal: tuple[Node, ...], tmp_path: Path
) -> None:
    movies(mortal[0].url, points=6000, optimizers_config={"indexing_threshold": 10})
    world = world_of(tmp_path, mortal)
    with writing([n.url for n in mortal], "movies") as log:
        end = do(world, "backup")
    assert end.verdict == "ok", end.reasons
    manifest = manifest_of(world, "movies")
    assert seal_of(world, "movies").consistency == "in-motion"
    inside = set().union(*ids_in(world, manifest, tmp_path / "read").values())
    began = manifest.captured_at.timestamp()
    put_before = set().union(*(ids for at, ids, gone in log if at < began and not gone))
    gone_before = set().union(*(ids for at, ids, gone in log if at < began and gone))
    ever_gone = set().union(*(ids for _, ids, gone in log if gone))
    assert len(put_before) > 500
    assert len(gone_before) > 20
    assert (put_before | set(range(500, 6000))) - ever_gone <= inside
    assert not inside & (gone_before | set(range(500)))


def killing(monkeypatch: pytest.MonkeyPatch, node: Node, moment: str) -> Callable[[], bool]:
    """Kill the node in, or before, the first create call or download that is made of it."""
    killed = threading.Event()

    def kill() -> None:
        if not killed.is_set():
            killed.set()
            node.kill()

    create, read = capture_engine.create_snapshot, capture_engine.blocks_of

    def dying(of: Any, where: Any, **options: Any) -> Any:
        if of.url == node.url and moment == "in the create call":
            threading.Timer(0.005, kill).start()
        elif of.url == node.url and moment == "before the create call":
            kill()
        return create(of, where, **options)

    def cut(of: Any, *where: Any, **options: Any) -> Iterator[bytes]:
        if of.url == node.url and moment == "before the download":
            kill()
        for block in read(of, *where, **options):
            yield block
            if of.url == node.url and moment == "in the download":
                kill()

    monkeypatch.setattr(capture_engine, "create_snapshot", dying)
    monkeypatch.setattr(capture_engine, "blocks_of", cut)
    return killed.is_set


@pytest.mark.parametrize(
    ("mortal", "moment"),
    [
        pytest.param("sandbox", "before the create call", marks=thorough),
        ("sandbox", "before the download"),
        pytest.param("server", "in the create call", marks=real),
        pytest.param("server", "in the download", marks=real),
    ],
    indirect=["mortal"],
)
def test_a_peer_that_dies_is_replaced(
    mortal: tuple[Node, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    points = 1200
    if mortal[0].kind == "server":
        movies(mortal[0].url, points=20_000)
        points = 19_500
    world = world_of(tmp_path, mortal)
    first = do(world, "backup", collections=("movies",))
    assert first.verdict == "ok", first.reasons
    victim = next(n for n in mortal if n.url == manifest_of(world, "movies").parts[0].node)
    killed = killing(monkeypatch, victim, moment)
    monkeypatch.setattr(importlib.import_module("qdrant_dr.cluster.download"), "FRUITLESS", 1)
    end = do(world, "backup", collections=("movies",))
    assert killed()
    assert end.verdict == "degraded", end.reasons
    manifest = manifest_of(world, "movies")
    assert sorted(p.shards[0] for p in manifest.parts) == [0, 1, 2]
    assert victim.url not in {p.node for p in manifest.parts}
    assert any(
        victim.url in note and "taken from other replicas" in note
        for note in the_capture(end).notes
    )
    assert seal_of_newest(world).points == points
    dead = do(world, "backup", collections=("movies",))  # the others are enough
    assert dead.verdict == "degraded"
    assert any(victim.url in reason for reason in dead.reasons)
    assert victim.url not in {p.node for p in manifest_of(world, "movies").parts}


def test_killed_between_takes_the_next_run_sweeps_every_node(
    mortal: tuple[Node, ...], tmp_path: Path
) -> None:
    if mortal[0].kind == "server":
        movies(mortal[0].url, points=20_000)
    world = world_of(tmp_path, mortal)

    def answered() -> bool:
        return bool(list(world.folders["one"].glob("backups/shop/movies-*/*/snapshot*.json")))

    command = Command(world, "backup", "movies")
    command.wait_for(answered)
    command.kill()
    assert snapshots_on(mortal, "movies")
    end = do(world, "backup", collections=("movies",))
    assert end.verdict in {"ok", "degraded"}, end.reasons
    swept = outcomes(end, "sweep")
    assert len(swept) == 4  # three nodes, one repository
    removed = [words for o in swept for words in o.detail.removed]  # type: ignore[union-attr]
    assert any(words.endswith(n.url) for words in removed for n in mortal), end.reasons
    # what no answer names is reported with the command, never deleted on a guess
    said = " ".join(note for o in swept for note in o.notes)
    assert all(name in said and "curl -X DELETE" in said for name in snapshots_on(mortal, "movies"))
    assert manifest_of(world, "movies").run_id == end.start.run_id


def seal_of_newest(world: World) -> Seal:
    newest = manifest_of(world, "movies")
    (path,) = world.folders["one"].glob(f"backups/**/{newest.backup_id}/seal.json")
    return Seal.from_bytes(path.read_bytes(), where=str(path))
