"""Findings about replicas of the source that differ; never about a copy. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from qdrant_dr.hints import command
from qdrant_dr.records import Compared, Diverging, Manifest
from qdrant_dr.records.manifest import ReplicaCount
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.finding import Problem
from qdrant_dr.text import count

APART = "replicas-apart"


@dataclass(frozen=True)
class Look:
    """What a capture or a check saw of all replicas of a collection. `whole`: it read every point
    of every replica."""

    at: datetime
    apart: tuple[ReplicaCount, ...]
    diverging: tuple[Diverging, ...] = ()
    whole: bool = False


def replica_problems(
    evidence: Evidence, collection: str, newest: Manifest | None
) -> Iterator[Problem]:
    """Return at most one problem. Equal counts end a difference of counts; a difference of points
    ends only when every point of every replica was read and is equal."""
    counts: tuple[datetime, str] | None = None
    points: tuple[datetime, str] | None = None
    for look in _looks(evidence, collection, newest):
        counts = (counts[0] if counts else look.at, _counts(look.apart)) if look.apart else None
        if look.diverging:
            points = (points[0] if points else look.at), _points(look.diverging)
        elif look.whole:
            points = None
    if found := points or counts:
        yield Problem(
            "warning",
            APART,
            collection,
            f"Active replicas hold different points: {found[1]}",
            found[0],
            "answers of a node that lacks points, and all answers once the other replicas are lost",
            command("check", collection, "--replicas", "whole"),
        )


def _looks(evidence: Evidence, collection: str, newest: Manifest | None) -> list[Look]:
    """List what was seen, oldest first."""
    found = [Look(newest.captured_at, newest.apart)] if newest is not None else []
    for end in evidence.run_ends:
        for o in end.outcomes:
            if o.collection == collection and isinstance(d := o.detail, Compared) and d.shards:
                whole = d.reading == "whole" and o.verdict == "ok"
                found.append(Look(o.ended_at, d.apart, d.diverging, whole))
    return sorted(found, key=lambda look: look.at)


def _counts(apart: Sequence[ReplicaCount]) -> str:
    # imported here: it loads the whole Qdrant client code, and `status` must start without it
    from qdrant_dr.cluster.replica_counts import differing_counts

    return "; ".join(differing_counts(apart))


def _points(diverging: Sequence[Diverging]) -> str:
    many = count(sum(d.points for d in diverging), "point")
    shards = ", ".join(str(d.shard) for d in diverging)
    lacking = sorted({url for d in diverging for url in d.lacking})
    where = f"; some are missing on {', '.join(lacking)}" if lacking else ""
    return f"{many} of shard {shards} not the same on every node{where}"
