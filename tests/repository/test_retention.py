"""Retention: what goes, what stays, and that no policy and no history gets past the brakes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.records import Baseline
from qdrant_dr.records.holds import Hold
from qdrant_dr.repository.retention import ExpirePlan, Policy, active_holds, plan_expire
from tests.support import records as made
from tests.support.records import NOW, days, hours
from tests.support.retention import PROVEN, Made, backup_at, catalog, policy

BERLIN = ZoneInfo("Europe/Berlin")


def plan(
    backups: Sequence[Made],
    rules: Policy | None = None,
    *,
    repositories: Sequence[str] = ("aws",),
    now: datetime = NOW,
    **given: Any,
) -> ExpirePlan:
    return plan_expire(
        catalog(backups, repositories), lambda _r, _c: rules or policy(),
        proven=PROVEN, holds=given.pop("holds", ()), now=now, **given,
    )  # fmt: skip


def gone(found: ExpirePlan) -> set[datetime]:
    return {datetime.strptime(e.key.backup_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            for e in found.goes}  # fmt: skip


def daily(count: int, **fields: Any) -> list[Made]:
    return [backup_at(NOW - days(n) - hours(1), **fields) for n in range(count)]


def test_the_newest_proven_and_the_floor_stay_under_a_policy_that_keeps_nothing() -> None:
    backups = [backup_at(NOW - hours(1), proven=False), *daily(5)[1:]]
    found = plan(backups, policy(floor=2))
    assert gone(found) == {NOW - days(3) - hours(1), NOW - days(4) - hours(1),
                           NOW - hours(1)}  # fmt: skip
    newest = next(s for s in found.stays if s.key == backups[1].key)
    assert "the newest proven" in newest.reasons


def test_one_of_each_period_stays_and_the_proven_one_of_it_is_preferred() -> None:
    morning = backup_at(NOW - days(3) - hours(3))
    noon = backup_at(NOW - days(3), proven=False)
    newest = backup_at(NOW - hours(1))
    found = plan([morning, noon, newest], policy(daily=3))
    assert [e.key for e in found.goes] == [noon.key]


def test_an_outage_does_not_eat_history() -> None:
    old = [backup_at(NOW - days(60 + n)) for n in range(3)]
    found = plan([*old, backup_at(NOW - hours(1))], policy(daily=4))
    assert not found.goes


def test_an_incarnation_without_a_proven_backup_loses_nothing() -> None:
    found = plan(daily(5, proven=False))
    assert not found.goes
    assert all("nothing of this life" in s.reasons[0] for s in found.stays)


def test_an_ended_incarnation_keeps_its_newest_proven_backup_until_named() -> None:
    old = [backup_at(NOW - days(40 + n), life="before") for n in range(3)]
    new = daily(2, life="now")
    found = plan([*old, *new])
    assert {e.key for e in found.goes} == {old[1].key, old[2].key, new[1].key}
    named = plan([*old, *new], named=[old[0].key.backup_id, new[0].key.backup_id])
    assert old[0].key in {e.key for e in named.goes}
    assert new[0].key not in {e.key for e in named.goes}  # of this life: never, named or not


def test_a_hold_keeps_until_it_is_over_or_released() -> None:
    backups = daily(3)
    hold = Hold(
        hold_id="h1", backup_id=backups[2].key.backup_id, cluster="prod", collection="movies",
        made_at=NOW, made_by="ada", reason="case 4711", until=NOW + days(1),
    )  # fmt: skip
    kept = plan(backups, holds=[hold])
    assert {e.key for e in kept.goes} == {backups[1].key}
    assert any("case 4711" in s.reasons[0] for s in kept.stays)
    assert len(plan(backups, holds=[hold], now=NOW + days(2)).goes) == 2
    release = hold.model_copy(update={"hold_id": "h2", "keeps": False, "releases": ("h1",)})
    assert active_holds([hold, release], now=NOW) == ()
    assert len(plan(backups, holds=[release, hold]).goes) == 2


def test_what_a_suspect_backup_may_have_lost_is_kept() -> None:
    calm = backup_at(NOW - days(2))
    suspect = backup_at(NOW - hours(1), suspect=("half is gone",))
    found = plan([calm, suspect])
    assert not found.goes
    assert any("which is suspect" in r for s in found.stays for r in s.reasons)


def test_what_followed_a_suspect_backup_does_not_let_go_of_what_was_before() -> None:
    calm, suspect = backup_at(NOW - days(9)), backup_at(NOW - days(8), suspect=("half is gone",))
    after = [backup_at(NOW - days(n) - hours(1)) for n in range(5)]
    backups = [calm, suspect, *after]
    kept = {s.key for s in plan(backups).stays}
    assert kept == {calm.key, suspect.key, after[0].key}
    sealed = made.seal(suspect.manifest, suspect=suspect.suspect)
    accepted = made.acceptance(suspect.manifest, sealed)
    assert {s.key for s in plan(backups, acknowledged=[accepted]).stays} == {after[0].key}
    later = made.acceptance(after[2].manifest, made.seal(after[2].manifest))
    assert {s.key for s in plan(backups, acknowledged=[later]).stays} == {after[0].key}
    for nothing in (
        made.acceptance(suspect.manifest, made.seal(suspect.manifest)),  # another content
        made.acceptance(suspect.manifest, sealed, until=NOW + days(9)),  # quiet, no more than that
        made.acceptance(calm.manifest, made.seal(calm.manifest)),  # of before
    ):
        assert {s.key for s in plan(backups, acknowledged=[nothing]).stays} == kept


def drifting(*shares: int) -> list[Made]:
    """Backups of consecutive days, the first one first, each with the share in percent of the
    points of the first that are gone or changed."""
    first = backup_at(NOW - days(len(shares)) - hours(1))
    return [
        first,
        *(
            backup_at(
                NOW - days(n) - hours(1),
                baseline=Baseline(
                    backup_id=first.key.backup_id, counts={"id": 10}, sketch=(),
                    changed_ppm=share * 10_000,
                ),
            )
            for n, share in zip(reversed(range(len(shares))), shares, strict=True)
        ),
    ]  # fmt: skip


def test_slow_change_beyond_the_limit_keeps_the_older_backup_until_somebody_looked() -> None:
    backups = drifting(10, 40, 60, 70)
    rules = policy(drift_limit=0.5)
    found = plan(backups, rules)
    assert {s.key for s in found.stays} == {backups[2].key, backups[-1].key}
    (why,) = next(s.reasons for s in found.stays if s.key == backups[2].key)
    assert "about 70% of the points" in why
    assert "drifted:movies" in why
    first = backups[0].key.backup_id
    looked = made.acknowledgement("drifted", "movies", first)
    accepted = made.acceptance(
        backups[3].manifest, made.seal(backups[3].manifest, baseline=backups[3].baseline)
    )
    for enough in (looked, accepted):
        assert {s.key for s in plan(backups, rules, acknowledged=[enough]).stays} == {
            backups[-1].key
        }
    for nothing in (
        made.acknowledgement("drifted", "movies", backups[1].key.backup_id),  # of another drift
        made.acknowledgement("drifted", "users", first),
        made.acceptance(backups[0].manifest, made.seal(backups[0].manifest)),  # of before
    ):
        assert len(plan(backups, rules, acknowledged=[nothing]).stays) == 2


def test_change_within_the_limit_keeps_nothing_more() -> None:
    backups = drifting(10, 40, 50)
    assert {s.key for s in plan(backups, policy(drift_limit=0.5)).stays} == {backups[-1].key}


def test_the_one_that_is_still_within_the_limit_must_be_good() -> None:
    first, tenth, beyond = drifting(10, 60)
    unproven = Made(tenth.manifest, proven=False, repositories=("aws",), baseline=tenth.baseline)
    found = plan([first, unproven, beyond], policy(drift_limit=0.5))
    assert {s.key for s in found.stays} == {first.key, beyond.key}


def test_what_is_rewritten_every_night_does_not_fill_the_disk() -> None:
    backups = [backup_at(NOW - days(n) - hours(1), suspect=("rewritten",)) for n in range(30)]
    kept = {s.key for s in plan([*backups, backup_at(NOW - days(40))]).stays}
    assert len(kept) <= 4
    assert backups[0].key in kept
    assert backups[1].key in kept or backup_at(NOW - days(40)).key in kept


def test_a_share_per_run_and_the_oldest_first() -> None:
    found = plan(daily(11), policy(share=0.2))
    assert gone(found) == {NOW - days(10) - hours(1), NOW - days(9) - hours(1)}
    assert sum("in one run" in s.reasons[0] for s in found.stays) == 8


def test_nothing_is_decided_from_a_catalog_that_is_not_whole_or_empty() -> None:
    assert plan([]).refused
    part = catalog(daily(5), ("aws", "gcp"), unreachable=["gcp"])
    found = plan_expire(part, lambda _r, _c: policy(), proven=PROVEN, holds=(), now=NOW)
    assert (found.goes, found.stays) == ((), ())
    assert "gcp" in (found.refused or "")


def test_a_backup_dated_in_the_future_is_kept_but_does_not_count() -> None:
    future = backup_at(NOW + days(2))
    backups = [future, *daily(3)]
    found = plan(backups, policy(last=1))
    assert future.key not in {e.key for e in found.goes}
    kept = {s.key for s in found.stays}
    assert backups[1].key in kept  # still the newest proven, and the last


def test_each_repository_has_its_own_policy_and_keeps_its_own_newest_proven() -> None:
    backups = [
        backup_at(NOW - days(n), repositories=("aws", "gcp") if n else ("aws",)) for n in range(4)
    ]
    rules = {"aws": policy(last=4), "gcp": policy()}
    found = plan_expire(
        catalog(backups, ("aws", "gcp")), lambda r, _c: rules[r],
        proven=PROVEN, holds=(), now=NOW,
    )  # fmt: skip
    assert {(e.repository, e.key) for e in found.goes} == {
        ("gcp", backups[2].key), ("gcp", backups[3].key)
    }  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "kept"),
    [(UTC, 2), (BERLIN, 1)],
)
def test_days_are_those_of_the_time_zone(zone: tzinfo, kept: int) -> None:
    """22:30 and 23:30 UTC in winter lie on two days in Berlin, 23:30 and 00:30 on one."""
    late = datetime(2026, 1, 15, 23, 30, tzinfo=UTC)
    backups = [backup_at(late), backup_at(late + hours(1))]
    found = plan(backups, policy(daily=2, timezone=zone))
    assert len(found.stays) == kept


HISTORY = st.lists(
    st.tuples(
        st.integers(0, 800 * 24), st.booleans(), st.sampled_from(["first", "second"]),
    ),
    min_size=1, max_size=14, unique_by=lambda h: h[0],
)  # fmt: skip
COUNTS = st.fixed_dictionaries(
    {
        "last": st.integers(0, 4), "daily": st.integers(0, 5), "weekly": st.integers(0, 4),
        "monthly": st.integers(0, 4), "floor": st.integers(1, 4),
        "grace": st.sampled_from([timedelta(0), days(2)]),
        "timezone": st.sampled_from([UTC, BERLIN, ZoneInfo("America/St_Johns")]),
    }
)  # fmt: skip
START = datetime(2027, 12, 20, tzinfo=UTC)
"""The history before it has a leap day and every change to and from daylight saving."""


def build(history: list[tuple[int, bool, str]]) -> list[Made]:
    return [backup_at(START - hours(h + 1), proven=p, life=life) for h, p, life in history]


@given(HISTORY, COUNTS)
def test_never_below_the_floor_and_never_the_newest_proven(
    history: list[tuple[int, bool, str]], counts: dict[str, Any]
) -> None:
    backups = build(history)
    found = plan(backups, policy(**counts), now=START)
    goes = {e.key for e in found.goes}
    assert goes | {s.key for s in found.stays} == {b.key for b in backups}
    for life in ("first", "second"):
        members = [b for b in backups if b.manifest.incarnation == life]
        left = [b for b in members if b.key not in goes]
        assert len(left) >= min(counts["floor"], len(members))
        good = [b for b in members if b.proven]
        if good:
            newest = max(good, key=lambda b: b.manifest.captured_at)
            assert newest.key not in goes
        else:
            assert left == members


@given(HISTORY, COUNTS, st.sampled_from(["last", "daily", "weekly", "monthly", "floor"]))
def test_a_looser_policy_keeps_no_less(
    history: list[tuple[int, bool, str]], counts: dict[str, Any], field: str
) -> None:
    backups = build(history)
    strict = plan(backups, policy(**counts), now=START)
    loose = plan(backups, policy(**{**counts, field: counts[field] + 1}), now=START)
    assert {e.key for e in loose.goes} <= {e.key for e in strict.goes}


@given(HISTORY, COUNTS, st.randoms(use_true_random=False))
def test_the_order_does_not_matter_and_a_second_run_finds_nothing_more(
    history: list[tuple[int, bool, str]], counts: dict[str, Any], chance: Any
) -> None:
    backups = build(history)
    found = plan(backups, policy(**counts), now=START)
    shuffled = list(backups)
    chance.shuffle(shuffled)
    assert plan(shuffled, policy(**counts), now=START) == found
    goes = {e.key for e in found.goes}
    left = [b for b in backups if b.key not in goes]
    assert not plan(left, policy(**counts), now=START).goes
