"""Replicas of the source that differ: a finding about it, never about a copy. Pure."""

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
    """What a capture, or a check, saw of all replicas of a collection. `whole`: every point of
    every replica was read."""

    at: datetime
    apart: tuple[ReplicaCount, ...]
    diverging: tuple[Diverging, ...] = ()
    whole: bool = False


def replica_problems(
    evidence: Evidence, collection: str, newest: Manifest | None
) -> Iterator[Problem]:
    """At most one. Counts that are equal end a difference of counts; points that differ are equal
    again when every replica was read as a whole, and is."""
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
            f"Active replicas do not hold the same: {found[1]}",
            found[0],
            "what a node that lacks points answers, and serves alone once the others are lost",
            command("check", collection, "--replicas", "whole"),
        )


def _looks(evidence: Evidence, collection: str, newest: Manifest | None) -> list[Look]:
    """Oldest first."""
    found = [Look(newest.captured_at, newest.apart)] if newest is not None else []
    for end in evidence.run_ends:
        for o in end.outcomes:
            if o.collection == collection and isinstance(d := o.detail, Compared) and d.shards:
                whole = d.reading == "whole" and o.verdict == "ok"
                found.append(Look(o.ended_at, d.apart, d.diverging, whole))
    return sorted(found, key=lambda look: look.at)


def _counts(apart: Sequence[ReplicaCount]) -> str:
    # all that is said to Qdrant hangs on this import, and `status` is to start without it
    from qdrant_dr.cluster.replica_counts import differing_counts

    return "; ".join(differing_counts(apart))


def _points(diverging: Sequence[Diverging]) -> str:
    many = count(sum(d.points for d in diverging), "point")
    shards = ", ".join(str(d.shard) for d in diverging)
    lacking = sorted({url for d in diverging for url in d.lacking})
    where = f"; some are lacking on {', '.join(lacking)}" if lacking else ""
    return f"{many} of shard {shards} not the same on every node{where}"
