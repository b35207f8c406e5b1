"""The line and its interval: against values worked out elsewhere, and never made up."""

from __future__ import annotations

import math
import random
import statistics
from datetime import datetime, timedelta

import pytest

from qdrant_dr.report.evidence.forecast import HORIZON, Forecast, Measured, forecast, student
from tests.support.records import NOW, days


def series(*sizes: float, every: float = 1.0, until: datetime = NOW) -> list[Measured]:
    last = len(sizes) - 1
    return [Measured(until - days(every * (last - n)), int(s)) for n, s in enumerate(sizes)]


def told(sizes: list[Measured], limit: int | None = None) -> Forecast:
    return forecast(sizes, now=NOW, limit=limit)


@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(3, 3.1824), (4, 2.7764), (5, 2.5706), (8, 2.3060), (19, 2.0930), (30, 2.0423), (500, 1.9647)],
)
def test_quantiles_of_students_t(freedom: int, quantile: float) -> None:
    assert student(freedom) == pytest.approx(quantile, rel=2e-3)


def test_too_few_are_not_measured() -> None:
    few = told(series(1, 2, 3, 4))
    assert (few.line, few.growth, few.ahead, few.days_left) == (None, None, None, None)
    assert few.why == "4 of 5 days"
    close = told(series(1, 2, 3, 4, 5, every=0.5), limit=10)
    assert close.line is None
    assert close.days_left is None
    assert close.why == "2.0 of 3 days in between"
    assert told([]).why == "0 of 5 days"
    with pytest.raises(ValueError, match="at least 3 degrees of freedom"):
        student(2)


def test_a_line_matches_a_textbook_example() -> None:
    """By hand: slope 19.5, S = 10, residual sum of squares 67.5, t(3) = 3.182."""
    f = told(series(100, 125, 140, 155, 182))
    assert f.line is not None
    assert f.line.per_day == pytest.approx(19.4)
    left_over = math.sqrt(
        sum((y - (140.4 + 19.4 * (x - 2))) ** 2 for x, y in enumerate((100, 125, 140, 155, 182)))
        / 3
    )
    assert f.growth is not None
    assert f.growth.high - f.growth.expected == pytest.approx(  # type: ignore[operator]
        3.1824 * left_over / math.sqrt(10), rel=2e-3
    )
    assert f.ahead is not None
    day = 4 + HORIZON
    assert f.ahead.expected == pytest.approx(140.4 + 19.4 * (day - 2))
    margin = 3.1824 * left_over * math.sqrt(1 + 1 / 5 + (day - 2) ** 2 / 10)
    assert f.ahead.high - f.ahead.expected == pytest.approx(margin, rel=2e-3)  # type: ignore[operator]


def test_days_left_are_where_line_and_band_cross_the_limit() -> None:
    f = told(series(100, 130, 140, 155, 182, 190), limit=400)
    assert f.line is not None
    assert f.days_left is not None
    soon, line, late = f.days_left.low, f.days_left.expected, f.days_left.high
    assert soon is not None
    assert line is not None
    assert late is not None
    assert 0 < soon < line < late
    today = (NOW - f.line.begin) / timedelta(days=1)
    assert f.line.at(today + line) == pytest.approx(400)
    assert f.line.at(today + soon) + f.line.margin(today + soon) == pytest.approx(400)
    assert f.line.at(today + late) - f.line.margin(today + late) == pytest.approx(400)


def test_a_limit_that_is_reached_already_or_never() -> None:
    over = told(series(10, 20, 30, 40, 50), limit=45)
    assert over.days_left is not None
    assert (over.days_left.low, over.days_left.expected) == (0, 0)
    falling = told(series(50, 40, 30, 20, 10), limit=100)
    assert falling.days_left is not None
    assert (falling.days_left.expected, falling.days_left.high) == (None, None)
    flat = told(series(7, 7, 7, 7, 7), limit=100)
    assert flat.days_left is not None
    assert (flat.days_left.low, flat.days_left.expected) == (None, None)
    exact = told(series(10, 20, 30, 40, 50), limit=100)
    assert exact.days_left is not None
    assert exact.days_left.low == exact.days_left.expected == pytest.approx(5)
    # noise without a trend: its upper bound gets there, its lower one never
    noisy = told(series(50, 60, 40, 55, 45, 50), limit=120)
    assert noisy.days_left is not None
    assert noisy.days_left.low is not None
    assert noisy.days_left.high is None


def test_order_of_the_sizes_does_not_matter() -> None:
    sizes = series(3, 9, 4, 12, 8, 15)
    assert told(sizes[::-1], 100) == told(sizes, 100)


def test_the_interval_holds_what_it_promises() -> None:
    """Of 400 seeded series with known noise, 95 % of the next values lie inside."""
    dice = random.Random(7)
    inside = []
    for _ in range(400):
        sizes = [10_000 + 50 * n + dice.gauss(0, 300) for n in range(12)]
        f = forecast(series(*sizes), now=NOW, limit=None)
        assert f.line is not None
        then = 11 + HORIZON
        truth = 10_000 + 50 * then + dice.gauss(0, 300)
        inside.append(abs(truth - f.line.at(then)) <= f.line.margin(then))
    assert 0.92 <= statistics.mean(inside) <= 0.98
