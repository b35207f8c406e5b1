"""SIGKILL at every step of a restore: the same command then succeeds, and nothing is sent twice.

The target is watched by a proxy, which holds the call at which to kill.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from qdrant_dr.records import Restored
from tests.support.command import Command
from tests.support.contents import points_of, replicas
from tests.support.driving import do
from tests.support.loopback import loopback
from tests.support.reframed import by_shard
from tests.support.replay import ReplaySource, truth
from tests.support.rest import recorded_points
from tests.support.servers import Node, Server, lasting_qdrant, sandbox_cluster, sandbox_server
from tests.support.spy import Spy
from tests.support.stores import s3_place
from tests.support.thorough import thorough
from tests.support.waiting import eventually
from tests.support.world import World, in_store, make_world

PATIENCE = 90.0
UPLOAD = "/collections/movies/snapshots/upload$"
RECOVER = "/snapshots/recover$"
WHOLE = [
    ("before the upload", "POST", UPLOAD, False, 2),
    ("uploaded, unanswered", "POST", UPLOAD, True, 2),
    ("before the file is removed", "DELETE", "/collections/movies/snapshots/qdr-", False, 2),
    ("waiting until it is ready", "GET", "/collections/movies$", False, 1),
    ("proving", "POST", "/movies/shards/0/points/scroll$", False, 1),
    ("before the aliases", "POST", "/collections/aliases$", False, 1),
    ("aliases set, unanswered", "POST", "/collections/aliases$", True, 1),
]
SHARDS = [
    ("before it is created", "PUT", "/collections/sharded$", False, 3),
    ("before its payload indexes", "PUT", "/sharded/index$", False, 3),
    ("second shard", "POST", "/shards/1/snapshots/upload$", False, 4),
    ("second shard, unanswered", "POST", "/shards/1/snapshots/upload$", True, 4),
    ("waiting until it is ready", "GET", "/collections/sharded$", False, 3),
    ("proving", "POST", "/sharded/shards/0/points/scroll$", False, 3),
]
CLUSTER = [
    ("between the shard keys", "PUT", "/collections/tenants/shards$", True),
    ("created, before the first part", "GET", "/collections/tenants/cluster$", False),
    ("a part, unanswered", "POST", "/shards/./snapshots/upload$", True),
]


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory) -> World:
    with ReplaySource(["basic", "sharded"]) as source:
        source.collections["movies"].aliases = ["films"]
        made = make_world(tmp_path_factory.mktemp("kill"), source.url)
        end = do(made, "backup")
        assert end.verdict == "ok", end.reasons
    by_shard(made, "sharded")
    return made


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Server]:
    with sandbox_server(tmp_path / "target") as server:
        yield server


def backup_of(wanted: str) -> str:
    """`wanted` is a collection, or one backup of it."""
    return wanted if "@" in wanted else f"{wanted}@latest-proven"


def start(world: World, url: str, wanted: str, *more: str) -> Command:
    words = ["restore", backup_of(wanted), "--to", url, "--parallel", "1", "--execute", *more]
    return Command(world, *words)


def kill(command: Command, held: threading.Event) -> None:
    deadline = time.monotonic() + PATIENCE
    while not held.wait(0.05):
        assert command.process.poll() is None, command.said()
        assert time.monotonic() < deadline, "the moment to kill never came"
    command.kill()


def get(url: str, path: str) -> Any:
    return loopback.get(f"{url}{path}", timeout=30).raise_for_status().json()["result"]


def last(world: World) -> Restored:
    (outcome,) = world.ends("one")[-1].outcomes
    assert isinstance(outcome.detail, Restored)
    return outcome.detail


def left(world: World) -> list[Path]:
    return world.spool()


def strike(
    world: World,
    target: Server | Node,
    wanted: str,
    method: str,
    path: str,
    *,
    forward: bool,
    way: str = "upload",
) -> Spy:
    """Kill a restore at this call, and run the same again to a good end."""
    collection = wanted.partition("@")[0]
    with Spy(target.url) as spy:
        spy.hold(method, path, forward=forward)
        kill(start(world, spy.url, wanted, "--way", way), spy.held)
        spy.release()
        end = do(
            world, "restore", backups=[backup_of(wanted)], to=spy.url, parallel=1, way=way,
            dry_run=False,
        )  # fmt: skip
    assert end.verdict == "ok", [end.reasons, end.error]
    if world.folders:
        detail = last(world)
        assert (detail.fingerprint_equal, detail.resumed) == (True, True)
    assert [c["name"] for c in get(target.url, "/collections")["collections"]] == [collection]
    assert get(target.url, f"/collections/{collection}/snapshots") == []
    assert left(world) == []
    return spy


EVERY_DAY = {
    "uploaded, unanswered", "aliases set, unanswered",
    "second shard, unanswered", "a part, unanswered",
}  # fmt: skip
"""The kills after which most is there that nobody has confirmed; `test_what_somebody_else_made`
kills before the upload. The other steps are neighbours, left and taken up by the same code."""


def params(steps: Sequence[tuple[Any, ...]]) -> list[Any]:
    return [
        pytest.param(*step, id=name, marks=[] if name in EVERY_DAY else [thorough])
        for name, *step in steps
    ]


@pytest.mark.parametrize(("method", "path", "forward", "uploads"), params(WHOLE))
def test_killed_while_a_whole_archive_is_restored(
    backups: World, target: Server, method: str, path: str, forward: bool, uploads: int
) -> None:
    spy = strike(backups, target, "movies", method, path, forward=forward)
    assert spy.count("POST", UPLOAD) == uploads
    aliases = get(target.url, "/aliases")["aliases"]
    assert aliases == [{"alias_name": "films", "collection_name": "movies"}]


@pytest.mark.parametrize(("method", "path", "forward", "uploads"), params(SHARDS))
def test_killed_while_shards_are_restored(
    backups: World, target: Server, method: str, path: str, forward: bool, uploads: int
) -> None:
    """What the target had confirmed is not sent again."""
    spy = strike(backups, target, "sharded", method, path, forward=forward)
    assert spy.count("POST", "/shards/./snapshots/upload$") == uploads


# a target of three nodes, the first of them behind the proxy


@pytest.fixture(scope="module")
def lost(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A backup of shard keys, whose cluster is gone; those of a new one are named."""
    folder = tmp_path_factory.mktemp("lost")
    with sandbox_cluster(folder / "nodes", holding=["tenants"]) as nodes:
        cluster = {"name": "shop", "nodes": [n.url for n in nodes]}
        made = make_world(folder / "world", nodes[0].url, repositories=("one",), cluster=cluster)
        end = do(made, "backup", collections=("tenants",))
        assert end.verdict == "ok", end.reasons
    return made


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, ...]]:
    with sandbox_cluster(tmp_path_factory.mktemp("cluster"), holding=()) as nodes:
        yield nodes


def name_peers(world: World, nodes: Sequence[Node]) -> None:
    body = yaml.safe_load(world.file.read_text())
    body["cluster"]["peers"] = {str(n.peer_id): n.url for n in nodes[1:]}
    world.file.write_text(yaml.safe_dump(body))


def is_whole(nodes: Sequence[Node], collection: str, points: Sequence[Any]) -> None:
    """All replicas of the shards together hold exactly these; then it is removed."""
    held = replicas([n.url for n in nodes], collection)
    found = [point for of_shard in held.values() for point in of_shard[0]]
    wanted = [{k: p.get(k) for k in ("id", "payload", "vector")} for p in points]
    assert sorted(found, key=lambda p: int(p["id"])) == wanted
    assert all(replica == of[0] for of in held.values() for replica in of)
    loopback.delete(f"{nodes[0].url}/collections/{collection}", timeout=30).raise_for_status()


@pytest.mark.parametrize(("method", "path", "forward"), params(CLUSTER))
def test_killed_while_a_cluster_is_made_anew(
    lost: World, cluster: tuple[Node, ...], method: str, path: str, forward: bool
) -> None:
    name_peers(lost, cluster)
    strike(lost, cluster[0], "tenants", method, path, forward=forward)
    keys = get(cluster[0].url, "/collections/tenants/shards")["shard_keys"]
    assert sorted(k["key"] for k in keys) == ["eu", "us"]
    is_whole(cluster, "tenants", recorded_points("cluster/tenants.points.ndjson.zst"))


def test_killed_while_an_archive_is_cut_into_shards(
    backups: World, cluster: tuple[Node, ...]
) -> None:
    """What was cut lies on the spool of the dead; it is swept, and cut again."""
    name_peers(backups, cluster)
    whole = min(m.backup_id for m in backups.manifests("one") if m.collection == "sharded")
    wanted = f"sharded@{whole}"
    spy = strike(backups, cluster[0], wanted, "POST", "/shards/./snapshots/upload$", forward=True)
    assert spy.count("POST", "/shards/./snapshots/upload$") == 2
    assert last(backups).route == "shards"
    is_whole(cluster, "sharded", truth("sharded"))


# the target fetches the bytes itself


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with s3_place(enforce=False) as place, ReplaySource(["basic"]) as source:
        made = in_store(tmp_path_factory.mktemp("bucket"), source.url, place)
        end = do(made, "backup")
        assert end.verdict == "ok", end.reasons
        yield made


def test_killed_while_the_target_fetches_it(bucket: World, target: Server) -> None:
    spy = strike(bucket, target, "movies", "PUT", RECOVER, forward=True, way="url")
    assert (spy.count("PUT", RECOVER), spy.count("POST", "upload")) == (2, 0)
    wanted = [{k: p.get(k) for k in ("id", "payload", "vector")} for p in truth("basic")]
    assert points_of(target.url, "/collections/movies") == wanted


# who else is there


def test_what_somebody_else_made_meanwhile_is_not_touched(backups: World, target: Server) -> None:
    """The half-made collection is gone, another is in use under the name: it is not ours."""
    with Spy(target.url) as spy:
        spy.hold("POST", UPLOAD, forward=False)
        kill(start(backups, spy.url, "movies"), spy.held)
        spy.release()
        body = {"vectors": {"size": 4, "distance": "Dot"}}
        loopback.put(f"{target.url}/collections/movies", json=body, timeout=30).raise_for_status()
        alias = {"create_alias": {"alias_name": "theirs", "collection_name": "movies"}}
        loopback.post(
            f"{target.url}/collections/aliases", json={"actions": [alias]}, timeout=30
        ).raise_for_status()
        assert start(backups, spy.url, "movies").end() == 4
        for path in left(backups):
            path.unlink()
    assert get(target.url, "/collections/movies")["config"]["params"]["vectors"]["size"] == 4


def test_interrupted_it_says_so_and_goes_on(backups: World, target: Server) -> None:
    with Spy(target.url) as spy:
        spy.hold("POST", "/shards/1/snapshots/upload$", forward=False)
        command = start(backups, spy.url, "sharded")
        assert spy.held.wait(PATIENCE)
        command.process.send_signal(signal.SIGINT)
        spy.release()
        assert command.end() == 130
        end = backups.ends("one")[-1]
        assert end.error is not None
        assert end.error.code == "interrupted"
        assert start(backups, spy.url, "sharded").end() == 0
    assert last(backups).resumed


@pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN")
def test_the_server_is_killed_in_the_upload(backups: World, tmp_path: Path) -> None:
    """It starts again, and the same command restores: what was half-made is gone."""
    with lasting_qdrant(tmp_path / "qdrant") as node, Spy(node.url) as spy:
        spy.hold("POST", UPLOAD, forward=True)
        command = start(backups, spy.url, "movies")
        eventually(lambda: spy.count("POST", UPLOAD), within=PATIENCE, every=0.002)
        node.kill()
        spy.release()
        assert command.end() != 0
        node.start()
        assert start(backups, spy.url, "movies").end() == 0
        assert last(backups).fingerprint_equal
        assert get(node.url, "/collections/movies/snapshots") == []
        node.kill()
        node.start()
        assert get(node.url, "/collections/movies")["status"] in ("green", "yellow", "grey")
    assert left(backups) == []
