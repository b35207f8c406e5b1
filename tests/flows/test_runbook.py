"""Case C of the runbook on a real Prefect server: its commands ask for a run that is served."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.deployed import deploy, run_of
from tests.support.documented import blocks
from tests.support.driving import do
from tests.support.prefect import PrefectServer
from tests.support.servers import sandbox_server
from tests.support.waiting import eventually
from tests.support.world import World

pytestmark = [pytest.mark.prefect, pytest.mark.timeout(240)]
POOL = "qdrant-dr"
"""The name that `make up` gives its pool."""


def test_c_names_the_pool_that_is_there_and_the_run_is_served(
    prefect_api: PrefectServer, world: Callable[..., World], tmp_path: Path
) -> None:
    made = world()
    assert do(made, "backup", collections=("movies",)).verdict == "ok"
    ids = deploy(prefect_api, tmp_path, {"restore-prod": (made.reference, POOL)}, flow="restore")
    ask, serve = [b.text for b in blocks("runbook") if b.heading.startswith("C. ")][:2]
    pools = {p["name"] for p in prefect_api.call("POST", "/work_pools/filter", {})}
    with sandbox_server(tmp_path / "target") as target:
        told = ask.replace("http://new:6333", target.url)
        done = shell(told, prefect_api, timeout=90)
        assert done.returncode == 0, done.stderr
        query = {"deployments": {"id": {"any_": [ids["restore-prod"]]}}}
        (asked,) = prefect_api.call("POST", "/flow_runs/filter", query)
        with (tmp_path / "worker.log").open("wb") as log:
            serving = subprocess.Popen(
                ["bash", "-c", f"set -m\n{prefect()}\n{serve}"], start_new_session=True,
                stdout=log, stderr=subprocess.STDOUT, env=environment(prefect_api),
            )  # fmt: skip
        try:
            run = eventually(
                lambda: run_of(prefect_api, asked["id"]),
                until=lambda r: r["state_type"] not in ("SCHEDULED", "PENDING", "RUNNING"),
                within=120, every=1,
            )  # fmt: skip
            assert run["state_type"] == "PAUSED", (tmp_path / "worker.log").read_text()
            assert run["parameters"]["requested_by"] == "Ana Li"
        finally:
            subprocess.run(["pkill", "-KILL", "-s", str(serving.pid)], check=False)
            serving.wait(timeout=20)
    prefect_api.call("DELETE", f"/flow_runs/{asked['id']}")
    assert {p["name"] for p in prefect_api.call("POST", "/work_pools/filter", {})} == pools


def prefect() -> str:
    return f'prefect() {{ "{sys.executable}" -m prefect "$@"; }}'


def environment(server: PrefectServer) -> dict[str, str]:
    return {**os.environ, **server.env}


def shell(text: str, server: PrefectServer, *, timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"set -eu\n{prefect()}\n{text}"],
        capture_output=True, text=True, env=environment(server), timeout=timeout, check=False,
    )  # fmt: skip
