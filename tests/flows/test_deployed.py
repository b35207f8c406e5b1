"""The whole way: prefect.yaml deployed, a worker, and a run that only the schedule started."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tasks.deployment_names import FORMER
from tests.support.deployed import ENDED, worker
from tests.support.prefect import PrefectServer
from tests.support.thorough import thorough
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(600)]


@thorough  # tests/flows/test_up.py sees what is scheduled run
def test_a_scheduled_run_appears_and_finishes(
    prefect_api: PrefectServer, world: Callable[..., World], tmp_path: Path
) -> None:
    made = world()
    call = prefect_api.call
    call("POST", "/work_pools/", {"name": "dr", "type": "process"})
    chosen = {"QDRANT_DR_CONFIG": made.reference, "QDR_WORK_POOL": "dr", "QDR_CLUSTER": "shop"}
    with worker(prefect_api, "dr", tmp_path / "worker.log") as running:
        prefect_api.run("--no-prompt", "deploy", "--all", env=chosen)
        deployed = {d["name"] for d in call("POST", "/deployments/filter", {})}
        assert deployed >= {f"{verb}-shop" for verb in FORMER}
        often = {"schedule": {"interval": 20}, "active": True, "slug": "test"}
        nightly = call("GET", "/deployments/name/backup/backup-shop")["id"]
        (added,) = call("POST", f"/deployments/{nightly}/schedules", [often])
        (run, *_) = eventually(lambda: ended_runs(prefect_api, nightly), within=240, every=1)
    said = running.log.read_text()
    assert (run["state_name"], run["auto_scheduled"]) == ("Completed", True), said
    assert run["name"] == "backup shop (scheduled)"
    for name in made.folders:
        assert {m.collection for m in made.manifests(name)} >= {"movies", "users"}
    end = made.ends("one")[0]
    assert end.start.trigger == "schedule"
    assert end.start.actor.startswith("prefect")
    assert end.start.scheduled_for is not None
    # a worker takes a run ten seconds before it is due
    early = timedelta(seconds=-10)
    assert early <= end.start.started_at - end.start.scheduled_for < timedelta(seconds=240)
    call("DELETE", f"/deployments/{nightly}/schedules/{added['id']}")


def ended_runs(server: PrefectServer, deployment: str) -> list[dict[str, Any]]:
    """Its runs that came to an end, the first one first."""
    body = {
        "deployments": {"id": {"any_": [deployment]}},
        "flow_runs": {"state": {"type": {"any_": list(ENDED)}}},
        "sort": "START_TIME_ASC",
    }
    found: list[dict[str, Any]] = server.call("POST", "/flow_runs/filter", body)
    return found


@thorough
def test_prefect_deploy_unpauses_and_keeps_a_schedule_off(
    prefect_api: PrefectServer, world: Callable[..., World]
) -> None:
    """What deployments/README.md says of it."""
    call = prefect_api.call
    if not call("POST", "/work_pools/filter", {"work_pools": {"name": {"any_": ["dr"]}}}):
        call("POST", "/work_pools/", {"name": "dr", "type": "process"})
    chosen = {"QDRANT_DR_CONFIG": world().reference, "QDR_WORK_POOL": "dr", "QDR_CLUSTER": "shop"}
    prefect_api.run("--no-prompt", "deploy", "--all", env=chosen)
    hourly = call("GET", "/deployments/name/replicate/replicate-shop")
    (schedule,) = hourly["schedules"]
    call("PATCH", f"/deployments/{hourly['id']}/schedules/{schedule['id']}", {"active": False})
    call("POST", f"/deployments/{hourly['id']}/pause_deployment")
    prefect_api.run("--no-prompt", "deploy", "--all", env=chosen)
    again = call("GET", "/deployments/name/replicate/replicate-shop")
    assert (again["id"], again["paused"]) == (hourly["id"], False)
    assert [s["active"] for s in again["schedules"]] == [False]
