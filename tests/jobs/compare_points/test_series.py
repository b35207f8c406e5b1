"""The same collection on two days, from a real node's archives: 8,000 points, one in a hundred
rewritten."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from qdrant_dr import configfile
from qdrant_dr.cluster import Node, scroll_points
from qdrant_dr.jobs.compare_points.job import compare
from qdrant_dr.jobs.run.run import utc_now
from tests.support.archives import FIXTURES
from tests.support.driving import do
from tests.support.rest import upload
from tests.support.servers import sandbox_server
from tests.support.world import make_world


def test_the_rewritten_points_are_found(tmp_path: Path) -> None:
    contents: list[dict[Any, Any]] = []
    with sandbox_server(tmp_path / "source") as server, Node(server.url) as node:
        world = make_world(tmp_path / "world", server.url, repositories=("one",))
        with httpx.Client(base_url=server.url, timeout=60, trust_env=False) as client:
            for day in ("day-1", "day-2"):
                upload(client, "series", (FIXTURES / "series" / f"{day}.snapshot").read_bytes())
                assert do(world, "backup", prove="content").verdict != "failed"
                contents.append({p["id"]: p for p in scroll_points(node, "series")})
    first, second = contents
    rewritten = {i for i in first if first[i] != second.get(i)}
    assert 60 <= len(rewritten) <= 100
    assert first.keys() == second.keys()
    config = configfile.load(world.reference)
    old, new = (f"series@{m.backup_id}" for m in world.manifests("one"))
    found = compare(config, old, new, out=tmp_path / "all.ndjson", now=utc_now())
    rows = [json.loads(line) for line in (tmp_path / "all.ndjson").read_text().splitlines()]
    assert {r["id"] for r in rows} == rewritten
    assert found.counts == {"removed": 0, "added": 0, "changed": len(rewritten)}
    for row in rows:
        one, two = first[row["id"]], second[row["id"]]
        apart = ["payload"] * (one["payload"] != two["payload"])
        apart += ["vector:"] * (one["vector"] != two["vector"])
        assert row["components"] == apart
    assert (found.before, found.after, found.within) == (8000, 8000, 0)
