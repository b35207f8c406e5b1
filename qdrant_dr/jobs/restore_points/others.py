"""Was nothing else touched? Counts, operation numbers and a sample of other points, before and
after."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qdrant_dr.cluster import Node, collection_facts, points_by_id
from qdrant_dr.cluster.sampling import sample_points
from qdrant_dr.cluster.scroll import ShardKey
from qdrant_dr.jobs.restore_points.decide_change import Place, PointId
from qdrant_dr.jobs.restore_points.point_states import digest_of

SAMPLED = 300
SAMPLED_KEYS = 6


@dataclass(frozen=True)
class Around:
    """A collection at one moment. `operations` are None where a node does not tell them, or other
    nodes have shards; `points` None if they cannot be counted."""

    points: int | None
    operations: tuple[int, ...] | None
    sample: dict[Place, str]


@dataclass(frozen=True)
class OthersJudged:
    """`equal`: nothing but our own writes was done; None: others wrote too, or that is not known.
    `faults` are what shows that something else was touched though nobody else wrote; `doubts` the
    same where it is not known whether others wrote."""

    equal: bool | None
    sampled: int
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


def look_around(
    node: Node,
    name: str,
    *,
    seed: str,
    limit: int | None,
    keys: Sequence[ShardKey | None],
    ours: Iterable[Place],
) -> Around:
    """Count, and sample points that are not among `ours`, of a few of the shard `keys`."""
    # the number first: whatever is written from here on shows in it, counted and sampled or not
    _, operations = _counted(node, name)
    points, _ = _counted(node, name)
    some = random.Random(seed).sample(keys, min(len(keys), SAMPLED_KEYS))
    sample = {
        (key, p["id"]): digest_of(p, None)
        for key in some
        for p in sample_points(
            node, name, count=SAMPLED // len(some), seed=seed, limit=limit, shard_key=key,
            total=points if len(keys) == 1 else None,
        )
    }  # fmt: skip
    for place in ours:
        sample.pop(place, None)
    return Around(points, operations, sample)


def look_again(node: Node, name: str, before: Around, *, limit: int | None) -> Around:
    """Count again, and read the same sample."""
    ids: dict[ShardKey | None, list[PointId]] = {}
    for key, point_id in before.sample:
        ids.setdefault(key, []).append(point_id)
    sample = {
        (key, p["id"]): digest_of(p, None)
        for key, some in ids.items()
        for p in points_by_id(node, name, some, limit=limit, shard_key=key)
    }
    return Around(*_counted(node, name), sample)


def _counted(node: Node, name: str) -> tuple[int | None, tuple[int, ...] | None]:
    """Count points and operations, if this node has every shard and tells."""
    facts = collection_facts(node, name)
    numbers = tuple(n for n in facts.operations.values() if n is not None)
    if len(numbers) < len(facts.shard_ids):
        return None, None
    return facts.exact_points, numbers


def judge_others(
    before: Around, after: Around, *, operations: int, created: int, deleted: int
) -> OthersJudged:
    """Judge by what was done: so many operations of ours, so many points more and less. Pure."""
    sampled = len(before.sample)
    changed = [i for i, digest in before.sample.items() if after.sample.get(i) != digest]
    counted = before.points is not None and after.points is not None
    wanted = (before.points or 0) + created - deleted
    faults = []
    if changed:
        named = ", ".join(str(point_id) for _, point_id in changed[:8])
        faults.append(f"{len(changed)} of {sampled} other points are not as before: {named}")
    if counted and after.points != wanted:
        faults.append(f"there are {after.points} points, {wanted} were to be there")
    others = wrote_besides(before, after, operations)
    if others == 0:
        return OthersJudged(not faults, sampled, tuple(faults))
    who = (
        "it is not known whether others wrote meanwhile"
        if others is None
        else f"others wrote meanwhile ({others} operations that are not ours)"
    )
    said = "; ".join(faults) or f"none of {sampled} other points that were sampled has changed"
    if others is None and faults:
        return OthersJudged(None, sampled, doubts=(f"{who}: {said}",))
    return OthersJudged(None, sampled, notes=(f"{who}: {said}",))


def wrote_besides(before: Around, after: Around, operations: int) -> int | None:
    """Return how many operations were not ours; None if that cannot be said. Pure.

    With several shards each of our calls is an operation of those that it touched.
    """
    if before.operations is None or after.operations is None:
        return None
    rose = [now - was for was, now in zip(before.operations, after.operations, strict=True)]
    if len(rose) == 1:
        return max(0, rose[0] - operations)
    return None if any(rose) else 0
