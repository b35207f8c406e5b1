"""Findings about places that fill up or already have too little space. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qdrant_dr.hints import command
from qdrant_dr.quantities import format_size
from qdrant_dr.report.evidence.sizes import WARN_DAYS, Series
from qdrant_dr.report.finding import Problem


def size_problems(every: Sequence[Series]) -> Iterator[Problem]:
    """Report limits that the lower bound of the forecast reaches soon."""
    for s in every:
        left, limit = s.forecast.days_left, s.forecast.limit
        if left is None or left.low is None or left.low >= WARN_DAYS or limit is None:
            continue
        newest = s.forecast.measured[-1]
        what = "the snapshot that a node makes" if s.kind == "node" else "the next backup"
        yield Problem(
            "warning",
            "space-forecast",
            f"{s.subject}, {s.limit_name}",
            f"{what} may reach {format_size(limit)} {_when(left.low)}: "
            f"{format_size(newest.size_bytes)} now, expected {_when(left.expected)}",
            newest.at,
            "capture of this collection" if s.kind == "node" else "proofs of this collection",
            command("check"),
        )


def _when(days: float | None) -> str:
    if days is None:
        return "not within ten years"
    return "now" if days <= 0 else f"in {int(days)} d" if days >= 1 else "within a day"
