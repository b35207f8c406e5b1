"""A real Prefect server, and workers, as child processes that die with the tests.

Imported before anything imports `prefect` (see tests/conftest.py), it keeps the user's profile,
home and Cloud out of sight. The settings are those of a small self-hosted server on SQLite; without
the two of the recorder, flow runs stall for seconds on a busy database.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.forked import Forked, fork, run_forked

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "100",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "5",
    # what tests wait for: a run is called late, an event can be read, a silence is noticed
    "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "2",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_FLUSH_INTERVAL": "1",
    "PREFECT_SERVER_EVENTS_PROACTIVE_GRANULARITY": "PT2S",
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "3",
    # in memory they would be forgotten by a server that starts again, and their slots stay taken
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": (
        "prefect.server.concurrency.lease_storage.filesystem"
    ),
    "PREFECT_SERVER_SERVICES_SCHEDULER_DEPLOYMENT_BATCH_SIZE": "20",
    "PREFECT_WORKER_QUERY_SECONDS": "2",
    "PREFECT_CLIENT_MAX_RETRIES": "1",
    "PREFECT_LOGGING_TO_API_BATCH_INTERVAL": "0.5",
}
_ROOT = Path(__file__).parents[2]
_PR_SET_PDEATHSIG = 1


def isolate() -> Path:
    """Point this process and its children at an empty Prefect home. Call it before the import."""
    home = Path(tempfile.mkdtemp(prefix="qdr-prefect-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    for name in [n for n in os.environ if n.startswith("PREFECT_")]:
        del os.environ[name]
    os.environ.update(
        QUIET, PREFECT_HOME=str(home), PREFECT_PROFILES_PATH=str(home / "profiles.toml")
    )
    return home


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Child:
    """A process group that ends with the test, its output in `log`."""

    process: subprocess.Popen[bytes] | Forked
    log: Path

    def kill(self) -> None:
        """End it and everything it started, at once."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=20)


def spawn(*arguments: str, log: Path, env: Mapping[str, str]) -> Child:
    """Start `python ...` in its own process group."""
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=_ROOT,
            env={**os.environ, "PYTHONPATH": str(_ROOT), **env},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509
        )
    return Child(process, log)


def spawn_forked(program: str, *arguments: str, log: Path, env: Mapping[str, str]) -> Child:
    """Start one of the programs of `forked` in its own process group."""
    with log.open("ab") as out, Path(os.devnull).open("rb") as nothing:
        pid, ends = fork(
            program, list(arguments), _ROOT,
            {**os.environ, "PYTHONPATH": str(_ROOT), **env},
            (nothing.fileno(), out.fileno(), out.fileno()), session=True,
        )  # fmt: skip
    return Child(Forked(pid, ends), log)


@dataclass
class PrefectServer:
    """A running server; `env` is what a client process needs to talk to it."""

    home: Path
    port: int
    child: Child

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}/api"

    @property
    def env(self) -> dict[str, str]:
        return {
            **QUIET,
            "PREFECT_HOME": str(self.home),
            "PREFECT_PROFILES_PATH": str(self.home / "profiles.toml"),
            "PREFECT_API_URL": self.api,
        }

    @property
    def database(self) -> Path:
        return self.home / "prefect.db"

    def start(self, within: float = 240) -> None:
        """Also once more after its child was killed: the same port, the same database."""
        self.child = spawn_forked(
            "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port),
            log=self.home / "server.log",
            env={**self.env, "PREFECT_SERVER_DATABASE_CONNECTION_URL":
                 f"sqlite+aiosqlite:///{self.database}"},
        )  # fmt: skip
        _wait_healthy(self, within)

    def call(self, method: str, path: str, body: object = None) -> Any:
        """The answer of its API. A server on SQLite says 503 while its database is busy."""
        for _ in range(40):
            # plain HTTP: reading the authorities for each call would cost more than the call
            try:
                answer = httpx.request(
                    method, f"{self.api}{path}", json=body, timeout=60, verify=False
                )
            except httpx.ReadTimeout:
                if method != "GET":
                    raise
                continue
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            time.sleep(0.5)
        return answer.raise_for_status().json() if answer.content else None

    def run(
        self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 240
    ) -> str:
        """Run `python -m prefect ...` against it to its end; its output. Raise if it fails."""
        done = run_forked(
            [sys.executable, "-m", "prefect", *arguments],
            cwd=_ROOT,
            env={
                **os.environ,
                "PYTHONPATH": str(_ROOT),
                **self.env,
                "PREFECT_CLIENT_MAX_RETRIES": "5",  # Prefect's own: a busy SQLite says 503
                **(env or {}),
            },
            timeout=timeout,
        )
        if done.returncode:
            raise AssertionError(f"prefect {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout


@contextmanager
def prefect_server(
    home: Path, *, like: Path | None = None, start_within: float = 240
) -> Iterator[PrefectServer]:
    """A server with its database in `home`; gone afterwards.

    A copy of the database of another one (`like`) saves it the seconds of all migrations.
    """
    home.mkdir(parents=True, exist_ok=True)
    if like is not None and like.exists():
        copy_database(like, home / "prefect.db")
    server = PrefectServer(home, free_port(), child=None)  # type: ignore[arg-type]
    try:
        server.start(start_within)
        yield server
    finally:
        server.child.kill()


def copy_database(existing: Path, copy: Path) -> None:
    """Also while a server writes to it; the copy is there whole or not at all."""
    half = copy.with_name(f"{copy.name}.{os.getpid()}")
    with closing(sqlite3.connect(existing)) as old, closing(sqlite3.connect(half)) as new:
        old.backup(new)
    half.replace(copy)


def _wait_healthy(server: PrefectServer, within: float) -> None:
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        if server.child.process.poll() is not None:
            break
        try:
            if httpx.get(f"{server.api}/health", timeout=2, verify=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError(f"no Prefect server: {server.child.log.read_text()[-2000:]}")


def drain() -> None:
    """Send what this process still has for the server: logs and events are sent by threads."""
    import inspect

    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker
    from prefect.utilities.asyncutils import run_coro_as_sync

    async def both() -> None:
        for worker in (APILogWorker, EventsWorker):
            if inspect.isawaitable(pending := worker.drain_all()):
                await pending

    run_coro_as_sync(both())
