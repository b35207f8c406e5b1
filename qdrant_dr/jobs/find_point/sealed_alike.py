"""Whether two seals show that points are the same in both backups, without reading either. Pure."""

from __future__ import annotations

from collections.abc import Collection

from qdrant_dr.proof.fingerprint import bucket_of
from qdrant_dr.records import Fingerprint, Seal

PointId = int | str
_DIGITS = 16
"""Of the sum of one bucket."""


def sealed_alike(one: Seal | None, two: Seal | None, ids: Collection[PointId] | None) -> bool:
    """Say whether the seals show that these points (None: all) are in both backups or in neither,
    and the same: the sums of their buckets are equal, in every component."""
    if one is None or two is None or one.total.encoding != two.total.encoding:
        return False
    if ids is None:
        return one.total == two.total
    names = one.total.components.keys() | two.total.components.keys()
    return all(
        _bucket(one.total, name, bucket) == _bucket(two.total, name, bucket)
        for bucket in {bucket_of(i) for i in ids}
        for name in names
    )


def _bucket(fingerprint: Fingerprint, name: str, bucket: int) -> str:
    component = fingerprint.components.get(name)
    start = _DIGITS * bucket
    return component.buckets[start : start + _DIGITS] if component else "0" * _DIGITS
