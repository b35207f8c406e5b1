"""What the lost points have in common is only said if exact counts show it."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from qdrant_dr.jobs.compare_points import separating_values
from qdrant_dr.jobs.compare_points.separating_values import (
    Candidate,
    RemovedValues,
    Separating,
    separating,
)
from tests.support.thorough import examples


def having(payload: Any, name: str, value: Any) -> bool:
    """Whether a payload has a value in a field, by the plain way."""
    for key in name.split("."):
        payload = payload.get(key) if isinstance(payload, dict) else None
    found = payload if isinstance(payload, list) else [payload]
    return any(type(v) is type(value) and v == value for v in found)


plain = st.sampled_from(["x", "y", 1, 0, True, False])
payloads = st.fixed_dictionaries(
    {},
    optional={
        "city": plain | st.lists(plain, max_size=3),
        "deep": st.fixed_dictionaries({}, optional={"flag": plain, "x.y": plain}),
        "float": st.just(1.0),
    },
)


def found(removed: list[Any], kept: list[Any]) -> tuple[Separating, ...]:
    values = RemovedValues()
    values.add(removed)
    counted = [
        (c, sum(having(p, c.field, c.value) for p in (*removed, *kept)))
        for c in values.candidates()
    ]
    return separating(counted, len(removed), len(removed) + len(kept))


@settings(max_examples=examples(100), deadline=None)
@given(removed=st.lists(payloads | st.none(), min_size=1), kept=st.lists(payloads))
def test_what_is_named_separates_by_exact_counts(removed: list[Any], kept: list[Any]) -> None:
    named = found(removed, kept)
    assert len(named) <= 3
    for s in named:
        assert s.removed == sum(having(p, s.field, s.value) for p in removed)
        assert s.kept == sum(having(p, s.field, s.value) for p in kept)
        assert s.removed / len(removed) - s.kept / len(kept) >= 0.5
        assert (s.of_removed, s.of_kept) == (len(removed), len(kept))


def test_the_words() -> None:
    (all_of_them,) = found([{"city": "x"}] * 4, [{"city": "y"}] * 3)
    assert all_of_them.words == 'all have city = "x", and none of the 3 kept'
    (most,) = found([{"n": 7}] * 3 + [{}], [{"n": 7}] + [{}] * 9)
    assert most.words == "3 of them have n = 7, as does 1 of the 10 kept"
    assert found([{"city": "x"}] * 4, [{"city": "x"}] * 3) == ()
    assert found([{"city": "x"}], []) == ()


def test_a_field_with_many_values_is_left_out(monkeypatch: Any) -> None:
    monkeypatch.setattr(separating_values, "MOST_VALUES", 5)
    removed = [{"id": n, "city": "x"} for n in range(10)]
    assert [s.field for s in found(removed, [{}])] == ["city"]


def test_filters_and_payloads_agree_on_booleans() -> None:
    candidate = Candidate("live", True, 3)
    assert candidate.of({"live": True})
    assert candidate.of({"live": [False, True]})
    assert not candidate.of({"live": 1})
    assert not candidate.of(None)
