"""Somewhere disposable to restore to: a server declared so, a container, or a child process."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from qdrant_dr.children import SERVER, bare_environment
from qdrant_dr.cluster import DRILL_PREFIX, Node, collection_names, drop_target, leftovers
from qdrant_dr.cluster.addresses import node_of
from qdrant_dr.config import Config
from qdrant_dr.errors import ConfigInvalid, DRError, NodeUnreachable, TargetNotDisposable
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.target.docker import docker_server
from qdrant_dr.layout import time_of
from qdrant_dr.parent_death import command_dying_with_parent
from qdrant_dr.records import Manifest

START_SECONDS = 60.0
LASTING_PORTS = range(20_000, 32_000)
"""Below those that Linux lends to connections (`net.ipv4.ip_local_port_range`)."""
QUIET = {
    "QDRANT__TELEMETRY_DISABLED": "true",
    "QDRANT__LOG_LEVEL": "WARN",
    "QDRANT__CLUSTER__ENABLED": "false",
    "QDRANT__SERVICE__ENABLE_STATIC_CONTENT": "false",
    "QDRANT__SERVICE__HOST": "127.0.0.1",
}


@contextmanager
def drill_target(
    config: Config, folder: Path, dead: Collection[str] = (), *, manifest: Manifest
) -> Iterator[Node]:
    """Yield a node to restore to, swept of what killed drills left; `dead` are drills of this
    machine.

    `drill.scratch.url` if there is one; a container if `drill.docker` says so; else a child
    process of `$QDRANT_BIN`; else the sandbox, which measures no RTO. What we start ourselves is
    in cluster mode if the backup has shard keys, and a container of the backup's version.
    Raise TargetNotDisposable if it is not declared disposable, is a node of the cluster, or holds
    anything that is not a drill's.
    """
    scratch, docker = config.drill.scratch, config.drill.docker
    clustered = manifest.custom_sharding
    with ExitStack() as stack:
        if scratch is not None:
            if not scratch.disposable:
                raise TargetNotDisposable(
                    f"{scratch.url} is not declared disposable",
                    "if everything on it may be lost, say so: `drill.scratch.disposable: true`.",
                )
            timeouts = config.cluster.timeouts
            node = stack.enter_context(
                Node(scratch.url, scratch.api_key, None, timeouts, scratch.tls)
            )
            refuse_source(config, node)
            refuse_inhabited(node, dead, now=utc_now())
            yield node
            return
        if docker is not None:
            now = utc_now()
            server = docker_server(
                docker, version=manifest.server_version, name=folder.parent.name,
                port=free_ports(1)[0], clustered=clustered,
                dead=lambda name: _is_dead(name, dead, config.cluster.timeouts.snapshot, now),
            )  # fmt: skip
        else:
            server = child_server(folder, clustered=clustered)
        url = stack.enter_context(server)
        yield stack.enter_context(Node(url, timeouts=config.cluster.timeouts))


def refuse_source(config: Config, target: Node) -> None:
    """Raise TargetNotDisposable if the target is a node of the cluster, by address or by itself.

    A server draws a telemetry id when it starts: equal ids are one process, whatever its names.
    """
    for url in config.cluster.nodes:
        same = address(url) == address(target.url)
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
        if not _is_dead(name, dead, target.timeouts.snapshot, now):
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


def _is_dead(name: str, dead: Collection[str], longest: timedelta, now: datetime) -> bool:
    """Was the drill that made this killed, as far as this machine can tell?"""
    drill = name.removeprefix(DRILL_PREFIX)
    if drill in dead:
        return True
    run_id = drill.rpartition("-")[0]
    try:
        began = time_of(run_id[:16].upper() + run_id[16:])
    except ValueError:
        return True  # no drill of ours names them so any more
    return now - began > longest


def _identity(node: Node) -> str | None:
    found = node.ask("GET", "/telemetry", "read which process it is")
    identity = found.get("id") if isinstance(found, dict) else None
    return identity if isinstance(identity, str) else None


def address(url: str) -> tuple[str, int | None]:
    """Return host, resolved if possible, and port: two URLs of one place give the same."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    with suppress(OSError):  # an unknown name is compared as it is
        host = socket.gethostbyname(host)
    return host, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


@contextmanager
def child_server(
    folder: Path, *arguments: str, patience: float = START_SECONDS, clustered: bool = False
) -> Iterator[str]:
    """Yield the URL of a fresh server on loopback that dies with us: `$QDRANT_BIN`, else the
    sandbox.

    Both take the `arguments` of Qdrant's command line; `patience` in seconds, to its first answer.
    `clustered`: in cluster mode, with itself as the only node.
    """
    with child_process(folder, *arguments, patience=patience, clustered=clustered) as (url, _):
        yield url


@contextmanager
def child_process(
    folder: Path, *arguments: str, patience: float = START_SECONDS, clustered: bool = False
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Yield `child_server` together with its process, for callers that mean to kill it."""
    folder.mkdir(parents=True)
    binary = os.environ.get("QDRANT_BIN")
    port, grpc_port, p2p_port = free_ports(3)
    environment = bare_environment(QUIET, also=SERVER)
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
        if clustered:
            environment |= {
                "QDRANT__CLUSTER__ENABLED": "true",
                "QDRANT__CLUSTER__P2P__PORT": str(p2p_port),
            }
            arguments += ("--uri", f"http://127.0.0.1:{p2p_port}")
    else:
        program = [sys.executable, "-m", "qdrant_dr.sandbox"]
        program += ["--port", str(port), "--data", str(folder / "data")]
        if clustered:
            arguments += ("--topology", str(_alone(folder / "topology.json", port, p2p_port)))
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command_dying_with_parent(*program, *arguments),
            cwd=folder,  # Qdrant reads config/ relative to where it starts
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _await_ready(process, url, log, patience)
        yield url, process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _alone(file: Path, port: int, p2p_port: int) -> Path:
    """The script of a sandbox that is a cluster of one node."""
    address = {"uri": f"http://127.0.0.1:{p2p_port}/", "url": f"http://127.0.0.1:{port}"}
    file.write_text(json.dumps({"peer_id": 1, "peers": {"1": address}}))
    return file


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on now. The kernel gives them to no connection,
    so they are still free when the server that is to have them has started."""
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            probe = held.enter_context(socket.socket())
            with suppress(OSError):
                probe.bind(("127.0.0.1", random.choice(LASTING_PORTS)))
                found.append(probe.getsockname()[1])
    return found


def _await_ready(process: subprocess.Popen[bytes], url: str, log: Path, patience: float) -> None:
    deadline = time.monotonic() + patience
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
