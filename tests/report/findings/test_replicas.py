"""Replicas that differ are a finding about the source, ended by a look as good as the first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal

from qdrant_dr.records import Compared, Diverging, Outcome, RunEnd
from qdrant_dr.records.manifest import ReplicaCount
from qdrant_dr.report.finding import Problem
from qdrant_dr.report.frames.build import Assessment
from tests.support import records as r
from tests.support.records import NOW, hours
from tests.support.worlds import evidence

APART = (
    ReplicaCount(shard=0, peer_id=1, node="http://a", points=1000),
    ReplicaCount(shard=0, peer_id=2, node="http://b", points=993),
)
LOST = (Diverging(shard=0, points=7, lacking={"http://b": (1, 2, 3, 4, 5, 6, 7)}),)


def look(
    at: datetime,
    *,
    reading: Literal["sample", "whole"] = "whole",
    verdict: str | None = None,
    shards: int = 1,
    apart: Sequence[ReplicaCount] = (),
    diverging: Sequence[Diverging] = (),
) -> RunEnd:
    detail = Compared(
        reading=reading, seed=1, shards=shards, points=10, apart=tuple(apart),
        diverging=tuple(diverging),
    )  # fmt: skip
    outcome = Outcome(
        unit="compare",
        collection="movies",
        verdict=verdict or ("ok" if detail.equal else "degraded"),  # type: ignore[arg-type]
        started_at=at,
        ended_at=at + timedelta(minutes=1),
        detail=detail,
    )
    return r.run_end(r.run_start("check", at), outcomes=(outcome,))


def told(ends: Sequence[RunEnd], apart: Sequence[ReplicaCount] = ()) -> list[Problem]:
    m = r.manifest("movies", at=NOW - hours(2), apart=tuple(apart))
    proofs = [r.proof(m, "aws"), r.proof(m, "gcp")]
    found = Assessment.of(evidence({"aws": [m], "gcp": [m]}, proofs=proofs, ends=ends)).problems
    return [p for p in found if p.code == "replicas-apart"]


def test_counts_that_differ_before_a_capture() -> None:
    (found,) = told([], APART)
    assert (found.severity, found.scope) == ("warning", "movies")
    assert "1000 on http://a, 993 on http://b points" in found.what
    assert found.next_command == "qdrant-dr check movies --replicas whole"


def test_equal_counts_end_a_difference_of_counts_but_not_of_points() -> None:
    assert told([look(NOW - hours(9), apart=APART, reading="sample")]) == []
    (found,) = told([look(NOW - hours(9), apart=APART, diverging=LOST)])
    assert found.what.startswith("Active replicas hold different points: 7 points of shard 0")
    assert found.what.endswith("missing on http://b")
    assert found.since == NOW - hours(9) + timedelta(minutes=1)


def test_only_a_full_comparison_ends_a_difference_of_points() -> None:
    differ = look(NOW - hours(9), diverging=LOST)
    assert told([differ, look(NOW - hours(1), reading="sample")]) != []
    assert told([differ, look(NOW - hours(1), verdict="degraded")]) != []
    assert told([differ, look(NOW - hours(1), shards=0)]) != []
    assert told([differ, look(NOW - hours(1))]) == []


def test_the_first_that_saw_it_says_since_when() -> None:
    ends = [look(NOW - hours(n), diverging=LOST) for n in (30, 6)]
    (found,) = told(ends)
    assert found.since == NOW - hours(30) + timedelta(minutes=1)


def test_equal_replicas_are_no_finding() -> None:
    assert told([look(NOW - hours(1))]) == []
