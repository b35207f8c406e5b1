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

from qdrant_dr.cli.byhand import by_hand
from qdrant_dr.cluster.reframe import Reframing
from qdrant_dr.records import Manifest, Part
from qdrant_dr.repository import names
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
    made = r.manifest(collection)
    shards = tuple(made.shards[0].model_copy(update={"shard": shard}) for shard in archives)
    made = Manifest.model_validate(
        {
            **made.model_dump(exclude={"sha256"}), "parts": parts, "shards": shards,
            "collection_info": json.dumps(facts["info"]),
            "collection_cluster": json.dumps(facts["cluster"]),
            "shard_keys": json.dumps(facts["shards"]), **about,
        }
    )  # fmt: skip
    for part, data in zip(made.parts, archives.values(), strict=True):
        path = folder / names.in_backup(made.key, part.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    place = {"name": "aws", "id": "0" * 8, "url": str(folder), "domain": "disk"}
    config = r.config(repositories=[place], copies={})
    (backup,) = r.catalog({"aws": [made]}).backups
    return by_hand(config, backup)


def run(lines: list[str], folder: Path, *nodes: str) -> subprocess.CompletedProcess[str]:
    """The lines with another target; they stop at the first that fails."""
    new = {"TARGET=": f"TARGET={nodes[0]}", "NODES=": f"NODES='{' '.join(nodes)}'"}
    told = [next((v for k, v in new.items() if line.startswith(k)), line) for line in lines]
    folder.mkdir()
    return subprocess.run(
        ["bash", "-c", "\n".join(["set -eu", *told])],
        capture_output=True, text=True, cwd=folder, timeout=90, check=False,
        env={"PATH": "/usr/bin:/bin", "no_proxy": "*"},
    )  # fmt: skip


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
    done = run(sharded(tmp_path / "repository"), tmp_path / "work", target)
    assert done.returncode == 0, done.stdout + done.stderr
    assert count(target, "sharded") == expected()["sets"]["sharded"]["points"] == 900
    about = info(target, "sharded")
    assert set(about["payload_schema"]) == {"genre", "year"}
    assert about["config"]["params"]["shard_number"] == 3
    aliases = httpx.get(f"{target}/aliases", timeout=30, trust_env=False).json()["result"]
    assert aliases["aliases"] == [{"alias_name": "live", "collection_name": "sharded"}]


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
        reframing = Reframing(blocks, wanted=shards)
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
        assert [count(url, "movies") for url in urls] == [1200, 1200]
        assert set(info(urls[1], "movies")["payload_schema"]) == {"genre", "year"}
        assert [count(url, "tenants") for url in urls] == [400, 400]
        keys = httpx.get(f"{urls[0]}/collections/tenants/shards", timeout=30, trust_env=False)
        listed = {k["key"] for k in keys.json()["result"]["shard_keys"]}
        assert listed == {"eu", "us"}


def test_ids_that_a_deleted_key_had_are_used_up_first(tmp_path: Path) -> None:
    facts = facts_of("tenants")
    for moved in (*facts["cluster"]["local_shards"], *facts["cluster"]["remote_shards"]):
        moved["shard_id"] += 2
    lines = stored(tmp_path, "tenants", {3: b"x", 4: b"y"}, facts)
    made = [x for x in lines if "/shards?" in x or "/shards/delete" in x]
    bodies = [json.loads(x.partition(" -d ")[2].strip("'")) for x in made]
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
