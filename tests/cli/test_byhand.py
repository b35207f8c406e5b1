"""What `show` prints to restore a backup of several parts by hand, run by a shell for real."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from qdrant_dr import layout
from qdrant_dr.cli.byhand import by_hand, by_hand_name, lost_by_hand
from qdrant_dr.cluster.split_archive import ShardSplitter
from qdrant_dr.records import Manifest, Part
from qdrant_dr.repository.lost_backups import LostBackup
from tests.support import records as r
from tests.support.replay import FIXTURES, expected
from tests.support.servers import qdrant_cluster, qdrant_server, sandbox_server

REAL = pytest.mark.skipif(
    "QDRANT_BIN" not in os.environ, reason="needs a Qdrant binary in QDRANT_BIN"
)
pytestmark = [
    pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl"),
    pytest.mark.timeout(120),
]


def stored(
    folder: Path, collection: str, archives: dict[int, bytes], facts: dict[str, Any], **about: Any
) -> list[str]:
    """The lines for a backup of these shards, which lie below `folder` as a repository does."""
    parts = tuple(
        Part(
            name=f"shard-{shard}", kind="shard", shards=(shard,), wal=True, size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(), node="http://10.0.0.1:6333",
        )
        for shard, data in archives.items()
    )  # fmt: skip
    manifest = r.manifest(collection)
    shards = tuple(manifest.shards[0].model_copy(update={"shard": shard}) for shard in archives)
    manifest = Manifest.model_validate(
        {
            **manifest.model_dump(exclude={"sha256"}), "parts": parts, "shards": shards,
            "collection_info": json.dumps(facts["info"]),
            "collection_cluster": json.dumps(facts["cluster"]),
            "shard_keys": json.dumps(facts["shards"]), **about,
        }
    )  # fmt: skip
    for part, data in zip(manifest.parts, archives.values(), strict=True):
        path = folder / layout.in_backup(manifest.key, part.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    place = {"name": "aws", "id": "0" * 8, "url": str(folder), "domain": "disk"}
    config = r.config(repositories=[place], copies={})
    (backup,) = r.catalog({"aws": [manifest]}).backups
    return by_hand(config, backup)


def run(lines: list[str], folder: Path, *nodes: str) -> subprocess.CompletedProcess[str]:
    """The lines with another target; they stop at the first that fails."""
    spread = f"NODES='{' '.join(nodes)}'"
    told = [spread if line.startswith("NODES=") else line for line in lines]
    folder.mkdir()
    return subprocess.run(
        ["bash", "-c", "\n".join(["set -eu", *told])],
        capture_output=True, text=True, cwd=folder, timeout=90, check=False,
        env={"PATH": "/usr/bin:/bin", "no_proxy": "*", "TARGET": nodes[0]},
    )  # fmt: skip


def made(collection: str) -> str:
    """What the lines call the collection that they make of a backup of this one."""
    return by_hand_name(r.manifest(collection))


def count(url: str, collection: str) -> int:
    answer = httpx.post(
        f"{url}/collections/{collection}/points/count",
        json={"exact": True}, timeout=30, trust_env=False,
    )  # fmt: skip
    return int(answer.raise_for_status().json()["result"]["count"])


def info(url: str, collection: str) -> dict[str, Any]:
    answer = httpx.get(f"{url}/collections/{collection}", timeout=30, trust_env=False)
    return dict(answer.raise_for_status().json()["result"])


def sharded(folder: Path) -> list[str]:
    """Three shards of one node, as the method `shard` takes them."""
    archives = {n: (FIXTURES / "sharded" / f"shard-{n}.snapshot").read_bytes() for n in range(3)}
    facts = expected()["sets"]["sharded"]["facts"]
    return stored(folder, "sharded", archives, facts, aliases=("live",), method="shard")


@pytest.fixture(params=["sandbox", pytest.param("server", marks=REAL)])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    start = sandbox_server if request.param == "sandbox" else qdrant_server
    with start(tmp_path / "target") as server:
        yield server.url


def test_shards_of_one_node(target: str, tmp_path: Path) -> None:
    lines = sharded(tmp_path / "repository")
    done = run([*lines, *moving_aliases(lines)], tmp_path / "work", target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert count(target, made("sharded")) == expected()["sets"]["sharded"]["points"] == 900
    about = info(target, made("sharded"))
    assert set(about["payload_schema"]) == {"genre", "year"}
    assert about["config"]["params"]["shard_number"] == 3
    aliases = httpx.get(f"{target}/aliases", timeout=30, trust_env=False).json()["result"]
    assert aliases["aliases"] == [{"alias_name": "live", "collection_name": made("sharded")}]


def moving_aliases(lines: list[str]) -> list[str]:
    """The lines that wait for a person's word."""
    moves = [x.removeprefix("# ") for x in lines if x.startswith("# curl") and "aliases" in x]
    assert moves
    return moves


def test_pasted_without_a_target_nothing_is_sent(tmp_path: Path) -> None:
    """The lines themselves name no server, whatever `curl` would take."""
    lines = sharded(tmp_path / "repository")
    assert not any("10.0.0.1" in line or "6333" in line for line in lines if line[0:1] not in ":#")
    spy = tmp_path / "bin" / "curl"
    spy.parent.mkdir()
    spy.write_text('#!/bin/sh\necho "$@" >> "$SPIED"\n')
    spy.chmod(0o755)
    spied = tmp_path / "spied"
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)],
        capture_output=True, text=True, cwd=tmp_path, timeout=30, check=False,
        env={"PATH": f"{spy.parent}:/usr/bin:/bin", "SPIED": str(spied)}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode != 0
    assert "set the server to restore into" in done.stderr
    assert not spied.exists()


def test_restoring_by_hand_leaves_the_live_collection_alone(tmp_path: Path) -> None:
    """The collection goes on under its name, with its newer points, and keeps its alias."""
    lines = sharded(tmp_path / "repository")
    with (
        sandbox_server(tmp_path / "live") as server,
        httpx.Client(base_url=server.url, trust_env=False, timeout=30) as ask,
    ):
        ask.put("/collections/sharded", json={"vectors": {"size": 2, "distance": "Dot"}})
        ask.put(
            "/collections/sharded/points?wait=true",
            json={"points": [{"id": 1, "vector": [1, 2], "payload": {"newer": True}}]},
        ).raise_for_status()
        alias = {"create_alias": {"collection_name": "sharded", "alias_name": "live"}}
        ask.post("/collections/aliases", json={"actions": [alias]}).raise_for_status()
        done = run(lines, tmp_path / "work", server.url)
        assert done.returncode == 0, done.stdout + done.stderr
        assert count(server.url, "sharded") == 1
        assert count(server.url, made("sharded")) == 900
        aliases = ask.get("/aliases").json()["result"]["aliases"]
        assert aliases == [{"alias_name": "live", "collection_name": "sharded"}]


def test_nothing_is_made_of_bytes_that_are_not_those(tmp_path: Path) -> None:
    lines = sharded(tmp_path / "repository")
    part = next((tmp_path / "repository").rglob("shard-1.snapshot"))
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    with sandbox_server(tmp_path / "target") as server:
        done = run(lines, tmp_path / "work", server.url)
        assert done.returncode != 0
        assert "shard-1.snapshot: FAILED" in done.stdout
        listed = httpx.get(f"{server.url}/collections", timeout=30, trust_env=False).json()
        assert listed["result"]["collections"] == []


def cut_out(collection: str, node: str, shards: set[int]) -> dict[int, bytes]:
    """These shards out of the archive of one node of a real cluster."""
    with (FIXTURES / "cluster" / f"{collection}-node-{node}.snapshot").open("rb") as archive:
        blocks = iter(lambda: archive.read(65536), b"")
        reframing = ShardSplitter(blocks, wanted=shards)
        return {shard: b"".join(data) for shard, data in reframing.shards()}


def facts_of(collection: str) -> dict[str, Any]:
    return copy.deepcopy(expected()["sets"]["cluster"]["topology"][collection]["a"])


@REAL
def test_a_cluster_of_three_into_one_of_two(tmp_path: Path) -> None:
    """Two collections: one with replicas and indexes, one with shard keys and a gap in its ids."""
    movies = cut_out("movies", "a", {1, 2}) | cut_out("movies", "b", {0})
    tenants = cut_out("tenants", "b", {1}) | cut_out("tenants", "a", {2})
    with qdrant_cluster(tmp_path / "target", nodes=2) as nodes:
        urls = [node.url for node in nodes]
        for name, archives in {"movies": movies, "tenants": tenants}.items():
            lines = stored(tmp_path / f"dr-{name}", name, archives, facts_of(name))
            done = run(lines, tmp_path / f"work-{name}", *urls)
            assert done.returncode == 0, done.stdout + done.stderr
        assert [count(url, made("movies")) for url in urls] == [1200, 1200]
        assert set(info(urls[1], made("movies"))["payload_schema"]) == {"genre", "year"}
        assert [count(url, made("tenants")) for url in urls] == [400, 400]
        keys = httpx.get(
            f"{urls[0]}/collections/{made('tenants')}/shards", timeout=30, trust_env=False
        )
        listed = {k["key"] for k in keys.json()["result"]["shard_keys"]}
        assert listed == {"eu", "us"}


def test_ids_that_a_deleted_key_had_are_used_up_first(tmp_path: Path) -> None:
    facts = facts_of("tenants")
    for moved in (*facts["cluster"]["local_shards"], *facts["cluster"]["remote_shards"]):
        moved["shard_id"] += 2
    lines = stored(tmp_path, "tenants", {3: b"x", 4: b"y"}, facts)
    calls = [x for x in lines if "/shards?" in x or "/shards/delete" in x]
    bodies = [json.loads(x.partition(" -d ")[2].strip("'")) for x in calls]
    filler = bodies[0]["shard_key"]
    assert bodies == [
        {"shard_key": filler, "shards_number": 2},
        {"shard_key": "eu", "shards_number": 1},
        {"shard_key": "us", "shards_number": 1},
        {"shard_key": filler},
    ]
    assert any("the target must run in cluster mode" in x for x in lines)


def test_what_no_creation_can_number_is_said(tmp_path: Path) -> None:
    facts = facts_of("tenants")
    facts["cluster"]["remote_shards"].append(
        {"shard_id": 5, "shard_key": "eu", "peer_id": 1, "state": "Active"}
    )
    lines = stored(tmp_path, "tenants", {1: b"x", 2: b"y", 5: b"z"}, facts)
    assert lines[0].startswith("# cannot be done by hand: the shards of key 'eu' are")
    assert not any(line.startswith("curl") for line in lines)


@pytest.mark.parametrize(
    ("file", "said", "unsaid"),
    [
        ("collection.snapshot", "or fetch", ".recipe"),
        ("collection.recipe", "*.recipe says of which blocks", "or fetch"),
    ],
)
def test_of_a_lost_backup_it_says_what_its_files_are_good_for(
    file: str, said: str, unsaid: str
) -> None:
    lost = LostBackup(r.manifest().key, ("one",), (), {"one": (file,)}, 9, kept_less=False)
    text = "\n".join(lost_by_hand(r.config(), lost))
    assert said in text
    assert unsaid not in text
