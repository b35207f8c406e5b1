"""How a long step is described: by numbers alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.jobs.run.pace import Pace
from qdrant_dr.jobs.run.progress import points_told, watched, watcher


def test_bytes_with_rate_and_time_left() -> None:
    pace = Pace()
    pace.note(0, 4 << 30, "bytes", 100.0)
    assert pace.words() == "0 B of 4.00 GiB"
    pace.note(1 << 30, 4 << 30, "bytes", 110.0)
    assert pace.words() == "1.00 GiB of 4.00 GiB, 102.40 MiB/s, 30 s left"
    assert pace.percent == 25.0
    pace.note(4 << 30, 4 << 30, "bytes", 140.0)
    assert pace.words() == "4.00 GiB"


def test_points_after_bytes_are_a_step_of_their_own() -> None:
    pace = Pace()
    pace.note(500, 1000, "bytes", 0.0)
    pace.note(20_000, 200_000, "points", 100.0)
    pace.note(40_000, 200_000, "points", 102.0)
    assert pace.words() == "40,000 of 200,000 points, 10,000/s, 16 s left"


def test_what_begins_again_is_a_step_of_its_own() -> None:
    pace = Pace()
    pace.note(900, 1000, "points", 9.0)
    pace.note(100, 1000, "points", 10.0)
    pace.note(200, 1000, "points", 11.0)
    assert pace.words() == "200 of 1,000 points, 100/s, 8 s left"


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12), st.floats(0, 10**6))))
def test_any_figures_are_said(told: list[tuple[int, int, float]]) -> None:
    pace = Pace()
    for done, total, now in told:
        pace.note(done, total, "bytes", now)
        assert pace.words()
        assert pace.percent >= 0


def test_a_watcher_hears_of_points_as_points() -> None:
    heard: list[tuple[int, int, str]] = []
    assert points_told() is None
    token = watcher.set(lambda done, total, what="bytes", /: heard.append((done, total, what)))
    try:
        assert list(watched([b"abc"], 3)) == [b"abc"]
        tell = points_told()
        assert tell
        tell(1, 2)
    finally:
        watcher.reset(token)
    assert heard == [(3, 3, "bytes"), (1, 2, "points")]
