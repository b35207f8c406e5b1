"""Which look is the last one: on any date, over the ends of months, by clocks that were wrong."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from qdrant_dr.layout import months_around
from qdrant_dr.records import RunEnd, Watched
from qdrant_dr.repository import Repository
from tests.support import records as made
from tests.support.stores import repository_on_disk

BERLIN_IN_SUMMER = timezone(timedelta(hours=2))
DATES = (
    datetime(2026, 11, 30, 23, 59, 50, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 50, tzinfo=UTC),
    datetime(2027, 1, 1, 0, 0, 5, tzinfo=UTC),
    datetime(2028, 2, 29, 12, 0, tzinfo=UTC),
    datetime(2027, 3, 1, 0, 30, tzinfo=UTC),
    datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN_IN_SUMMER),
    datetime(2026, 11, 1, 1, 30, tzinfo=BERLIN_IN_SUMMER),
)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)

at_any_date = pytest.mark.parametrize("now", DATES, ids=str)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "repository"


@pytest.fixture
def repository(folder: Path) -> Repository:
    return repository_on_disk(folder)


def look(
    repository: Repository,
    folder: Path,
    began: datetime,
    *,
    ended: datetime | None = None,
    written: datetime | None = None,
) -> RunEnd:
    """A look that took some seconds, and was written when it had ended."""
    began = began.astimezone(UTC)
    ended = (ended or began + 4 * SECOND).astimezone(UTC)
    watched = Watched(
        findings=(), appeared=(), cleared=(), compared_with=None, unseen=(), waiting={}, unsent=()
    )
    outcome = made.captured(made.manifest()).model_copy(update={"unit": "watch", "detail": watched})
    end = made.run_end(made.run_start("watch", began), ended_at=ended, outcomes=(outcome,))
    repository.write_run_end(end)
    (file,) = folder.glob(f"watches/**/{end.start.run_id}.json")
    at = ((written or ended) + SECOND).timestamp()
    os.utime(file, (at, at))
    return end


def last(repository: Repository, now: datetime) -> RunEnd | None:
    there = repository.last_watch(made.CLUSTER, now)
    return there[0] if there else None


@at_any_date
def test_the_newest_counts_whichever_month_it_lies_in(
    repository: Repository, folder: Path, now: datetime
) -> None:
    assert last(repository, now) is None
    for before in (28 * 24 * 60, 26 * 60, 60, 5):
        newest = look(repository, folder, now - before * MINUTE)
        assert last(repository, now) == newest


@at_any_date
def test_one_that_began_by_a_clock_ahead_counts_when_it_ended(
    repository: Repository, folder: Path, now: datetime
) -> None:
    """The clock was set right while it looked: it lies in the month that it believed to be in."""
    look(repository, folder, now - 10 * MINUTE)
    newest = look(repository, folder, now + timedelta(days=4), ended=now - MINUTE)
    assert last(repository, now) == newest
    a_little = look(repository, folder, now + 20 * SECOND, ended=now + 25 * SECOND)
    assert last(repository, now) == a_little, "clocks are never quite equal"


@at_any_date
def test_one_dated_ahead_counts_for_nothing_even_when_its_time_comes(
    repository: Repository, folder: Path, now: datetime
) -> None:
    ahead = now + timedelta(days=2)
    look(repository, folder, ahead, written=now)
    assert last(repository, now) is None
    newest = look(repository, folder, ahead - MINUTE)
    assert last(repository, ahead + MINUTE) == newest


@at_any_date
def test_a_store_whose_clock_is_behind_still_has_a_last_watch(
    repository: Repository, folder: Path, now: datetime
) -> None:
    for before in (65, 5):
        at = now - before * MINUTE
        newest = look(repository, folder, at, written=at - timedelta(hours=3))
    assert last(repository, now) == newest


def test_one_that_lies_elsewhere_than_it_says_is_none(repository: Repository, folder: Path) -> None:
    now = DATES[0]
    look(repository, folder, now - MINUTE)
    (file,) = folder.glob("watches/**/*.json")
    file.rename(file.with_name("20261130T235959Z-abcdef.json"))
    assert last(repository, now) is None


def test_three_months_are_neighbours_on_every_day_of_four_years() -> None:
    for day in range(4 * 366):
        now = DATES[0] + timedelta(days=day)
        counted = [m.year * 12 + m.month for m in months_around(now)]
        assert counted == [now.year * 12 + now.month + n for n in (-1, 0, 1)]
