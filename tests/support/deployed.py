"""Deployments of prefect.yaml on a real server, a process worker, and what became of their runs."""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.support.prefect import PrefectServer, spawn_forked
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
ENDED = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


def deploy(
    server: PrefectServer,
    folder: Path,
    wanted: Mapping[str, tuple[str, str]],
    *,
    flow: str = "backup",
) -> dict[str, str]:
    """Deploy a flow's entry of prefect.yaml, without its schedule, once for each of `wanted`:
    name -> (configuration, work pool). Return the ids by name."""
    call = server.call
    spec = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    entry = next(d for d in spec["deployments"] if d["entrypoint"] == f"flows.{flow}.{flow}")
    made = []
    for name, (config, pool) in wanted.items():
        one = {**copy.deepcopy(entry), "name": name, "schedules": []}
        one["parameters"]["config"] = config
        one["work_pool"]["name"] = pool
        made.append(one)
        if not call("POST", "/work_pools/filter", {"work_pools": {"name": {"any_": [pool]}}}):
            call("POST", "/work_pools/", {"name": pool, "type": "process"})
    file = folder / "prefect.yaml"
    file.write_text(yaml.safe_dump({"name": "qdrant-dr", "pull": [], "deployments": made}))
    server.run("--no-prompt", "deploy", "--all", "--prefect-file", str(file))
    return {n: call("GET", f"/deployments/name/{flow}/{n}")["id"] for n in wanted}


@dataclass
class Worker:
    """A process worker and the flow runs it started, each in a process group of its own."""

    pid: int
    log: Path

    def flows(self) -> list[psutil.Process]:
        """Everything below the worker."""
        with suppress(psutil.NoSuchProcess):
            return psutil.Process(self.pid).children(recursive=True)
        return []

    def kill(self) -> None:
        """SIGKILL for it and all of its flow runs: the machine is gone."""
        every = self.flows()
        with suppress(psutil.NoSuchProcess):
            every.insert(0, psutil.Process(self.pid))
        for process in every:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(every, timeout=20)

    def terminate(self) -> None:
        """SIGTERM for the worker alone, as a rolling update does."""
        os.kill(self.pid, signal.SIGTERM)


@contextmanager
def worker(
    server: PrefectServer, pool: str, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[Worker]:
    """A worker of the pool; it and all it started are gone afterwards."""
    child = spawn_forked(
        "prefect", "worker", "start", "--pool", pool, "--type", "process", "--name", pool,
        log=log, env={**server.env, **(env or {})},
    )  # fmt: skip
    running = Worker(child.process.pid, log)
    try:
        yield running
    finally:
        running.kill()
        child.process.wait(timeout=20)


def ask_for_run(server: PrefectServer, deployment: str, **parameters: object) -> str:
    """What the UI's button does: a run of the deployment, now. Its id."""
    body = {"parameters": parameters, "state": {"type": "SCHEDULED", "name": "Scheduled"}}
    return str(server.call("POST", f"/deployments/{deployment}/create_flow_run", body)["id"])


def run_of(server: PrefectServer, run: str) -> dict[str, Any]:
    found: dict[str, Any] = server.call("GET", f"/flow_runs/{run}")
    return found


def ended(server: PrefectServer, run: str, *, within: float = 240) -> dict[str, Any]:
    """The run once it is in a final state."""
    return eventually(
        lambda: run_of(server, run),
        until=lambda r: r["state_type"] in ENDED,
        within=within,
        every=1,
    )
