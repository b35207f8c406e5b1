"""Somewhere disposable to restore to: a server declared so, or a child process of ours."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from qdrant_dr.cluster import DRILL_PREFIX, Node, collection_names, drop_target, leftovers
from qdrant_dr.config import Config
from qdrant_dr.errors import ConfigInvalid, DRError, NodeUnreachable, TargetNotDisposable
from qdrant_dr.jobs.capture import node_of
from qdrant_dr.jobs.run import utc_now
from qdrant_dr.leash import leashed
from qdrant_dr.repository.names import time_of

START_SECONDS = 60.0
QUIET = {
    "QDRANT__TELEMETRY_DISABLED": "true",
    "QDRANT__LOG_LEVEL": "WARN",
    "QDRANT__CLUSTER__ENABLED": "false",
    "QDRANT__SERVICE__ENABLE_STATIC_CONTENT": "false",
    "QDRANT__SERVICE__HOST": "127.0.0.1",
}


@contextmanager
def drill_target(config: Config, folder: Path, dead: Collection[str] = ()) -> Iterator[Node]:
    """A node to restore to, swept of what killed drills left; `dead` are drills of this machine.

    `drill.scratch.url` if there is one; else a child process of `$QDRANT_BIN`; else the sandbox,
    which measures no RTO. Raise TargetNotDisposable if it is not declared disposable, is a node of
    the cluster, or holds anything that is not a drill's.
    """
    scratch = config.drill.scratch
    if scratch is not None:
        if not scratch.disposable:
            raise TargetNotDisposable(
                f"{scratch.url} is not declared disposable",
                "if everything on it may be lost, say so: `drill.scratch.disposable: true`.",
            )
        with Node(scratch.url, scratch.api_key, None, config.cluster.timeouts) as node:
            refuse_source(config, node)
            refuse_inhabited(node, dead, now=utc_now())
            yield node
    else:
        with child_server(folder) as url, Node(url, timeouts=config.cluster.timeouts) as node:
            yield node


def refuse_source(config: Config, target: Node) -> None:
    """Raise TargetNotDisposable if the target is a node of the cluster, by address or by itself.

    A server draws a telemetry id when it starts: equal ids are one process, whatever its names.
    """
    for url in config.cluster.nodes:
        same = _address(url) == _address(target.url)
        if not same:
            try:
                with node_of(config, url) as node:
                    mine, theirs = _identity(target), _identity(node)
            except DRError:
                continue  # a drill must work while the cluster is dead or half dead
            same = mine is not None and mine == theirs
        if same:
            raise TargetNotDisposable(
                f"{target.url} is a node of cluster {config.cluster.name!r}",
                "a drill never restores into its source; give another server.",
            )


def refuse_inhabited(target: Node, dead: Collection[str], *, now: datetime) -> None:
    """Drop what killed drills left; raise TargetNotDisposable if anything else is there.

    A drill of this machine is known to be dead by its lock; of another machine's, one that began
    longer ago than any call may take. A living one is left alone, and so are kept targets.
    """
    for name in leftovers(target):
        if name.removeprefix(DRILL_PREFIX) not in dead and not _long_ago(name, target, now):
            raise TargetNotDisposable(
                f"another drill is at work on {target.url}: {name}",
                "wait for its end; if it died on another machine, delete that collection.",
            )
        drop_target(target, name)
    if others := [n for n in collection_names(target) if not n.startswith(DRILL_PREFIX)]:
        raise TargetNotDisposable(
            f"{target.url} holds {len(others)} collections that no drill made: "
            + ", ".join(others[:5]),
            "delete what is not needed there any more (`--keep` leaves its target behind), or give "
            "an empty server.",
        )


def _long_ago(name: str, target: Node, now: datetime) -> bool:
    run_id = name.removeprefix(DRILL_PREFIX).rpartition("-")[0]
    try:
        began = time_of(run_id[:16].upper() + run_id[16:])
    except ValueError:
        return True  # no drill of ours names them so any more
    return now - began > target.timeouts.snapshot


def _identity(node: Node) -> str | None:
    found = node.ask("GET", "/telemetry", "read which process it is")
    identity = found.get("id") if isinstance(found, dict) else None
    return identity if isinstance(identity, str) else None


def _address(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url)
    host = parts.hostname or ""
    with suppress(OSError):  # an unknown name is compared as it is
        host = socket.gethostbyname(host)
    return host, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


@contextmanager
def child_server(folder: Path) -> Iterator[str]:
    """URL of a fresh server on loopback that dies with us: `$QDRANT_BIN`, else the sandbox."""
    folder.mkdir(parents=True)
    binary = os.environ.get("QDRANT_BIN")
    port, grpc_port = free_ports(2)
    importable = os.pathsep.join(p for p in sys.path if p)  # it starts in another folder
    environment = {**os.environ, **QUIET, "PYTHONPATH": importable}
    if binary:
        if not os.access(binary, os.X_OK):
            raise ConfigInvalid(f"QDRANT_BIN={binary} is not an executable", "unset or correct it.")
        program = [str(Path(binary).resolve())]
        environment |= {
            "QDRANT__STORAGE__STORAGE_PATH": str(folder / "storage"),
            "QDRANT__STORAGE__SNAPSHOTS_PATH": str(folder / "snapshots"),
            "QDRANT__SERVICE__HTTP_PORT": str(port),
            "QDRANT__SERVICE__GRPC_PORT": str(grpc_port),
            "QDRANT_INIT_FILE_PATH": str(folder / ".initialized"),
        }
    else:
        program = [sys.executable, "-m", "qdrant_dr.sandbox"]
        program += ["--port", str(port), "--data", str(folder / "data")]
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            leashed(*program),
            cwd=folder,  # Qdrant reads config/ relative to where it starts
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _await_ready(process, url, log)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _await_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/readyz", timeout=2, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise NodeUnreachable(
        f"the scratch server did not start: {log.read_text(errors='replace')[-500:].strip()}",
        "run it by hand to see why; `drill --engine edge` needs no server.",
    )
