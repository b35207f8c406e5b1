"""No schedule of writers, retention and sweeps loses a block under the law, and every broken law
does."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.vault import pack_deletion_rules as rules
from qdrant_dr.vault.pack_deletion_rules import MARGIN, ORPHAN_GRACE, Holding
from tests.support.deletion_law import Rules, run

SEEDS = 20_000 if os.environ.get("QDR_THOROUGH") else 600
LAW = Rules()
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _forgets_the_expired(holding: Holding, *, now: datetime) -> bool:
    return holding.expired_at is None and rules.protects(holding, now=now)


def _any_base(*, committed: bool, expired: bool) -> bool:
    return committed or expired


BROKEN = {
    "recipes stop protecting at the record that they go": replace(
        LAW, protects=_forgets_the_expired
    ),
    "orphans of any age are reused": replace(LAW, may_reuse=lambda *_, **__: True),
    "a commit at any age": replace(LAW, may_commit=lambda *_, **__: True),
    "no grace": replace(
        LAW,
        packs_to_delete=lambda packs, recipes, now: rules.packs_to_delete(
            packs, recipes, now=now, grace=timedelta(0)
        ),
    ),
    "what a replaced recipe named goes at once": replace(
        LAW, rewritten_lately=lambda *_, **__: False
    ),
    "what is to go is a base": replace(LAW, is_base=_any_base),
    "what is to go is a base while its manifest is there": replace(
        LAW, is_base=lambda *, committed, expired: committed
    ),
}


def test_no_schedule_loses_a_block() -> None:
    told = [run(seed, LAW) for seed in range(SEEDS)]
    assert [seed for seed, world in enumerate(told) if world.lost] == []
    # and it was no easy life: most schedules reused, expired and swept
    assert sum(w.commits for w in told) > 5 * SEEDS
    assert sum(w.swept for w in told) > 5 * SEEDS
    assert sum(w.reused for w in told) > 10 * SEEDS


@pytest.mark.parametrize("rules", BROKEN.values(), ids=BROKEN)
def test_a_broken_law_is_found_out(rules: Rules) -> None:
    assert any(run(seed, rules).lost for seed in range(SEEDS))


# the law by itself

ages = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=30))
names = st.sampled_from("abcdefgh")


@given(st.dictionaries(names, ages), st.lists(st.frozensets(names)))
def test_what_a_recipe_refers_to_or_is_young_stays(
    packs: dict[str, timedelta], recipes: list[frozenset[str]]
) -> None:
    written = {name: NOW - age for name, age in packs.items()}
    goes = rules.packs_to_delete(written, recipes, now=NOW)
    protected = frozenset().union(*recipes)
    assert goes == {n for n, age in packs.items() if age > ORPHAN_GRACE and n not in protected}
    assert rules.packs_to_delete(written, [*recipes, None], now=NOW) == frozenset()


@given(ages, ages, st.booleans(), st.booleans(), st.booleans())
def test_what_may_be_reused_outlives_the_commit(
    age: timedelta, later: timedelta, committed: bool, expired: bool, reused_of_base: bool
) -> None:
    """Whatever a writer of NOW may take, it may not commit any more once a sweep may take that."""
    of_a_base = reused_of_base and rules.is_base(committed=committed, expired=expired)
    if not of_a_base and not rules.may_reuse(NOW - age, now=NOW):
        return
    then = NOW + later
    gone = Holding("b", False, NOW - age, NOW)  # the earliest that it can be let go
    recipes = [frozenset("p")] if of_a_base and rules.protects(gone, now=then) else []
    if rules.packs_to_delete({"p": NOW - age}, recipes, now=then):
        assert not rules.may_commit(NOW, now=then - MARGIN)


hours = st.floats(0, 60).map(lambda n: n * HOUR)


def _is_lost(rules: Rules, age: timedelta, steps: list[timedelta]) -> bool:
    """A pack of a dead run is taken by a backup, and from that by a second one under way, when a
    repair replaces the first one's recipe together with its manifest. A sweep decides after that,
    before the second one has written its recipe: whether that commits without the pack."""
    began, committed, second, repaired, sweep, done = accumulate(steps, initial=NOW)
    pack = began - age
    if not (
        rules.may_reuse(pack, now=began)
        and rules.may_commit(began, now=committed)
        and rules.may_commit(second, now=done)
    ):
        return False
    rewritten = rules.rewritten_lately(
        repaired, repaired + timedelta(minutes=1), began, marked=True, now=sweep
    )
    return not rewritten and "p" in rules.packs_to_delete({"p": pack}, [frozenset("q")], now=sweep)


@given(hours, st.lists(hours, min_size=5, max_size=5))
def test_what_a_recipe_named_before_it_was_replaced_with_its_manifest_is_not_lost(
    age: timedelta, steps: list[timedelta]
) -> None:
    assert not _is_lost(LAW, age, steps)


def test_a_repair_that_leaves_no_mark_is_found_out() -> None:
    unmarked = replace(
        LAW,
        rewritten_lately=lambda *at, now, **_: rules.rewritten_lately(*at, marked=False, now=now),
    )
    story = 22 * HOUR, [n * HOUR for n in (1, 21, 1, 4, 13)]
    assert _is_lost(unmarked, *story)
    assert not _is_lost(LAW, *story)


@pytest.mark.parametrize(
    ("holding", "alive"),
    [
        (Holding("b", True, NOW - 999 * HOUR), True),
        (Holding("b", True, NOW - 999 * HOUR, NOW - 99 * HOUR), True),
        (Holding("b", False, NOW - 999 * HOUR, NOW - 47 * HOUR), True),
        (Holding("b", False, NOW - HOUR, NOW - 49 * HOUR), False),
        (Holding("b", False, NOW - 47 * HOUR), True),
        (Holding("b", False, NOW - 49 * HOUR), False),
        (Holding("b", False, NOW - 49 * HOUR, None, "it is held"), True),
        (Holding("b", False, NOW - 99 * HOUR, NOW - 49 * HOUR, "it is held"), True),
    ],
)
def test_a_recipe_protects_as_long_as_it_must(holding: Holding, alive: bool) -> None:
    assert rules.protects(holding, now=NOW) is alive


def test_nothing_is_a_base_once_it_is_to_go() -> None:
    assert rules.is_base(committed=True, expired=False)
    assert not rules.is_base(committed=True, expired=True)
    assert not rules.is_base(committed=False, expired=False)
