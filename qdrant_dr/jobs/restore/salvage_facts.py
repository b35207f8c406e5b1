"""What a manifest and a seal say to a salvage: how to make the collection, and what to expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qdrant_dr.cluster import RawPoint
from qdrant_dr.cluster.collection_config import ShardKey, creation_body
from qdrant_dr.proof.compare import without_vectors
from qdrant_dr.raw_settings import dense_vectors
from qdrant_dr.records import Fingerprint, Manifest, Seal


def renumbered(by_shard: Mapping[int, ShardKey]) -> list[tuple[ShardKey, tuple[int, ...]]]:
    """Return the keys, each with as many shards as it had, numbered as a new collection numbers
    them."""
    counts: dict[ShardKey, int] = {}
    for shard in sorted(by_shard):
        counts[by_shard[shard]] = counts.get(by_shard[shard], 0) + 1
    found, following = [], 1
    for key, many in counts.items():
        found.append((key, tuple(range(following, following + many))))
        following += many
    return found


def body_for(info: Mapping[str, Any], *, clustered: bool) -> dict[str, Any]:
    """Build the body that creates the collection as it was; without cluster mode, one shard stands
    for all shard keys."""
    params = info["config"]["params"]
    if params.get("sharding_method") == "custom" and not clustered:
        config = {
            **info["config"],
            "params": {**params, "sharding_method": None, "shard_number": 1},
        }
        info = {**info, "config": config}
    return creation_body(info, replication_factor=None if clustered else 1, clustered=clustered)


def half_cosine(params: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the vectors that are stored normalised, in halves of a float."""
    return frozenset(
        name
        for name, v in dense_vectors(params).items()
        if v.get("datatype") == "float16" and v.get("distance") == "Cosine"
    )


def with_vectors(point: RawPoint, names: frozenset[str], *, only: bool) -> RawPoint:
    """Return the point with these vectors alone, or with all but these."""
    vector = point.get("vector") or {}
    if not names:
        return point
    named = vector if isinstance(vector, dict) else {"": vector}
    return {**point, "vector": {n: v for n, v in named.items() if (n in names) is only}}


def counted(manifest: Manifest) -> int | None:
    """Return the number of points at the capture; None if something was written meanwhile."""
    counts = [s.count_after for s in manifest.shards]
    if not manifest.quiet or None in counts:
        return None
    return sum(c for c in counts if c is not None)


def comparable(fingerprint: Fingerprint, seal: Seal) -> Fingerprint:
    """Return the fingerprint, with vectors by their number alone if some of them come out of a
    replayed log."""
    replayed = any(s.replayed_ids for s in seal.shards)
    return without_vectors(fingerprint) if replayed else fingerprint
