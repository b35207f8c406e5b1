"""Servers for tests: real child processes on loopback that die with the test.

`sandbox_server` always works; `qdrant_server` needs a Qdrant binary in `QDRANT_BIN`.
"""

from __future__ import annotations

import ctypes
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx

PR_SET_PDEATHSIG = 1
START_SECONDS = 60.0
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that listens: `url` without a trailing slash."""

    url: str
    pid: int
    kind: Literal["sandbox", "server"]


@contextmanager
def sandbox_server(
    folder: Path, *, api_key: str | None = None, read_api_key: str | None = None
) -> Iterator[Server]:
    """A fresh, empty sandbox with its data in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "qdrant_dr.sandbox", "--port", "0"]
    command += ["--data", str(folder / "data")]
    keys = {"QDR_SANDBOX_API_KEY": api_key, "QDR_SANDBOX_READ_API_KEY": read_api_key}
    environment = {**os.environ, **{name: key for name, key in keys.items() if key}}
    with _child(command, folder, environment, speaks=True) as process:
        url = _first_line(process, folder / "stderr.log")
        yield Server(url, process.pid, "sandbox")


@contextmanager
def qdrant_server(
    folder: Path, *, api_key: str | None = None, read_api_key: str | None = None
) -> Iterator[Server]:
    """A fresh, empty Qdrant: the binary in `QDRANT_BIN`, started in an empty directory."""
    folder.mkdir(parents=True, exist_ok=True)
    http_port, grpc_port = _free_port(), _free_port()
    settings = {
        "QDRANT__STORAGE__STORAGE_PATH": str(folder / "storage"),
        "QDRANT__STORAGE__SNAPSHOTS_PATH": str(folder / "snapshots"),
        "QDRANT__SERVICE__HOST": "127.0.0.1",
        "QDRANT__SERVICE__HTTP_PORT": str(http_port),
        "QDRANT__SERVICE__GRPC_PORT": str(grpc_port),
        "QDRANT__SERVICE__ENABLE_STATIC_CONTENT": "false",
        "QDRANT__TELEMETRY_DISABLED": "true",
        "QDRANT__LOG_LEVEL": "WARN",
        "QDRANT__CLUSTER__ENABLED": "false",
        "QDRANT_INIT_FILE_PATH": str(folder / ".qdrant-initialized"),
    }
    if api_key:
        settings["QDRANT__SERVICE__API_KEY"] = api_key
    if read_api_key:
        settings["QDRANT__SERVICE__READ_ONLY_API_KEY"] = read_api_key
    binary = Path(os.environ["QDRANT_BIN"]).resolve()
    with _child([str(binary)], folder, {**os.environ, **settings}, speaks=False) as process:
        url = f"http://127.0.0.1:{http_port}"
        _await_ready(process, url, folder / "stderr.log")
        yield Server(url, process.pid, "server")


@contextmanager
def _child(
    command: list[str], folder: Path, environment: Mapping[str, str], *, speaks: bool
) -> Iterator[subprocess.Popen[str]]:
    with (folder / "stderr.log").open("w") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if speaks else log,
            stderr=log,
            text=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509
        )
    with process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _die_with_parent() -> None:
    """Runs in the child: the kernel ends it when the test process dies, however it dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _first_line(process: subprocess.Popen[str], log: Path) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        ready = selector.select(START_SECONDS)
    line = process.stdout.readline().strip() if ready else ""
    if not line.startswith("http://"):
        raise RuntimeError(f"the server did not start: {line!r}\n{log.read_text()[-2000:]}")
    return line


def _await_ready(process: subprocess.Popen[str], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=2, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"the server did not start:\n{log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
