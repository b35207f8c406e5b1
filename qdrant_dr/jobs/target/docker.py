"""A scratch server as a container: started for one drill, removed afterwards whatever happens."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress

import httpx

from qdrant_dr.children import DOCKER, bare_environment
from qdrant_dr.config import Docker
from qdrant_dr.errors import ConfigInvalid, PlanRefused, ServerFailed

LABEL = "qdrant-dr.drill"
PIDS = 4096
START_SECONDS = 60.0
COMMAND_SECONDS = 60.0
PULL_SECONDS = 1800.0
"""`docker run` fetches an image that is not there first."""

_SETTINGS = {
    "QDRANT__STORAGE__STORAGE_PATH": "/scratch/storage",
    "QDRANT__STORAGE__SNAPSHOTS_PATH": "/scratch/snapshots",
    "QDRANT_INIT_FILE_PATH": "/scratch/initialized",
    "QDRANT__SERVICE__ENABLE_STATIC_CONTENT": "false",
    "QDRANT__TELEMETRY_DISABLED": "true",
    "QDRANT__LOG_LEVEL": "WARN",
}


def image_of(docker: Docker, version: str) -> str:
    """Return the image of one server version. Raise PlanRefused for what is no release."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise PlanRefused(
            f"there is no image of server version {version!r}",
            "drill it on a server of yours (`drill.scratch`), or with `--engine edge`.",
        )
    return f"{docker.image}:v{version}"


def run_command(
    docker: Docker, *, version: str, name: str, port: int, clustered: bool = False
) -> list[str]:
    """Build the arguments of `docker` that start the server. Pure.

    Without a key, so on loopback only; its files lie in a volume without a name, which `--rm`
    removes; nothing else can be written. `clustered`: cluster mode with one node, for shard keys.
    """
    settings = _SETTINGS | {"QDRANT__CLUSTER__ENABLED": str(clustered).lower()}
    command = [
        "run", "--rm", "--detach", "--name", name, "--label", f"{LABEL}={name}",
        "--memory", f"{int(docker.memory)}b", "--memory-swap", f"{int(docker.memory)}b",
        "--cpus", f"{docker.cpus:g}", "--pids-limit", str(PIDS),
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--read-only", "--volume", "/scratch", "--tmpfs", "/tmp",  # noqa: S108  in the container
        "--publish", f"127.0.0.1:{port}:6333",
    ]  # fmt: skip
    for key, value in settings.items():
        command += ["--env", f"{key}={value}"]
    command.append(image_of(docker, version))
    if clustered:
        command += ["./entrypoint.sh", "--uri", "http://127.0.0.1:6335"]
    return command


@contextmanager
def docker_server(
    docker: Docker,
    *,
    version: str,
    name: str,
    port: int,
    clustered: bool = False,
    dead: Callable[[str], bool],
) -> Iterator[str]:
    """Yield the URL of a fresh server in a container, which is removed at the end.

    `dead` says of a container of another drill whether that was killed: then it is removed, too.
    Raise ConfigInvalid without a docker command, ServerFailed in the words of docker.
    """
    command = run_command(docker, version=version, name=name, port=port, clustered=clustered)
    for other in _running():
        if other != name and dead(other):
            _remove(other)
    try:
        _docker(command, timeout=PULL_SECONDS)
        url = f"http://127.0.0.1:{port}"
        _await_ready(url, name, image_of(docker, version))
        yield url
    finally:
        _remove(name)


def _running() -> Collection[str]:
    """Names of the containers that drills made, of any machine that uses this daemon."""
    found = _docker(["ps", "--all", "--filter", f"label={LABEL}", "--format", "{{.Names}}"])
    return found.split()


def _remove(name: str) -> None:
    """Best effort: what is left is found by its label by the next drill."""
    with suppress(ServerFailed):
        _docker(["rm", "--force", "--volumes", name])


def _docker(arguments: Sequence[str], *, timeout: float = COMMAND_SECONDS) -> str:
    program = shutil.which("docker")
    if program is None:
        raise ConfigInvalid(
            "drill.docker is configured and there is no `docker` command on this machine",
            "install it, or set `drill.scratch`, or QDRANT_BIN instead of `drill.docker`.",
        )
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, encoding="utf-8", errors="replace",
            timeout=timeout, check=False, stdin=subprocess.DEVNULL,
            env=bare_environment({}, also=DOCKER, importing=False),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise _failed(arguments, f"no end after {timeout:.0f} s") from None
    if done.returncode:
        raise _failed(arguments, done.stderr.strip()[-500:] or f"exit {done.returncode}")
    return done.stdout


def _failed(arguments: Sequence[str], words: str) -> ServerFailed:
    return ServerFailed(
        f"`docker {arguments[0]}` failed: {words}",
        "is the daemon running, may you use it, and is the image there? try `docker info`.",
    )


def _await_ready(url: str, name: str, image: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/readyz", timeout=2, trust_env=False).is_success:
                return
        time.sleep(0.1)
    try:
        log = _docker(["logs", "--tail", "20", name]).strip()[-500:]
    except ServerFailed as e:
        log = e.message
    raise ServerFailed(
        f"the server in {image} did not answer within {START_SECONDS:.0f} s: {log}",
        "is the daemon on this machine, and `drill.docker.memory` enough?",
    )
