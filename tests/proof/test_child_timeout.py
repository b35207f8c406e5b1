"""When a silent child is not waited for any longer: of numbers alone."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qdrant_dr.proof.child_timeout import LONGEST, Effort, Patience, effort_of

IDLE = Effort(1.0, 4096)


def test_nothing_done_is_a_stall_after_the_timeout() -> None:
    patience = Patience(10, 0, IDLE)
    assert patience.lost(10, IDLE) is None
    assert "neither used the processor" in (patience.lost(10.1, IDLE) or "")


@pytest.mark.parametrize("sign", [Effort(1.5, 4096), Effort(1.0, 8192)])
def test_work_begins_the_timeout_anew(sign: Effort) -> None:
    patience = Patience(10, 0, IDLE)
    assert patience.lost(9, sign) is None
    assert patience.lost(18, sign) is None
    assert patience.lost(19.1, sign) is not None


def test_threads_that_only_wake_up_are_no_work() -> None:
    patience = Patience(10, 0, IDLE)
    lost = [patience.lost(t, Effort(1.0 + t * 0.001, 4096)) for t in range(1, 12)]
    assert lost[:10] == [None] * 10
    assert lost[10] is not None


@given(st.floats(0.5, 600), st.integers(1, 50))
def test_work_without_end_is_a_stall_at_last(timeout: float, steps: int) -> None:
    patience = Patience(timeout, 0, Effort())
    end = LONGEST * timeout
    for n in range(1, steps * LONGEST):
        now = end * n / (steps * LONGEST)
        assert patience.lost(now, Effort(now, n)) is None
    assert "without any progress" in (patience.lost(end * 1.01, Effort(end * 1.01)) or "")


def test_the_kernel_is_asked() -> None:
    before = effort_of(os.getpid())
    while effort_of(os.getpid()).cpu_seconds == before.cpu_seconds:
        sum(range(10**5))
    assert effort_of(2**30) == Effort()
