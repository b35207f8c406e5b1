"""The whole way: prefect.yaml deployed, a worker, and a run that only the schedule started."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.prefect import PrefectServer, spawn
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(170)]


def test_a_scheduled_run_appears_and_finishes(
    prefect_api: PrefectServer, world: Callable[..., World], tmp_path: Path
) -> None:
    made = world()
    deploy_env = {"QDRANT_DR_CONFIG": made.reference, "QDR_WORK_POOL": "dr"}
    prefect_api.run("work-pool", "create", "dr", "--type", "process")
    prefect_api.run("--no-prompt", "deploy", "--all", env=deploy_env)
    soon = datetime.now(UTC) + timedelta(seconds=3)
    prefect_api.run(
        "deployment", "schedule", "create", "backup/nightly", "--interval", "86400",
        "--anchor-date", soon.isoformat(),
    )  # fmt: skip
    worker = spawn(
        "-m", "prefect", "worker", "start", "--pool", "dr",
        log=tmp_path / "worker.log", env={**prefect_api.env},
    )  # fmt: skip
    try:
        run = eventually(lambda: finished(prefect_api), until=bool, within=120)
    finally:
        worker.kill()
    assert (run["state_name"], run["auto_scheduled"]) == ("Completed", True), worker.log.read_text()
    assert run["name"] == "backup shop"
    for name in made.folders:
        assert {m.collection for m in made.manifests(name)} == {"movies", "users"}
    (end,) = made.ends("one")
    assert end.start.trigger == "schedule"
    assert end.start.scheduled_for is not None
    assert abs(end.start.scheduled_for - soon) < timedelta(seconds=60)


def finished(server: PrefectServer) -> dict[str, Any] | None:
    """The first scheduled run of `backup` that came to an end."""
    body = {
        "flows": {"name": {"any_": ["backup"]}},
        "flow_runs": {
            "state": {"type": {"any_": ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]}},
            "deployment_id": {"is_null_": False},
        },
    }
    found = httpx.post(f"{server.api}/flow_runs/filter", json=body, timeout=20).json()
    return found[0] if found else None
