"""Compare the points that are to be restored with the live ones, and collect what is to change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster import Node, RawPoint, points_by_id
from qdrant_dr.cluster.scroll import ShardKey
from qdrant_dr.errors import Interrupted, PlanRefused
from qdrant_dr.jobs.restore_points.decide_change import Change, PointId, decide
from qdrant_dr.jobs.restore_points.sources import Source

SHOWN = 10

Take = Callable[[Change, RawPoint | None], None]
"""Take one change, and the point as it is now."""


@dataclass
class Surveyed:
    """How many points are to be what, and the first of them. `changed` were changed by somebody
    since the run that is taken back, `lacking` have no live point whose component could be
    written."""

    counts: Counter[str] = field(default_factory=Counter)
    first: list[tuple[str, PointId]] = field(default_factory=list)
    changed: list[PointId] = field(default_factory=list)
    lacking: list[PointId] = field(default_factory=list)

    @property
    def to_write(self) -> int:
        return self.counts["create"] + self.counts["overwrite"] + self.counts["delete"]


def compare_with_live(
    node: Node,
    name: str,
    source: Source,
    *,
    only: str | None,
    missing: bool,
    cosine: frozenset[str],
    limit: int | None,
    keys: Collection[ShardKey | None],
    take: Take,
) -> Surveyed:
    """Decide for every point of the source; `keys` are those of the live collection. Raise
    PlanRefused for a point whose shard key is not there, and what reading it and the live points
    raises."""
    found = Surveyed()
    for batch in source.batches():
        if stopping.is_set():
            raise Interrupted("asked to stop while points were compared")
        ids, key = [g.id for g in batch], batch[0].shard_key
        if key not in keys:
            raise PlanRefused(*_no_such_key(name, key, keys))
        live = {p["id"]: p for p in points_by_id(node, name, ids, limit=limit, shard_key=key)}
        for given in batch:
            there = live.get(given.id)
            what, change = decide(
                given.id, given.point, there, only=only, missing=missing,
                cosine=cosine, shard=given.shard, shard_key=given.shard_key,
            )  # fmt: skip
            if change is not None and given.left is not None and change.before not in given.left:
                found.counts["changed"] += 1
                found.changed += [given.id] * (len(found.changed) < SHOWN)
                continue
            found.counts[what] += 1
            if what == "lacking":
                found.lacking += [given.id] * (len(found.lacking) < SHOWN)
            if change is not None:
                found.first += [(what, given.id)] * (len(found.first) < SHOWN)
                take(change, there)
    return found


def _no_such_key(
    name: str, key: ShardKey | None, keys: Collection[ShardKey | None]
) -> tuple[str, str]:
    elsewhere = "restore the backup under another name with `--as`, without `--points`."
    if key is None:
        return f"{name!r} has shard keys, and these points are of none", elsewhere
    if None in keys:
        return f"these points are of the shard key {key!r}, and {name!r} has none", elsewhere
    return (
        f"points of the shard key {key!r} are to be restored, but {name!r} has no such key",
        f"create it first: PUT /collections/{name}/shards with its shard_key; nothing was changed.",
    )
