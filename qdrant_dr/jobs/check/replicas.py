"""Read every replica of a collection on its own node, compare it with the others: what differs.

The only test of "Active" that there is. What differs is looked at again before it is told, for a
write reaches replicas one after the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster import joint
from qdrant_dr.cluster.node import path_of
from qdrant_dr.cluster.replica_counts import PATIENCE, Counting, differing_counts
from qdrant_dr.cluster.replica_scroll import PointId, SideBySide, Window, order
from qdrant_dr.cluster.replicas import largest_page, several
from qdrant_dr.cluster.source_nodes import SourceNodes, open_sources
from qdrant_dr.cluster.topology import peer_of
from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, Interrupted, NothingChecked
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.units import CompareUnit
from qdrant_dr.proof import differing_points
from qdrant_dr.records import Compared, Diverging, Outcome

LOOKED_AGAIN = 3
"""So often a point that differs is asked for again."""
PAUSE_SECONDS = 1.0
KEPT = 10_000
"""Points of one shard that differ and are looked at again; more are counted only."""
NAMED = 100
"""Ids that a record has room for, per node and kind."""
SHOWN = 8


@dataclass(slots=True)
class Tally:
    """What was seen of one shard. `moving` points differ, and are being written."""

    points: int = 0
    suspects: set[PointId] = field(default_factory=set)
    beyond: int = 0
    lacking: dict[str, list[PointId]] = field(default_factory=dict)
    differing: list[PointId] = field(default_factory=list)
    moving: int = 0

    @property
    def told(self) -> int:
        """Return the points that certainly differ."""
        lacking = {point for ids in self.lacking.values() for point in ids}
        return len(lacking) + len(self.differing)

    def suspect(self, ids: Iterable[PointId]) -> None:
        for point in ids:
            if len(self.suspects) < KEPT:
                self.suspects.add(point)
            else:
                self.beyond += 1


def compare_replicas(config: Config, unit: CompareUnit) -> Outcome:
    """Compare all full replicas of one collection: exact counts, then their points.

    Replicas that differ degrade the outcome, and so does what could not be looked at: it is not
    called equal. Raise NothingChecked if nothing of several replicas could be compared,
    Interrupted, and what the first questions raise.
    """
    started_at = utc_now()
    with open_sources(config, unit.nodes) as sources:
        counting, holders, notes = _counted(sources, unit.collection)
        found: dict[int, Tally] = {}
        for shard, peers in holders.items():
            try:
                found[shard] = _compare(sources, unit, shard, peers)
            except Interrupted:
                raise
            except DRError as e:
                notes.append(f"the replicas of shard {shard} were not compared: {e.message}")
        notes += sources.silent
    if holders and not found:
        raise NothingChecked(f"{unit.collection}: {'; '.join(notes)}")
    diverging = tuple(_record(shard, tally) for shard, tally in found.items() if tally.told)
    notes += [
        f"{t.moving} points of shard {shard} were being written and could not be compared"
        for shard, t in found.items()
        if t.moving
    ]
    wrong = [*differing_counts(counting.apart), *map(_words, diverging)]
    alone = () if holders or notes else ("no shard has more than one replica",)
    return Outcome(
        unit="compare",
        collection=unit.collection,
        verdict="degraded" if wrong or notes else "ok",
        started_at=started_at,
        ended_at=utc_now(),
        notes=(*wrong, *notes, *alone),
        detail=Compared(
            reading=unit.reading,
            seed=unit.seed,
            shards=len(found),
            points=sum(t.points for t in found.values()),
            apart=counting.apart,
            diverging=diverging,
        ),
    )


def _counted(
    sources: SourceNodes, collection: str
) -> tuple[Counting, dict[int, tuple[int, ...]], list[str]]:
    """Counts of all replicas, which peers hold each shard more than once, and what is doubtful."""
    counting = Counting(collection)
    deadline = time.monotonic() + PATIENCE.total_seconds()
    while True:
        placed = sources.placements(collection)
        view = joint([said for _, said in placed.values()])
        counting.ask(view.replicas, {peer: s.node for peer, (s, _) in placed.items()})
        if not counting.undecided or time.monotonic() >= deadline:
            break
        _pause(collection)
    notes = [*counting.doubts, *view.differ.values()]
    if view.resharding:
        notes.append("resharding is under way: points may lie in two shards")
    every = several(view.replicas, {peer_of(r) for r in view.replicas})
    notes += [
        f"the replica of shard {shard} on peer {peer} was not compared: no known node answers as it"
        for shard, peers in every.items()
        for peer in peers
        if peer not in placed
    ]
    return counting, several(view.replicas, placed), notes


def _compare(sources: SourceNodes, unit: CompareUnit, shard: int, peers: Sequence[int]) -> Tally:
    """One shard: every window, then once more what differed in it."""
    nodes = {s.node.url: s.node for s in sources.at_hand if (s.about.peer_id or 0) in peers}
    if len(nodes) < 2:
        raise NothingChecked("fewer than two of its nodes answer")
    limits = []
    for node in nodes.values():
        info = node.ask(
            "GET", path_of(unit.collection), f"read its information of {unit.collection!r}",
            collection=unit.collection,
        )  # fmt: skip
        if (info.get("update_queue") or {}).get("deferred_points"):
            raise NothingChecked(f"{node.url} hides deferred points from reads")
        limits.append(largest_page(info))
    side = SideBySide(nodes, unit.collection, shard, limits[0])
    tally = Tally()
    windows = side.whole() if unit.reading == "whole" else side.sample(unit.seed or 0)
    for window in windows:
        if stopping.is_set():
            raise Interrupted(f"asked to stop while {unit.collection!r} was compared")
        tally.points += sum(map(len, window.values()))
        tally.suspect(_apart(window))
    _look_again(side, tally)
    return tally


def _look_again(side: SideBySide, tally: Tally) -> None:
    """Drop what was on its way, and say of the rest which node lacks it, or holds it otherwise."""
    left, moved = sorted(tally.suspects, key=order), set[PointId]()
    before: Window = {}
    for _ in range(LOOKED_AGAIN):
        if not left:
            break
        _pause(side.collection)
        window = side.again(left)
        left = sorted(_apart(window), key=order)
        moved = {
            point
            for url, points in window.items()
            if url in before
            for point in _changed(before[url], points)
        }
        before = window
    still = [point for point in left if point not in moved]
    tally.moving = len(left) - len(still)
    held = {url: {p["id"] for p in points} for url, points in before.items()}
    for point in still:
        without = [url for url, ids in held.items() if point not in ids]
        for url in without:
            tally.lacking.setdefault(url, []).append(point)
        if not without:
            tally.differing.append(point)


def _apart(window: Window) -> set[PointId]:
    """Points that are not the same on all nodes."""
    first, *others = window.values()
    return {point for other in others for point in differing_points(first, other)}


def _changed(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> set[PointId]:
    return set(differing_points(before, now))


def _record(shard: int, tally: Tally) -> Diverging:
    return Diverging(
        shard=shard,
        points=tally.told + tally.beyond,
        lacking={url: tuple(ids[:NAMED]) for url, ids in sorted(tally.lacking.items())},
        differing=tuple(tally.differing[:NAMED]),
    )


def _words(found: Diverging) -> str:
    """`3 points of shard 0 differ: http://b lacks 7, 9; 12 is not the same everywhere`."""
    said = [f"{url} lacks {_some(ids)}" for url, ids in found.lacking.items()]
    if found.differing:
        said.append(f"not the same everywhere: {_some(found.differing)}")
    return f"{found.points} points of shard {found.shard} differ: {'; '.join(said)}"


def _some(ids: Sequence[PointId]) -> str:
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return ", ".join(map(str, ids[:SHOWN])) + more


def _pause(collection: str) -> None:
    if stopping.wait(PAUSE_SECONDS):
        raise Interrupted(f"asked to stop while {collection!r} was compared")
