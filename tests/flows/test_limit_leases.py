"""Slots of limits on a real server: handed on, within the limit everywhere, given back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextvars import copy_context
from datetime import timedelta
from pathlib import Path

import pytest
from prefect import flow, task
from prefect import settings as s
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client

from tasks import limit_leases
from tasks.concurrency_limits import hold_limit_slots
from tests.support.calls import counted
from tests.support.prefect import Child, PrefectServer, free_port, spawn
from tests.support.waiting import eventually

pytestmark = pytest.mark.prefect

HOUR = timedelta(hours=1)
ASKED = "POST /v2/concurrency_limits/increment-with-lease"


@pytest.fixture
def limited(in_process: PrefectServer) -> Iterator[PrefectServer]:
    """Two limits: `narrow` has one slot, `wide` has two."""
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name("narrow", 1)
        client.upsert_global_concurrency_limit_by_name("wide", 2)
    yield in_process
    limit_leases.let_go()


def taken(server: PrefectServer) -> dict[str, int]:
    found = server.call("POST", "/v2/concurrency_limits/filter", {"limit": 200})
    return {c["name"]: c["active_slots"] for c in found if c["name"] in ("narrow", "wide")}


def at_once(units: int, seconds: float, *names: str) -> list[tuple[float, float]]:
    """Begin and end of each of so many units, all begun at the same time."""
    spans = []

    def unit() -> None:
        with hold_limit_slots(names, within=HOUR):
            begun = time.monotonic()
            time.sleep(seconds)
            spans.append((begun, time.monotonic()))

    threads = [threading.Thread(target=copy_context().run, args=(unit,)) for _ in range(units)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(spans) == units
    return sorted(spans)


def most_at_once(spans: list[tuple[float, float]]) -> int:
    edges = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    now = most = 0
    for _, change in edges:
        now += change
        most = max(most, now)
    return most


def test_a_slot_is_handed_from_unit_to_unit(limited: PrefectServer) -> None:
    with counted(limited.api) as calls:
        spans = at_once(30, 0.05, "wide")
        limit_leases.let_go()
    assert most_at_once(spans) == 2
    assert calls[ASKED] <= 3, calls
    assert taken(limited) == {"narrow": 0, "wide": 0}


def test_a_slot_that_nobody_wants_goes_back_by_itself(limited: PrefectServer) -> None:
    """Also when the task run that took it is over, and its client of the API is closed."""

    @task(cache_policy=NO_CACHE)
    def unit() -> dict[str, int]:
        with hold_limit_slots(["narrow"], within=HOUR):
            return taken(limited)

    @flow
    def run() -> dict[str, int]:
        return unit.submit().result()

    assert run() == {"narrow": 1, "wide": 0}
    eventually(lambda: not taken(limited)["narrow"], within=20)


def test_a_kept_slot_is_not_in_the_way_of_other_units_of_this_process(
    limited: PrefectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limit_leases, "IDLE", 30.0)
    with hold_limit_slots(["narrow", "wide"], within=HOUR):
        assert taken(limited) == {"narrow": 1, "wide": 1}
    start = time.monotonic()
    with hold_limit_slots(["narrow"], within=HOUR):
        assert taken(limited) == {"narrow": 1, "wide": 0}
    assert time.monotonic() - start < 10


def test_a_unit_that_gets_no_slot_in_time_goes_on(
    limited: PrefectServer, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        hold_limit_slots(["narrow"], within=HOUR),
        hold_limit_slots(["narrow"], within=timedelta(seconds=1)),
    ):
        assert taken(limited)["narrow"] == 1
    assert "no slot of narrow within 1 s, going on without" in caplog.text


def test_a_lease_that_the_server_took_away_is_not_handed_on(
    limited: PrefectServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(limit_leases, "RENEW", 0.5)
    with hold_limit_slots(["narrow"], within=HOUR):
        (lease,) = limit_leases.limit_leases()._held
        with get_client(sync_client=True) as client:
            client.release_concurrency_slots_with_lease(lease.id)
        eventually(lambda: "slots of narrow are lost" in caplog.text, within=20)
    with counted(limited.api) as calls, hold_limit_slots(["narrow"], within=HOUR):
        assert taken(limited)["narrow"] == 1
    assert calls[ASKED] == 1


def test_without_a_server_units_go_on(caplog: pytest.LogCaptureFixture) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/api"
    with (
        s.temporary_settings({s.PREFECT_API_URL: nowhere}),
        hold_limit_slots(["narrow"], within=HOUR),
    ):
        pass
    assert "no slot of narrow, going on without" in caplog.text


CHILD = """
import json, sys, time
from datetime import timedelta
from pathlib import Path
from tasks import limit_leases
from tasks.concurrency_limits import hold_limit_slots
limit_leases.LONGEST = 2.0
spans, stop = [], Path(sys.argv[2])
while len(spans) < int(sys.argv[3]) and not stop.exists():
    with hold_limit_slots(["narrow"], within=timedelta(hours=1)):
        begun = time.monotonic()
        time.sleep(0.1)
        spans.append((begun, time.monotonic()))
Path(sys.argv[1]).write_text(json.dumps(spans))
"""


def test_two_processes_share_a_limit(limited: PrefectServer, tmp_path: Path) -> None:
    """Never more units at once than the limit, and a busy process lets another one in."""
    stop = tmp_path / "stop"

    def work(units: int) -> Child:
        file = tmp_path / f"{units}.json"
        arguments = [str(file), str(stop), str(units)]
        return spawn("-c", CHILD, *arguments, log=file.with_suffix(".log"), env=limited.env)

    busy = work(10_000)
    try:
        eventually(lambda: taken(limited)["narrow"], within=60)
        other = work(5)
        try:
            other.process.wait(timeout=90)
        finally:
            other.kill()
        stop.touch()
        busy.process.wait(timeout=60)
    finally:
        busy.kill()
    mine, others = (json.loads((tmp_path / f"{n}.json").read_text()) for n in (10_000, 5))
    assert len(others) == 5
    assert mine[0][0] < others[0][0] < mine[-1][1]
    assert most_at_once(mine + others) == 1
    assert taken(limited)["narrow"] == 0, "given back at the end of the process"
