"""The whole way: prefect.yaml deployed, a worker, and a run that only the schedule started."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.prefect import PrefectServer, spawn
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(240)]

ENDED = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]


def test_a_scheduled_run_appears_and_finishes(
    prefect_api: PrefectServer, world: Callable[..., World], tmp_path: Path
) -> None:
    made = world()
    with httpx.Client(base_url=prefect_api.api, timeout=30) as api:
        api.post("/work_pools/", json={"name": "dr", "type": "process"}).raise_for_status()
        worker = spawn(
            "-m", "prefect", "worker", "start", "--pool", "dr", "--type", "process",
            log=tmp_path / "worker.log", env=prefect_api.env,
        )  # fmt: skip
        try:
            chosen = {"QDRANT_DR_CONFIG": made.reference, "QDR_WORK_POOL": "dr"}
            prefect_api.run("--no-prompt", "deploy", "--all", env=chosen)
            assert len(api.post("/deployments/filter", json={}).json()) == 5
            often = {"schedule": {"interval": 20}, "active": True, "slug": "test"}
            nightly = api.get("/deployments/name/backup/nightly").json()["id"]
            api.post(f"/deployments/{nightly}/schedules", json=[often]).raise_for_status()
            (run, *_) = eventually(lambda: ended_runs(api, nightly), within=120)
        finally:
            worker.kill()
    said = worker.log.read_text()
    assert (run["state_name"], run["auto_scheduled"]) == ("Completed", True), said
    assert run["name"] == "backup shop"
    for name in made.folders:
        assert {m.collection for m in made.manifests(name)} >= {"movies", "users"}
    end = made.ends("one")[0]
    assert end.start.trigger == "schedule"
    assert end.start.actor.startswith("prefect")
    assert end.start.scheduled_for is not None
    assert abs(end.start.scheduled_for - end.start.started_at) < timedelta(seconds=120)


def ended_runs(api: httpx.Client, deployment: str) -> list[dict[str, Any]]:
    """Its runs that came to an end, the first one first."""
    body = {
        "deployments": {"id": {"any_": [deployment]}},
        "flow_runs": {"state": {"type": {"any_": ENDED}}},
        "sort": "START_TIME_ASC",
    }
    found: list[dict[str, Any]] = api.post("/flow_runs/filter", json=body).json()
    return found
