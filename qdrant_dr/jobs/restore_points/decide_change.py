"""What becomes of one point of a restore: decided from what it is and what it is to be. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qdrant_dr.cluster import RawPoint
from qdrant_dr.cluster.scroll import ShardKey
from qdrant_dr.jobs.restore_points.point_states import combined, digest_of, same
from qdrant_dr.records.undo import ABSENT

PointId = int | str
Place = tuple[ShardKey | None, PointId]
"""Which point: each shard key has ids of its own."""
Kind = Literal["create", "overwrite", "delete"]
Verdict = Kind | Literal["equal", "lacking", "present"]
"""`lacking`: one component of a point that is not there cannot be written; `present`: only missing
points were asked for."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one point is to become: `after`, None to be deleted, of which `wanted` is the digest.
    `before` is the digest of what it was when it was decided."""

    id: PointId
    before: str
    after: RawPoint | None
    wanted: str
    shard: int | None = None
    shard_key: ShardKey | None = None

    @property
    def kind(self) -> Kind:
        if self.after is None:
            return "delete"
        return "create" if self.before == ABSENT else "overwrite"


def decide(
    point_id: PointId,
    given: RawPoint | None,
    there: RawPoint | None,
    *,
    only: str | None,
    missing: bool,
    cosine: frozenset[str],
    shard: int | None = None,
    shard_key: ShardKey | None = None,
) -> tuple[Verdict, Change | None]:
    """Decide what becomes of one point that is `there`, and is to be as `given`; the last bits of
    the vectors `cosine` do not count."""
    if missing and there is not None:
        return "present", None
    if only is not None and there is None and given is not None:
        return "lacking", None
    after = combined(there, given, only)
    if same(after, there, only, cosine):
        return "equal", None
    digests = digest_of(there, only), digest_of(after, only)
    change = Change(point_id, digests[0], after, digests[1], shard, shard_key)
    return change.kind, change
