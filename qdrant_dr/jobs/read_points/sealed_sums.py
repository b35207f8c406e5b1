"""What the seals of two backups show without reading either: where their points may differ. Pure.

Sums are compared for each shard key by itself: a point that has moved to another key is the same
point in the sum of all.
"""

from __future__ import annotations

from collections.abc import Collection

from qdrant_dr.cluster.scroll import ShardKey
from qdrant_dr.proof import add
from qdrant_dr.proof.fingerprint import BUCKETS, bucket_of, buckets_apart
from qdrant_dr.records import Fingerprint
from qdrant_dr.repository import Backup


def buckets_to_read(one: Backup, two: Backup) -> tuple[int, ...] | None:
    """Return the buckets whose sums differ between two seals; None if a seal is missing, so that
    all must be read."""
    if one.seal is None or two.seal is None:
        return None
    before, after = _sums(one), _sums(two)
    if before.keys() != after.keys():
        return tuple(range(BUCKETS))
    return tuple(sorted({b for key in before for b in buckets_apart(before[key], after[key])}))


def sealed_alike(one: Backup, two: Backup, ids: Collection[int | str] | None) -> bool:
    """Say whether the seals show that these points (None: all) are in both backups or in neither,
    and the same: the sums of their buckets are equal, in every component."""
    apart = buckets_to_read(one, two)
    if apart is None:
        return False
    return not apart if ids is None else {bucket_of(i) for i in ids}.isdisjoint(apart)


def _sums(backup: Backup) -> dict[ShardKey | None, Fingerprint]:
    """The sum of the points of each shard key; None alone without custom sharding."""
    seal, keys = backup.seal, backup.manifest.keys_of_shards
    assert seal is not None
    if not keys:
        return {None: seal.total}
    found: dict[ShardKey | None, Fingerprint] = {}
    for shard in seal.shards:
        key = keys.get(shard.shard)
        parts = (found.get(key), shard.settled, shard.replayed)
        found[key] = add(*(p for p in parts if p is not None))
    return found
