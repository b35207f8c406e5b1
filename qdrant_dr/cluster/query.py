"""Search and count on a live collection: the answers of its indexes, and exact scores."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from typing import Any

from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.cluster.scroll import ShardKey, of_key

PointId = int | str


def nearest(
    node: Node,
    collection: str,
    vector: Any,
    *,
    using: str,
    limit: int,
    condition: str | None = None,
    beam: int | None = None,
    shard_key: ShardKey | None = None,
) -> tuple[list[PointId], int]:
    """Return the ids that the server's index finds, best first, and the microseconds it took.

    `condition` is a REST condition (JSON text), `beam` is `hnsw_ef`, None: the collection's own.
    """
    asked = {
        "query": vector,
        "limit": limit,
        "params": {"hnsw_ef": beam},
        **of_key(shard_key),
    }
    if condition is not None:
        asked["filter"] = {"must": [json.loads(condition)]}
    began = time.perf_counter()
    found = _query(node, collection, asked, using)
    return [p["id"] for p in found], round((time.perf_counter() - began) * 1e6)


def exact_scores(
    node: Node,
    collection: str,
    vector: Any,
    ids: Collection[PointId],
    *,
    using: str,
    shard_key: ShardKey | None = None,
) -> list[tuple[PointId, float]]:
    """Return the scores of these points, best first, without any vector index.

    Qdrant uses the index of a sparse vector even with `exact` (sparse_vector_index.rs of 1.18.3),
    but it reads a sum of scores from the vectors. A point without a score shares no index with the
    query. A score that is not finite is null here and counts as none."""
    sparse = isinstance(vector, Mapping)
    query = {"recommend": {"positive": [vector], "strategy": "sum_scores"}} if sparse else vector
    asked = {
        "query": query,
        "limit": len(ids),
        "filter": {"must": [{"has_id": list(ids)}]},
        "params": {"exact": True},
        **of_key(shard_key),
    }
    found = _query(node, collection, asked, using)
    scores = [(p["id"], p["score"]) for p in found if p["score"] is not None]
    return [(point, score) for point, score in scores if score > 0 or not sparse]


def count_where(node: Node, collection: str, shard: int, condition: str) -> int:
    """Count exactly the points of one shard for which a REST condition (JSON text) holds."""
    body = {"exact": True, "filter": {"must": [json.loads(condition)]}}
    found = node.read(
        path_of(collection, "shards", shard, "points", "count"),
        f"count points of {collection!r}", collection=collection, json=body, cost=2,
    )  # fmt: skip
    return int(found["count"])


def _query(
    node: Node, collection: str, asked: Mapping[str, Any], using: str
) -> list[dict[str, Any]]:
    body = {**asked, "with_payload": False, "with_vector": False}
    if using:
        body["using"] = using
    found = node.read(
        path_of(collection, "points", "query"), f"search {collection!r}",
        collection=collection, json=body, cost=2 if "filter" in asked else 1,
    )  # fmt: skip
    return list(found["points"])
