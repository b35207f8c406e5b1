"""Forecast when a place is full: a straight line through measured sizes, with its intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

DAY = timedelta(days=1)
LEAST_DAYS = 5
"""With fewer measured days no meaningful interval can be computed."""
LEAST_SPAN = timedelta(days=3)
HORIZON = 30.0
"""How many days ahead the expected size is given."""
FARTHEST = 3650.0
"""A limit that is not reached within this many days counts as not reached."""
_NORMAL = 1.959963984540054


@dataclass(frozen=True)
class Measured:
    """A size in bytes at one moment."""

    at: datetime
    size_bytes: int


@dataclass(frozen=True)
class Interval:
    """An estimate and the bounds of its 95 % interval; None: beyond the range of the forecast."""

    expected: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class Line:
    """A least-squares line through sizes; days count from `begin`."""

    begin: datetime
    middle: float
    mean: float
    per_day: float
    count: int
    spread: float
    squares: float

    def at(self, day: float) -> float:
        """Return the bytes on the line at a day."""
        return self.mean + self.per_day * (day - self.middle)

    def margin(self, day: float) -> float:
        """Return half of the 95 % prediction interval, in which one more measurement would lie."""
        far = (day - self.middle) ** 2 / self.squares
        return self.spread * math.sqrt(1 + 1 / self.count + far)

    def reaches(self, limit: float, side: int, now: float) -> float | None:
        """Return the first day from `now` on which the line (0), its upper (1) or its lower (-1)
        bound reaches `limit`; None if that is not within `FARTHEST` days."""

        def bound(day: float) -> float:
            return self.at(day) + side * self.margin(day)

        if bound(now) >= limit:
            return now
        # (gap - slope u)^2 = spread^2 (1 + 1/n + u^2/S), u counted from the middle of the days
        width, gap = (side * self.spread) ** 2, limit - self.mean
        a = self.per_day**2 - width / self.squares
        b = -2 * self.per_day * gap
        c = gap**2 - width * (1 + 1 / self.count)
        days = [self.middle + u for u in _roots(a, b, c)]
        rounding = 1e-6 * max(abs(limit), 1.0)
        there = [d for d in days if now < d <= now + FARTHEST and bound(d) >= limit - rounding]
        return min(there, default=None)


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Either `line` and what follows from it, or `why` there is no line."""

    measured: tuple[Measured, ...]
    why: str | None
    line: Line | None = None
    growth: Interval | None = None
    ahead: Interval | None = None
    limit: int | None = None
    days_left: Interval | None = None


def forecast(measured: Sequence[Measured], *, now: datetime, limit: int | None) -> Forecast:
    """Estimate the growth per day, the size in `HORIZON` days and the days until `limit`, each with
    its 95 % interval: that of the slope, that of a prediction, and the days between which the
    prediction interval reaches the limit.

    Pass at most one size a day. Fewer than `LEAST_DAYS` sizes, or sizes within less than
    `LEAST_SPAN`, give no forecast. Errors are assumed to be independent: a step (an import, a
    purge) shows as a wide interval, not as a trend.
    """
    sizes = tuple(sorted(measured, key=lambda m: m.at))
    if len(sizes) < LEAST_DAYS:
        return Forecast(measured=sizes, why=f"{len(sizes)} of {LEAST_DAYS} days", limit=limit)
    if (length := sizes[-1].at - sizes[0].at) < LEAST_SPAN:
        words = f"{length / DAY:.1f} of {LEAST_SPAN / DAY:.0f} days in between"
        return Forecast(measured=sizes, why=words, limit=limit)
    line, error = _fit(sizes)
    today = (now - line.begin) / DAY
    then, margin = today + HORIZON, line.margin(today + HORIZON)
    left = None
    if limit is not None:
        soonest, expected, latest = (line.reaches(limit, side, today) for side in (1, 0, -1))
        left = Interval(*(None if d is None else d - today for d in (expected, soonest, latest)))
    return Forecast(
        measured=sizes,
        why=None,
        line=line,
        growth=Interval(line.per_day, line.per_day - error, line.per_day + error),
        ahead=Interval(line.at(then), max(line.at(then) - margin, 0), line.at(then) + margin),
        limit=limit,
        days_left=left,
    )


def _fit(sizes: Sequence[Measured]) -> tuple[Line, float]:
    """Fit the line; also return half of the 95 % interval of its slope."""
    begin, n = sizes[0].at, len(sizes)
    days = [(m.at - begin) / DAY for m in sizes]
    middle = math.fsum(days) / n
    mean = math.fsum(m.size_bytes for m in sizes) / n
    squares = math.fsum((d - middle) ** 2 for d in days)
    pairs = list(zip(days, sizes, strict=True))
    slope = math.fsum((d - middle) * (m.size_bytes - mean) for d, m in pairs) / squares
    off = math.fsum((m.size_bytes - mean - slope * (d - middle)) ** 2 for d, m in pairs)
    spread = student(n - 2) * math.sqrt(off / (n - 2))
    line = Line(
        begin=begin, middle=middle, mean=mean, per_day=slope, count=n, spread=spread,
        squares=squares,
    )  # fmt: skip
    return line, spread / math.sqrt(squares)


def student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t for at least 3 degrees of freedom, within 0.2 %.

    Expansion around the normal quantile (Abramowitz and Stegun 26.7.5).
    """
    if freedom < 3:
        raise ValueError("the quantile needs at least 3 degrees of freedom")
    z, v = _NORMAL, float(freedom)
    terms = (
        z,
        (z**3 + z) / 4 / v,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96 / v**2,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384 / v**3,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160 / v**4,
    )
    return math.fsum(terms)


def _roots(a: float, b: float, c: float) -> list[float]:
    """Return the real solutions of a u^2 + b u + c = 0."""
    if a == 0:
        return [] if b == 0 else [-c / b]
    inside = b * b - 4 * a * c
    if inside < 0:
        # a line without spread touches its limit once; rounding must not hide that solution
        # solution solution
        inside = 0.0 if -inside <= 1e-9 * b * b else inside
    if inside < 0:
        return []
    return [(-b - math.sqrt(inside)) / (2 * a), (-b + math.sqrt(inside)) / (2 * a)]
