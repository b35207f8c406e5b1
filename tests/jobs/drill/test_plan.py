"""Which copies a run of drills takes: worst first, within its budget, and each one in its turn."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from qdrant_dr.config import Budget
from qdrant_dr.errors import PlanRefused
from qdrant_dr.jobs.drill.job import DrillRequest, nothing_to_drill, planned
from qdrant_dr.jobs.drill.objectives import over_time
from qdrant_dr.jobs.drill.plan import (
    ASSUMED_RATE,
    DAY,
    SETUP,
    Drillable,
    DrillDurations,
    DrillPlan,
    Place,
    drill_durations,
    drillable,
    plan_drills,
    plan_one,
)
from qdrant_dr.records import RunEnd
from tests.support.records import (
    NOW,
    catalog,
    config,
    days,
    drilled,
    hours,
    manifest,
    run_end,
    run_start,
    seal,
    seen,
)
from tests.support.thorough import examples

MIB = 2**20
EVERY = days(30)
PLENTY = Budget(time="1000h", bytes="1TiB")
NOTHING_KNOWN = DrillDurations({})


def waiting(
    collection: str,
    repository: str = "aws",
    *,
    drilled_at: datetime | None = None,
    tried_at: datetime | None = None,
    since: datetime = NOW - days(1),
    size: int = 10 * MIB,
) -> Drillable:
    made = manifest(collection, NOW - hours(2), size_bytes=size)
    (backup,) = catalog({"aws": [made], "gcp": [made]}, seals=[seal(made)]).backups
    return Drillable(backup, backup.copy(repository), drilled_at, tried_at, since)


def plan(places: Sequence[Drillable], budget: Budget = PLENTY, **more) -> DrillPlan:
    asked = {"every": EVERY, "pace": NOTHING_KNOWN, "now": NOW} | more
    return plan_drills(places, budget=budget, **asked)


def names(drillables: Sequence[Drillable]) -> list[str]:
    return [f"{c.place[0]} in {c.place[1]}" for c in drillables]


def of_day(collection: str, repository: str, at: datetime, **fields) -> RunEnd:
    done = drilled(manifest(collection), at, **fields)
    done = done.model_copy(update={"repository": repository, "ended_at": at})
    return run_end(run_start("drill", at), outcomes=(done,), ended_at=at)


class TestWorstFirst:
    def test_never_drilled_first_then_the_longest_ago(self) -> None:
        places = [
            waiting("a", drilled_at=NOW - days(20)),
            waiting("b", drilled_at=NOW - days(25)),
            waiting("c", since=NOW - days(3)),
            waiting("d", since=NOW - days(9)),
        ]
        found = names(plan(places).chosen)
        assert found == ["d in aws", "c in aws", "b in aws", "a in aws"]

    def test_what_was_drilled_in_this_half_of_the_period_is_left_for_later(self) -> None:
        places = [waiting("a", drilled_at=NOW - days(14)), waiting("b", drilled_at=NOW - days(15))]
        found = plan(places)
        assert names(found.chosen) == ["b in aws"]
        (left,) = found.left_out
        assert (left.collection, left.wanted) == ("a", False)
        assert "drilled on 2026-11-08, due again 15 d later" in left.reason

    def test_if_nothing_is_due_the_oldest_is_drilled_all_the_same(self) -> None:
        places = [waiting("a", drilled_at=NOW - days(1)), waiting("b", drilled_at=NOW - days(2))]
        assert names(plan(places).chosen) == ["b in aws"]

    def test_one_that_fails_every_time_starves_nobody(self) -> None:
        places = [
            waiting("bad", tried_at=NOW - days(1), size=60 * MIB),
            waiting("good", drilled_at=NOW - days(16), size=60 * MIB),
        ]
        assert names(plan(places, Budget(bytes="100MiB")).chosen) == ["good in aws"]
        assert names(plan(places).chosen) == ["good in aws", "bad in aws"]

    def test_only_the_newest_backup_of_a_place(self) -> None:
        old, new = manifest(at=NOW - days(2)), manifest()
        held = catalog({"aws": [old, new]}, seals=[seal(old), seal(new)])
        found = plan(drillable(held.backups, ["aws"], (), now=NOW))
        assert [c.backup.key for c in found.chosen] == [new.key]
        assert found.chosen[0].since == NOW - days(2)


class TestBudget:
    def test_as_many_bytes_as_fit_and_the_next_waits(self) -> None:
        places = [waiting(n, since=NOW - days(9 - i)) for i, n in enumerate("abc")]
        found = plan(places, Budget(bytes="20MiB"))
        assert names(found.chosen) == ["a in aws", "b in aws"]
        assert [(x.collection, x.wanted) for x in found.left_out] == [("c", True)]

    def test_what_does_not_fit_is_not_passed_by(self) -> None:
        places = [
            waiting("a", since=NOW - days(9), size=10 * MIB),
            waiting("big", since=NOW - days(8), size=95 * MIB),
            waiting("c", since=NOW - days(7), size=10 * MIB),
        ]
        assert names(plan(places, Budget(bytes="100MiB")).chosen) == ["a in aws"]

    def test_what_is_larger_than_the_budget_is_left_out_and_said(self) -> None:
        found = plan([waiting("a"), waiting("big", size=200 * MIB)], Budget(bytes="100MiB"))
        assert names(found.chosen) == ["a in aws"]
        assert [x.collection for x in found.left_out] == ["big"]
        assert found.doubts == (
            "big is larger than `drill.budget.bytes` (100.00 MiB): no drill of it",
        )

    def test_an_older_smaller_backup_stands_in(self) -> None:
        small = manifest(at=NOW - days(2), size_bytes=MIB)
        big = manifest(size_bytes=200 * MIB)
        held = catalog({"aws": [small, big]}, seals=[seal(small), seal(big)])
        places = drillable(held.backups, ["aws"], (), now=NOW)
        found = plan(places, Budget(bytes="100MiB"))
        assert [c.backup.key for c in found.chosen] == [small.key]
        (said,) = found.doubts
        assert said.startswith("the newest backup of movies is larger than `drill.budget.bytes`")
        one = plan_one(places, pick="latest", seed=0, budget=Budget(bytes="100MiB"))
        assert one.doubts == found.doubts

    def test_nothing_to_drill_is_refused(self) -> None:
        unsealed = catalog({"aws": [manifest()]})
        with pytest.raises(PlanRefused, match="no sealed copy"):
            plan(drillable(unsealed.backups, ["aws"], (), now=NOW))
        with pytest.raises(PlanRefused, match="each of 1 copies is larger"):
            plan([waiting("a")], Budget(bytes="1MiB"))

    def test_the_first_is_drilled_even_if_it_is_expected_to_take_too_long(self) -> None:
        pace = DrillDurations({("a", "aws"): (7200.0, 10 * MIB)})
        places = [waiting("a", since=NOW - days(2)), waiting("b")]
        assert names(plan(places, Budget(time="1h"), pace=pace).chosen) == ["a in aws"]

    def test_time_is_filled_as_far_as_it_is_expected_to_last(self) -> None:
        pace = DrillDurations({(n, "aws"): (600.0, 10 * MIB) for n in "abcd"})
        places = [waiting(n) for n in "abcd"]
        assert len(plan(places, Budget(time="30m"), pace=pace).chosen) == 3

    def test_a_budget_that_cannot_keep_up_is_said_with_what_it_would_need(self) -> None:
        places = [waiting(str(n), size=100 * MIB) for n in range(60)]
        found = plan(places, Budget(bytes="100MiB", time="1h"))
        (said,) = found.doubts
        assert said.startswith("30 of 60 copies are not drilled within 30 d at this budget: ")
        assert said.endswith("needs 200.00 MiB and 70 s a day, a run may use 100.00 MiB and 3600 s")
        assert plan(places, Budget(bytes="210MiB", time="1h")).doubts == ()

    def test_a_pace_that_nobody_measured_is_no_reason_for_a_doubt(self) -> None:
        """Before the first drill of large backups their time is assumed: that is a remark."""
        large = int(ASSUMED_RATE * 3600 * 24)
        places = [waiting(str(n), size=large) for n in range(60)]
        assumed = plan(places, Budget(bytes="1000TiB", time="1h"))
        assert not assumed.doubts
        (said,) = assumed.remarks
        assert "copies are not drilled within" in said
        slow = DrillDurations({(str(n), "aws"): (86_400.0, large) for n in range(60)})
        measured = plan(places, Budget(bytes="1000TiB", time="1h"), pace=slow)
        assert measured.doubts
        assert not measured.remarks

    def test_over_time(self) -> None:
        outcome = drilled(manifest(), slower=100)
        length = outcome.ended_at - outcome.started_at
        assert over_time([], length) == []
        assert over_time([outcome], length) == []
        (said,) = over_time([outcome, outcome], length / 2)
        assert "the drill of 2 copies took 120 s, `drill.budget.time` is 60 s" in said


class TestPace:
    def test_without_a_record_it_is_slow_on_purpose(self) -> None:
        copy = waiting("a", size=200 * MIB)
        assert drill_durations((), engine="edge").seconds(copy) == SETUP + 200 * MIB / ASSUMED_RATE

    def test_as_it_took_before_and_more_if_it_has_grown(self) -> None:
        end = of_day("a", "aws", NOW - days(1), detail={"total_us": 40_000_000, "size_bytes": MIB})
        pace = drill_durations([end], engine="server")
        assert pace.seconds(waiting("a", size=MIB // 2)) == 40.0
        assert pace.seconds(waiting("a", size=3 * MIB)) == 120.0
        assert pace.seconds(waiting("a", "gcp", size=0)) == SETUP
        assert drill_durations([end], engine="edge").seconds(waiting("a", size=0)) == SETUP

    def test_large_drills_tell_the_rate_of_unknown_places_and_failed_ones_nothing(self) -> None:
        good = {"total_us": 10_000_000, "size_bytes": 1024 * MIB}
        bad = {"total_us": 1, "size_bytes": 1024 * MIB, "fingerprint_equal": False}
        ends = [
            of_day("a", "aws", NOW - days(2), detail=good),
            of_day("b", "aws", NOW - days(1), detail=bad, verdict="failed"),
        ]
        pace = drill_durations(ends, engine="server")
        assert pace.rate == 1024 * MIB / 10
        assert set(pace.measured) == {("a", "aws")}

    def test_how_often_it_runs_is_seen_from_scheduled_runs(self) -> None:
        weekly = [run_end(run_start("drill", NOW - days(7 * n))) for n in range(4)]
        by_hand = run_end(run_start("drill", NOW - hours(1), trigger="cli"))
        assert drill_durations([*weekly, by_hand], engine="edge").interval == days(7)
        assert drill_durations([by_hand], engine="edge").interval == DAY


class TestHistory:
    def test_a_failed_drill_is_a_try_and_no_drill(self) -> None:
        made = manifest()
        held = catalog({"aws": [made], "gcp": [made]}, seals=[seal(made)])
        ends = [
            of_day("movies", "aws", NOW - days(4)),
            of_day("movies", "aws", NOW - days(2), verdict="failed"),
        ]
        aws, gcp = drillable(held.backups, ["aws", "gcp"], ends, now=NOW)
        assert (aws.drilled_at, aws.tried_at) == (NOW - days(4), NOW - days(2))
        assert (gcp.drilled_at, gcp.tried_at) == (None, None)

    def test_a_collection_of_which_nothing_can_be_drilled_is_said(self) -> None:
        cfg = config(collections={"expect": ["orders"]})
        inventory = run_end(seen=(seen("movies"), seen("users"), seen("tmp", "excluded")))
        said = nothing_to_drill(cfg, DrillRequest(), [waiting("movies")], [inventory])
        assert [s.partition(" copy of ")[2].split()[0] for s in said] == ["orders", "users"]
        others = run_end(seen=(seen("movies"), seen("users", "not-selected")))
        (short,) = nothing_to_drill(config(), DrillRequest(), [waiting("movies")], [others])
        assert "copy of users" in short
        one = DrillRequest(collection="movies")
        assert nothing_to_drill(cfg, one, [waiting("movies")], [inventory]) == []


class TestOne:
    def test_a_collection_by_name_and_a_kept_target_are_one_drill(self) -> None:
        places = [waiting("a"), waiting("b"), waiting("c")]
        for request in (DrillRequest(collection="a"), DrillRequest(keep=True)):
            _, units = planned(
                config(), request, places, engine="edge", pace=NOTHING_KNOWN, now=NOW
            )
            assert len(units) == 1
        _, units = planned(
            config(), DrillRequest(), places, engine="edge", pace=NOTHING_KNOWN, now=NOW
        )
        assert [(u.collection, u.pick, u.seed) for u in units] == [
            (n, "coverage", None) for n in "abc"
        ]

    def test_a_seeded_pick_is_repeatable(self) -> None:
        places = [waiting(n) for n in "abcdefgh"]
        picked = {
            plan_one(places, pick="random", seed=5, budget=PLENTY).chosen[0].place for _ in range(5)
        }
        assert len(picked) == 1

    def test_latest(self) -> None:
        old, new = manifest("old", NOW - days(2)), manifest("new")
        held = catalog({"aws": [old, new], "gcp": [old, new]}, seals=[seal(old), seal(new)])
        places = drillable(held.backups, ["aws", "gcp"], (), now=NOW)
        (chosen,) = plan_one(places, pick="latest", seed=0, budget=PLENTY).chosen
        assert names([chosen]) == ["new in aws"]


# simulated years

SIZES = st.integers(1, 100).map(lambda n: n * MIB)
AGES = st.none() | st.integers(1, 40).map(days)
PLACES = st.lists(
    st.tuples(AGES, AGES, st.integers(1, 60).map(days), SIZES), min_size=1, max_size=12
)


def made(drawn: list[tuple[timedelta | None, timedelta | None, timedelta, int]]) -> list[Drillable]:
    return [
        waiting(
            f"c{n}",
            drilled_at=good and NOW - good,
            tried_at=tried and NOW - tried,
            since=NOW - since - timedelta(seconds=n),
            size=size,
        )
        for n, (good, tried, since, size) in enumerate(drawn)
    ]


quick = settings(
    max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)  # the machine is shared


@quick
@given(drawn=PLACES, limit=SIZES, minutes=st.integers(1, 30))
def test_a_budget_is_never_exceeded_but_by_one_that_is_slow(
    drawn: list, limit: int, minutes: int
) -> None:
    places = made(drawn)
    assume(any(c.size_bytes <= limit for c in places))
    budget = Budget(bytes=f"{limit}B", time=f"{minutes}m")
    found = plan(places, budget)
    assert found.chosen
    assert sum(c.size_bytes for c in found.chosen) <= limit
    seconds = sum(map(NOTHING_KNOWN.seconds, found.chosen))
    assert len(found.chosen) == 1 or seconds <= minutes * 60
    told = {c.place for c in found.chosen} | {(x.collection, x.repository) for x in found.left_out}
    assert told == {c.place for c in places}
    assert len(found.chosen) + len(found.left_out) == len(places)


@quick
@given(drawn=PLACES, limit=SIZES, seed=st.integers(0, 1000))
def test_neither_order_nor_names_decide(drawn: list, limit: int, seed: int) -> None:
    places = made(drawn)
    assume(any(c.size_bytes <= limit for c in places))
    budget = Budget(bytes=f"{limit}B")
    found = plan(places, budget)
    mixed = random.Random(seed).sample(places, len(places))
    assert plan(mixed, budget) == replace(found, left_out=plan(mixed, budget).left_out)
    last = [(c.tried_at, c.drilled_at) for c in places]
    assume(
        len({max((t for t in pair if t), default=n) for n, pair in enumerate(last)}) == len(last)
    )
    other = [f"x{n}" for n in random.Random(seed).sample(range(len(places)), len(places))]
    renamed = [
        replace(waiting(name, size=c.size_bytes), drilled_at=c.drilled_at, tried_at=c.tried_at,
                since=c.since)
        for name, c in zip(other, places, strict=True)
    ]  # fmt: skip
    back = dict(zip(other, (c.place[0] for c in places), strict=True))
    chosen = [back[c.place[0]] for c in plan(renamed, budget).chosen]
    assert chosen == [c.place[0] for c in found.chosen]


@quick
@given(drawn=PLACES, limit=SIZES, more=st.integers(1, 200))
def test_a_larger_budget_drills_no_less(drawn: list, limit: int, more: int) -> None:
    places = made(drawn)
    assume(all(c.size_bytes <= limit for c in places))
    small = plan(places, Budget(bytes=f"{limit}B", time="10m"))
    large = plan(places, Budget(bytes=f"{limit + more * MIB}B", time=f"{10 + more}m"))
    assert names(large.chosen)[: len(small.chosen)] == names(small.chosen)


@settings(quick, max_examples=examples(25))
@given(drawn=PLACES, missed=st.sets(st.integers(0, 7).map(lambda n: 5 * n)))
def test_a_sufficient_budget_drills_every_copy_within_the_period(
    drawn: list, missed: set[int]
) -> None:
    """Days are played; some runs are missed. Half of the period is left for that."""
    every = days(12)
    places = [replace(c, drilled_at=None, tried_at=None, since=NOW) for c in made(drawn)]
    # a queue is cut where the next does not fit: at worst a run uses its budget less one copy
    largest = max(c.size_bytes for c in places)
    budget = Budget(bytes=f"{largest + math.ceil(sum(c.size_bytes for c in places) / 5)}B")
    state: dict[Place, Drillable] = {c.place: c for c in places}
    for day in range(40):
        at = NOW + days(day)
        for c in state.values():
            assert at - c.waiting_since <= every, (day, c.place)
        if day in missed:
            continue
        found = plan(list(state.values()), budget, every=every, now=at)
        assert not found.doubts
        state |= {c.place: replace(c, drilled_at=at, tried_at=at) for c in found.chosen}
