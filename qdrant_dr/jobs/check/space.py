"""Is there room for the next backup? Estimated from the last one, or from the points there are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from qdrant_dr.cluster import CollectionFacts
from qdrant_dr.config import Config
from qdrant_dr.errors import StorageFull
from qdrant_dr.jobs.check.rows import CheckRow, degraded, failed, ok, skipped
from qdrant_dr.jobs.scratch import unsafe_spool
from qdrant_dr.jobs.space import GROWTH, ON_NODE, free_below
from qdrant_dr.repository import Repository
from qdrant_dr.units import format_size

PAYLOAD = 1024
"""Bytes of payload, ids and index per point where no backup says better."""
OVERHEAD = 1.5
"""Archives hold vectors, their index, and segments that wait to be merged."""
WAL = 32 * 2**20
"""Qdrant's write-ahead log takes up to this per shard in an archive."""
_DATATYPE = {"float16": 2, "uint8": 1}


def expected_sizes(
    collections: Iterable[CollectionFacts], last_sizes: Mapping[str, int]
) -> dict[str, int]:
    """Bytes that the next backup of each collection may take."""
    return {
        c.collection: math.ceil(last_sizes[c.collection] * GROWTH)
        if c.collection in last_sizes
        else estimate(c.info, c.exact_points or c.points_count or 0, c.shard_number)
        for c in collections
    }


def estimate(info: Mapping[str, Any], points: int, shards: int) -> int:
    """Bytes of a first backup, from vector sizes and points: rough, on the high side."""
    params = info["config"]["params"]
    vectors = params.get("vectors") or {}
    every = [vectors] if "size" in vectors else list(vectors.values())
    sizes: list[int] = [v["size"] * _DATATYPE.get(v.get("datatype") or "", 4) for v in every]
    return math.ceil(points * (sum(sizes) + PAYLOAD) * OVERHEAD) + shards * WAL


def check_space(
    config: Config, sizes: Mapping[str, int], repositories: Iterable[Repository]
) -> Iterator[CheckRow]:
    """Compare with what is free in each repository that can say, on the nodes, in the spool."""
    needed = sum(sizes.values())
    for repository in repositories:
        scope = f"repository {repository.name}"
        free = repository.store.free_bytes()
        if free is None:
            yield skipped(scope, "space", f"about {format_size(needed)} needed; it tells no limit")
        else:
            yield _room(scope, needed, free, "the next backup")
    yield _nodes(config, sizes)
    yield _spool(config, sizes)


def _nodes(config: Config, sizes: Mapping[str, int]) -> CheckRow:
    """Archives lie on the node until every copy is safe; a full snapshot there needs all of them
    at once, up to three times. No call of Qdrant tells its free disk."""
    scope, free = "cluster", config.cluster.node_space
    full = config.capture.method == "full"
    at_once = sorted(sizes.values(), reverse=True)
    needed = sum(at_once) * ON_NODE["full"][1] if full else _widest(config, at_once)
    if config.capture.method == "stream":
        return ok(scope, "space", "method stream needs none on the nodes")
    if free is None:
        return skipped(
            scope,
            "space",
            f"about {format_size(needed)} needed on a node; Qdrant tells no free disk, "
            "`cluster.node_space` does",
        )
    return _room(scope, needed, free, "snapshots on a node, by `cluster.node_space`")


def _widest(config: Config, largest_first: list[int]) -> int:
    return sum(largest_first[: config.capture.parallel_collections])


def _spool(config: Config, sizes: Mapping[str, int]) -> CheckRow:
    """Proofs lay archives out on disk: the largest ones at the same time."""
    scope = "spool"
    spool = config.capture.spool
    if unsafe := unsafe_spool(spool.path):
        return failed(scope, "space", unsafe)
    needed = _widest(config, sorted(sizes.values(), reverse=True))
    free = free_below(spool.path)
    if needed > spool.max:
        return degraded(
            scope,
            "space",
            f"proofs may need {format_size(needed)}, `capture.spool.max` is "
            f"{format_size(spool.max)}",
            "raise `capture.spool.max`, or lower `capture.parallel_collections`.",
        )
    return _room(scope, needed, free, "proofs")


def _room(scope: str, needed: int, free: int, what: str) -> CheckRow:
    text = f"about {format_size(needed)} for {what}, {format_size(free)} free"
    if needed > free:
        return failed(scope, "space", StorageFull(text))
    if 2 * needed > free:
        return degraded(scope, "space", text, "free space, or add some: the second next may fail.")
    return ok(scope, "space", text)
