"""A Prefect server of our own on loopback: the demo must never meet the user's profile or Cloud."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from qdrant_dr.jobs.target.scratch import free_ports
from qdrant_dr.parent_death import command_dying_with_parent

SQLITE = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    # a forgotten API address must fail at once, not start a second server
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    # one-row writes of the recorder stall flow runs on SQLite
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    # in memory they would be forgotten by a server that starts again, and their slots stay taken
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
        "prefect.server.concurrency.lease_storage.filesystem"
    ),
    # a look every quarter of an hour would fill the database; evidence lies in the repositories
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
    "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(90 * 24 * 3600),
}
"""Settings of a small server of one's own, and of who talks to it."""

QUIET = {
    **SQLITE,
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
}


class NotStarted(RuntimeError):
    """A server of our own does not answer; its log is in the message."""


def isolate(home: Path) -> None:
    """Forget every Prefect setting of the environment and point at a home of our own.

    Call it before anything imports `prefect`.
    """
    if "prefect" in sys.modules:
        raise RuntimeError("prefect was imported before it was isolated")
    for name in [n for n in os.environ if n.startswith("PREFECT_")]:
        del os.environ[name]
    home.mkdir(parents=True, exist_ok=True)
    os.environ.update(
        QUIET, PREFECT_HOME=str(home), PREFECT_PROFILES_PATH=str(home / "profiles.toml")
    )


@contextmanager
def private_server(home: Path, *, start_seconds: float = 300) -> Iterator[str]:
    """Run a server with its database in `home` until the block ends; yield the URL of its UI."""
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    command = ["server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command_dying_with_parent(sys.executable, "-m", "prefect", *command),
            env={**os.environ, "PREFECT_API_URL": f"{url}/api"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + start_seconds
        while not _healthy(url):
            if process.poll() is not None or time.monotonic() > deadline:
                said = (home / "server.log").read_text(errors="replace")[-2000:]
                raise NotStarted(f"the Prefect server did not start:\n{said}")
            time.sleep(0.2)
        os.environ["PREFECT_API_URL"] = f"{url}/api"
        yield url
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/health", timeout=2, trust_env=False).is_success
    except httpx.TransportError:
        return False
