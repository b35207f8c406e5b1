"""A backup of one node into a real cluster: cut into shards, replicated, counted on every node."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from qdrant_dr.records import Restored
from tests.jobs.driving import do, outcomes
from tests.support.replay import ReplaySource
from tests.support.servers import qdrant_cluster
from tests.support.world import make_world

pytestmark = [
    pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="needs QDRANT_BIN"),
    pytest.mark.timeout(170),
]


def test_one_node_comes_back_on_three_with_two_replicas(tmp_path: Path) -> None:
    with ReplaySource(["sharded"]) as source:
        world = make_world(tmp_path / "world", source.url)
        assert do(world, "backup").verdict == "ok"
    with qdrant_cluster(tmp_path / "cluster", 3) as nodes:
        urls = "".join(f"\n  - {node.url}" for node in nodes)
        text = world.file.read_text()
        world.file.write_text(text.replace(f"\n  - {source.url}", urls))
        end = do(
            world, "restore", backups=["sharded@latest-proven"], to=nodes[0].url,
            replication_factor=2, dry_run=False,
        )  # fmt: skip
        assert end.verdict == "ok", end.reasons
        (outcome,) = outcomes(end, "restore")
        assert isinstance(outcome.detail, Restored)
        assert (outcome.detail.route, outcome.detail.fingerprint_equal) == ("shards", True)
        held: dict[int, list[int]] = {}
        for node in nodes:
            where = httpx.get(f"{node.url}/collections/sharded/cluster", timeout=30).json()[
                "result"
            ]
            for shard in where["local_shards"]:
                assert shard["state"] == "Active"
                held.setdefault(shard["shard_id"], []).append(shard["points_count"])
        assert {shard: len(counts) for shard, counts in held.items()} == {0: 2, 1: 2, 2: 2}
        assert all(len(set(counts)) == 1 for counts in held.values())
