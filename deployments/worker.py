"""The worker of this machine: one process worker of the pool, started once, kept running, and
watched by its keeper's pid, its health page, and what the Prefect server sees of it.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from prefect.client.orchestration import SyncPrefectClient

from deployments import keeper, processes
from qdrant_dr.errors import SetupFailed, UsageError
from qdrant_dr.jobs.target.scratch import free_ports

ONLINE_SECONDS = 120.0
STOP_SECONDS = 60.0
"""A worker finishes its runs after SIGTERM, and without its server may not end at all."""


class Worker:
    """The worker whose pid, log and health address lie in `home`."""

    def __init__(self, home: Path) -> None:
        self.file = home / "worker.json"
        self.log = home / "worker.log"

    def ensure(
        self, client: SyncPrefectClient, pool: str, api: str, environ: Mapping[str, str]
    ) -> str:
        """Start a worker for the pool unless one is at work, seen by the server; return what was
        done.

        Raise UsageError if one of ours serves something else, SetupFailed if it does not come up.
        """
        if kept := processes.running(self.file):
            if (kept.get("pool"), kept.get("api")) != (pool, api):
                raise UsageError(
                    f"a worker of an earlier `qdrant-dr up` (pid {kept['pid']}) serves the pool "
                    f"{kept.get('pool')} of {kept.get('api')}",
                    "`qdrant-dr down` first, with what it was started with, or go on with that.",
                )
            if self._healthy(kept):
                self._await_online(client, pool, kept["name"], None)
                return "unchanged"
            processes.stop(self.file, patience=STOP_SECONDS)
        name = f"up-{socket.gethostname()}"
        before = _last_seen(client, pool, name)
        self._start(pool, api, name, environ)
        self._await_online(client, pool, name, before)
        return "started"

    def end_runs(self) -> int:
        """Ask the runs at work to end, and wait while the worker tells the server; their number."""
        kept = processes.running(self.file)
        workers = processes.children(int(kept["pid"])) if kept else ()
        return sum(processes.end_children(pid, patience=STOP_SECONDS) for pid in workers)

    def stop(self) -> str:
        """End it and what is left of the runs it has started. One that it took up since the others
        were asked to end is asked as well: the worker would wait for it."""
        return processes.stop(self.file, patience=STOP_SECONDS, ending=True)

    def _start(self, pool: str, api: str, name: str, environ: Mapping[str, str]) -> None:
        (port,) = free_ports(1)
        health = {"PREFECT_WORKER_WEBSERVER_HOST": "127.0.0.1"}
        health |= {"PREFECT_WORKER_WEBSERVER_PORT": str(port)}
        processes.start(
            [sys.executable, str(Path(keeper.__file__)),
             sys.executable, "-m", "prefect", "worker", "start", "--pool", pool,
             "--type", "process", "--name", name, "--with-healthcheck"],
            env={**environ, **health}, log=self.log, file=self.file,
            pool=pool, api=api, name=name, health=f"http://127.0.0.1:{port}/health",
        )  # fmt: skip

    def _healthy(self, kept: Mapping[str, Any], *, patience: float = 20) -> bool:
        """Whether it says that it polls. After an outage of the server it may take a moment."""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            try:
                if httpx.get(str(kept["health"]), timeout=5, trust_env=False).is_success:
                    return True
            except httpx.TransportError:
                pass
            time.sleep(0.5)
        return False

    def _await_online(
        self, client: SyncPrefectClient, pool: str, name: str, before: str | None
    ) -> None:
        """Until the server has heard of it, later than `before`: it remembers dead ones a while."""
        deadline = time.monotonic() + ONLINE_SECONDS
        while (seen := _last_seen(client, pool, name)) is None or seen == before:
            if not processes.running(self.file) or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace")[-1500:].strip()
                raise SetupFailed(f"worker {name} of pool {pool} did not come online:\n{said}",
                                  f"its log is {self.log}.")  # fmt: skip
            time.sleep(0.5)


def online(client: SyncPrefectClient, pool: str) -> list[str]:
    """Return the names of the workers of the pool that the server has heard of lately."""
    return [w["name"] for w in _workers(client, pool) if w["status"] == "ONLINE"]


def _last_seen(client: SyncPrefectClient, pool: str, name: str) -> str | None:
    found = [w for w in _workers(client, pool) if w["name"] == name and w["status"] == "ONLINE"]
    return found[0]["last_heartbeat_time"] if found else None


def _workers(client: SyncPrefectClient, pool: str) -> list[dict[str, Any]]:
    answer = client.request("POST", f"/work_pools/{pool}/workers/filter", json={})  # type: ignore[arg-type]
    found: list[dict[str, Any]] = answer.json()
    return found
