"""A few points of the living collection, to be found again in its copy."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from qdrant_dr.cluster import Node, RawPoint, sample_points
from qdrant_dr.cluster.addresses import known_addresses, node_of
from qdrant_dr.cluster.facts import Operations, operations_now
from qdrant_dr.config import Config
from qdrant_dr.errors import DRError
from qdrant_dr.proof import LiveSample, digest_point
from qdrant_dr.records import Manifest

LIVE_SAMPLE = 64
"""Points of the source that are compared with the archive, where nothing is being written."""


LIVE_SHARDS = 8
"""Of so many shards at most: each is searched for its ids by itself."""


def live_sample(config: Config, manifest: Manifest) -> LiveSample | None:
    """Read seeded points of the source, if nothing was written since the capture; else return None.

    Nothing written: to none of the replicas that the parts came from, for operation numbers are a
    replica's own. The points are read from these very replicas: another one that lacks some, or
    holds them otherwise, says nothing against the archive. A source that cannot be asked makes a
    weaker seal (`reference: self`), never a failed one.
    """
    if not manifest.quiet:
        return None
    after = {s.shard: s.operation_after for s in manifest.shards}
    shards: dict[str, list[int]] = {}
    for part in manifest.parts:
        shards.setdefault(part.node, []).extend(part.shards)
    try:
        if not shards.keys() <= known_addresses(config, shards):
            return None  # a key goes to the cluster's addresses only: manifests come from buckets
        with ExitStack() as stack:
            nodes = {url: stack.enter_context(node_of(config, url)) for url in shards}

            def still() -> Operations | None:
                now = None
                for url, node in nodes.items():
                    now = operations_now(node, manifest.collection, shards[url])
                    same = now.numbers == {shard: after[shard] for shard in shards[url]}
                    if not same or now.deferred_points:
                        return None
                return now

            if (before := still()) is None:
                return None
            points = _live_points(manifest, nodes, shards, before.max_query_limit)
            if still() is None:
                return None
    except DRError:
        return None
    return LiveSample({(shard, p["id"]): digest_point(p) for shard, p in points})


def _live_points(
    manifest: Manifest,
    nodes: Mapping[str, Node],
    shards: Mapping[str, Sequence[int]],
    limit: int | None,
) -> list[tuple[int, RawPoint]]:
    """Of each shard its share, from the node that the shard's part came from."""
    pieces = [(url, shard) for url, mine in shards.items() for shard in mine]
    if len(pieces) > LIVE_SHARDS:
        pieces = random.Random(manifest.backup_id).sample(pieces, LIVE_SHARDS)
    held = {s.shard: s.count_after for s in manifest.shards}
    return [
        (shard, point)
        for url, shard in pieces
        for point in sample_points(
            nodes[url], manifest.collection, count=-(-LIVE_SAMPLE // len(pieces)),
            seed=f"{manifest.backup_id} {shard}", shard=shard, limit=limit, total=held[shard],
        )
    ]  # fmt: skip
