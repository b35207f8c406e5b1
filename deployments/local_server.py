"""A Prefect server of this machine, for who has none: started once, reused, never the user's.

Its database, log and address lie in the folder of `qdrant-dr up`; it listens on loopback only. It
keeps its port, so that whoever has exported its address finds it there again.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from deployments import processes
from deployments.private_server import SQLITE
from qdrant_dr.errors import SetupFailed
from qdrant_dr.jobs.target.scratch import free_ports

USUAL_PORT = 4200
START_SECONDS = 180.0
"""A new database takes its migrations, on a small machine longer than one would think."""


class LocalServer:
    """The server that lives in `home`, whether it runs or not."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home / "server.log"
        self.file = home / "server.json"
        self._port = home / "port"

    @property
    def api(self) -> str | None:
        """Return its address, which lasts; None if there never was one."""
        try:
            return f"http://127.0.0.1:{int(self._port.read_text())}/api"
        except (FileNotFoundError, ValueError):
            return None

    def environment(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return what a process needs to talk to it, or to be it, with nothing of the user's
        profile."""
        kept = {k: v for k, v in environ.items() if not k.startswith("PREFECT_")}
        prefect = self.home / "prefect"
        kept |= SQLITE
        kept |= {"PREFECT_HOME": str(prefect), "PREFECT_PROFILES_PATH": str(prefect / "none.toml")}
        return kept if self.api is None else {**kept, "PREFECT_API_URL": self.api}

    def ensure(self, environ: Mapping[str, str]) -> str:
        """Start it unless it runs, and return what was done. Raise SetupFailed with the end of its
        log if it does not start."""
        if processes.running(self.file) and self.api:
            self._await_healthy()
            return "unchanged"
        (self.home / "prefect").mkdir(parents=True, exist_ok=True)
        port = self._choose_port()
        self._port.write_text(f"{port}\n")
        command = ("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
        processes.start(
            [sys.executable, *command],
            env=self.environment(environ), log=self.log, file=self.file,
        )  # fmt: skip
        self._await_healthy()
        return "started"

    def stop(self) -> str:
        """End it; its data stays."""
        return processes.stop(self.file, patience=20)

    def _choose_port(self) -> int:
        before = [] if self.api is None else [httpx.URL(self.api).port or USUAL_PORT]
        for port in (*before, USUAL_PORT):
            if _free(port):
                return port
        return free_ports(1)[0]

    def _await_healthy(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while not _healthy(str(self.api)):
            if not processes.running(self.file) or time.monotonic() > deadline:
                said = self.log.read_text(errors="replace")[-1500:].strip()
                raise SetupFailed(f"the Prefect server does not answer at {self.api}:\n{said}",
                                  f"its log is {self.log}; `qdrant-dr down` ends it.")  # fmt: skip
            time.sleep(0.3)


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _healthy(api: str) -> bool:
    try:
        return httpx.get(f"{api}/health", timeout=2, trust_env=False).is_success
    except httpx.TransportError:
        return False
