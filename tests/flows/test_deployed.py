"""The whole way: prefect.yaml deployed, a worker, and a run that only the schedule started."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.flows.test_prefect_yaml import SPEC
from tests.support.prefect import PrefectServer, spawn
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(240)]

ENDED = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]


def test_a_scheduled_run_appears_and_finishes(
    prefect_api: PrefectServer, world: Callable[..., World], tmp_path: Path
) -> None:
    made = world()
    call = prefect_api.call
    call("POST", "/work_pools/", {"name": "dr", "type": "process"})
    worker = spawn(
        "-m", "prefect", "worker", "start", "--pool", "dr", "--type", "process",
        log=tmp_path / "worker.log", env=prefect_api.env,
    )  # fmt: skip
    try:
        chosen = {"QDRANT_DR_CONFIG": made.reference, "QDR_WORK_POOL": "dr"}
        prefect_api.run("--no-prompt", "deploy", "--all", env=chosen)
        deployed = {d["name"] for d in call("POST", "/deployments/filter", {})}
        assert deployed == {d["name"] for d in SPEC["deployments"]}
        often = {"schedule": {"interval": 20}, "active": True, "slug": "test"}
        nightly = call("GET", "/deployments/name/backup/nightly")["id"]
        call("POST", f"/deployments/{nightly}/schedules", [often])
        (run, *_) = eventually(lambda: ended_runs(prefect_api, nightly), within=120)
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


def ended_runs(server: PrefectServer, deployment: str) -> list[dict[str, Any]]:
    """Its runs that came to an end, the first one first."""
    body = {
        "deployments": {"id": {"any_": [deployment]}},
        "flow_runs": {"state": {"type": {"any_": ENDED}}},
        "sort": "START_TIME_ASC",
    }
    found: list[dict[str, Any]] = server.call("POST", "/flow_runs/filter", body)
    return found
