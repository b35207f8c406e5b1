"""Many units in one run: few calls of Prefect's API for each, and memory that stays flat."""

from __future__ import annotations

import gc
from collections import Counter

import psutil
import pytest

from tests.support.calls import counted
from tests.support.prefect import PrefectServer, drain
from tests.support.thorough import thorough
from tests.support.units import capture_unit, outcome, performed, verify_unit

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(300)]

CALLS_A_UNIT = 1
"""A share of the slots that units hand on to each other, of their renewal, of looks whether the
API is there, and of batches of logs. docs/prefect.md has the number."""

CALLS_A_RUN = 40
"""Whatever the number of units: the flow run, its states, the limits."""


def calls_of(
    server: PrefectServer, units: int, monkeypatch: pytest.MonkeyPatch, *, captures: bool = False
) -> Counter[str]:
    """What a run of that many units, each done at once, asks of the API."""
    unit = capture_unit if captures else verify_unit
    with counted(server.api) as calls:
        done = performed(outcome, [unit(f"c{n}") for n in range(units)], monkeypatch)
        drain()
    assert [o.verdict for o in done] == ["ok"] * units
    return calls


@pytest.mark.parametrize(
    "captures", [pytest.param(False, marks=thorough), True], ids=["verify", "capture"]
)
def test_a_unit_costs_few_calls(
    in_process: PrefectServer, monkeypatch: pytest.MonkeyPatch, captures: bool
) -> None:
    calls = calls_of(in_process, 20, monkeypatch, captures=captures)
    assert calls.total() <= CALLS_A_RUN + 20 * CALLS_A_UNIT, calls
    assert 1 <= calls["POST /v2/concurrency_limits/increment-with-lease"] <= 8
    assert calls["GET /health"] <= 8, "it is asked once in a while, not for each unit"


@thorough
def test_memory_is_flat_over_two_hundred_units(
    in_process: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def resident_after(units: int) -> float:
        calls_of(in_process, units, monkeypatch)
        gc.collect()
        return psutil.Process().memory_info().rss / 2**20

    resident_after(20)
    fifty = resident_after(50)
    two_hundred = resident_after(200)
    assert two_hundred - fifty <= 40, f"{fifty:.0f} MiB after 50 units, {two_hundred:.0f} after 200"
