"""Whether two seals show that points are the same in both backups, without reading either. Pure."""

from __future__ import annotations

from collections.abc import Collection

from qdrant_dr.proof.fingerprint import bucket_of, buckets_apart
from qdrant_dr.records import Seal

PointId = int | str


def sealed_alike(one: Seal | None, two: Seal | None, ids: Collection[PointId] | None) -> bool:
    """Say whether the seals show that these points (None: all) are in both backups or in neither,
    and the same: the sums of their buckets are equal, in every component."""
    if one is None or two is None:
        return False
    apart = buckets_apart(one.total, two.total)
    return not apart if ids is None else {bucket_of(i) for i in ids}.isdisjoint(apart)
