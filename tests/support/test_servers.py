"""The servers that other tests stand on: a real cluster forms, loses a node and takes it back."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest

from tests.support.rest import call
from tests.support.servers import Node, qdrant_cluster
from tests.support.waiting import eventually

pytestmark = pytest.mark.qdrant


def states(node: Node, collection: str) -> set[str]:
    answer = httpx.get(f"{node.url}/collections/{collection}/cluster", trust_env=False).json()
    told = answer["result"]
    return {shard["state"] for shard in (*told["local_shards"], *told["remote_shards"])}


@pytest.mark.skipif("QDRANT_BIN" not in os.environ, reason="give QDRANT_BIN for a real cluster")
def test_a_node_of_a_real_cluster_is_killed_and_comes_back(tmp_path: Path) -> None:
    with qdrant_cluster(tmp_path) as nodes:
        assert len({node.peer_id for node in nodes}) == 3
        first, _, last = nodes
        with httpx.Client(base_url=first.url, timeout=30, trust_env=False) as client:
            vectors = {"size": 2, "distance": "Dot"}
            body = {"vectors": vectors, "shard_number": 2, "replication_factor": 3}
            call(client, "PUT", "/collections/c", body)
            points = {"points": [{"id": n, "vector": [n, 1]} for n in range(20)]}
            call(client, "PUT", "/collections/c/points?wait=true", points)
            pid, peer = last.pid, last.peer_id
            last.kill()
            with pytest.raises(httpx.ConnectError):
                httpx.get(f"{last.url}/readyz", trust_env=False)
            more = {"points": [{"id": n, "vector": [n, 1]} for n in range(20, 30)]}
            call(client, "PUT", "/collections/c/points?wait=true", more)
            eventually(lambda: states(first, "c"), until=lambda told: "Dead" in told)
            last.start()
        assert last.pid != pid
        assert last.peer_id == peer
        for node in nodes:
            eventually(lambda n=node: states(n, "c"), until=lambda told: told == {"Active"})
        with httpx.Client(base_url=last.url, timeout=30, trust_env=False) as client:
            assert call(client, "POST", "/collections/c/points/count", {}) == {"count": 30}
