"""Servers for tests: real child processes on loopback that die with the test.

`sandbox_server` always works; `qdrant_server` and `qdrant_cluster` need a Qdrant binary in
`QDRANT_BIN`.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from qdrant_dr.sandbox.peers import FROM_PEER
from tests.support.forked import Forked, fork_sandbox
from tests.support.loopback import loopback

PR_SET_PDEATHSIG = 1
START_SECONDS = 60.0
LASTING_PORTS = range(20_000, 32_000)
"""Below those that the kernel gives to connections: who starts again finds its port free."""
STOP_SECONDS = 30.0
SANDBOX = [sys.executable, "-m", "qdrant_dr.sandbox"]
FIXTURES = Path(__file__).parents[1] / "fixtures"
CLUSTER_PEERS = {"a": 7412946778860962, "b": 1232854065688735, "c": 4526451568774988}
"""The nodes that the cluster fixtures were made on, by the letter in their file names."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that listens: `url` without a trailing slash; `grpc_port` 0: not over gRPC."""

    url: str
    pid: int
    kind: Literal["sandbox", "server"]
    grpc_port: int = 0


class Node:
    """A node of a cluster: a `Server` on lasting ports that can be killed and started again.

    Call `start` in a thread that lives on: the kernel ends a child with the thread that made it.
    """

    kind: Literal["sandbox", "server"]

    def __init__(
        self, command: list[str], folder: Path, settings: Mapping[str, str], port: int
    ) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.kind = "sandbox" if command[:3] == SANDBOX else "server"
        self.grpc_port = int(settings.get("QDRANT__SERVICE__GRPC_PORT", "0"))
        self.folder = folder
        self._command = command
        self._settings = settings
        folder.mkdir(parents=True, exist_ok=True)
        self._process = self._spawn()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def peer_id(self) -> int:
        cluster = loopback.get(f"{self.url}/cluster", timeout=5).json()
        return int(cluster["result"]["peer_id"])

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone: the port is closed, the data stays."""
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def start(self) -> None:
        """Once more after `kill`, with the same data and ports; return when it is ready."""
        self._process = self._spawn()
        self.await_ready()

    def await_ready(self, peers: int = 0) -> None:
        """Until it answers and, with `peers`, votes in a cluster of that many."""
        log = self.folder / "stderr.log"
        _await_ready(self._process, self.url, log)
        deadline = time.monotonic() + START_SECONDS
        while peers and time.monotonic() < deadline:
            cluster = loopback.get(f"{self.url}/cluster", timeout=5).json()["result"]
            raft = cluster["raft_info"]
            settled = raft["leader"] is not None and raft["is_voter"]
            if len(cluster["peers"]) == peers and settled and not raft["pending_operations"]:
                return
            time.sleep(0.1)
        if peers:
            raise RuntimeError(f"no cluster of {peers} formed:\n{log.read_text()[-2000:]}")

    def stop(self) -> None:
        _end(self._process)

    def _spawn(self) -> subprocess.Popen[str] | Forked:
        environment = {**os.environ, **self._settings}
        return _spawn(self._command, self.folder, environment, speaks=False)


@contextmanager
def sandbox_server(
    folder: Path,
    *,
    api_key: str | None = None,
    read_api_key: str | None = None,
    over_grpc: bool = False,
) -> Iterator[Server]:
    """A fresh, empty sandbox with its data in `folder`; with gRPC at the port of REST + 1."""
    folder.mkdir(parents=True, exist_ok=True)
    port, grpc_port = _two_in_a_row() if over_grpc else (0, 0)
    command = [sys.executable, "-m", "qdrant_dr.sandbox", "--port", str(port)]
    command += ["--grpc-port", str(grpc_port)] if over_grpc else []
    command += ["--data", str(folder / "data")]
    keys = {"QDR_SANDBOX_API_KEY": api_key, "QDR_SANDBOX_READ_API_KEY": read_api_key}
    environment = {**os.environ, **{name: key for name, key in keys.items() if key}}
    with _child(command, folder, environment, speaks=True) as process:
        url = _first_line(process, folder / "stderr.log")
        yield Server(url, process.pid, "sandbox", grpc_port)


def emptied(server: Server) -> Server:
    """The same server without its collections: for tests that share one."""
    with httpx.Client(base_url=server.url, timeout=30, trust_env=False) as client:
        for found in client.get("/collections").json()["result"]["collections"]:
            client.delete(f"/collections/{found['name']}").raise_for_status()
    return server


@contextmanager
def qdrant_server(
    folder: Path, *, api_key: str | None = None, read_api_key: str | None = None
) -> Iterator[Server]:
    """A fresh, empty Qdrant: the binary in `QDRANT_BIN`, started in an empty directory."""
    folder.mkdir(parents=True, exist_ok=True)
    http_port, grpc_port = _free_port(), _free_port()
    settings = _qdrant_settings(folder, http_port, grpc_port)
    if api_key:
        settings["QDRANT__SERVICE__API_KEY"] = api_key
    if read_api_key:
        settings["QDRANT__SERVICE__READ_ONLY_API_KEY"] = read_api_key
    binary = Path(os.environ["QDRANT_BIN"]).resolve()
    with _child([str(binary)], folder, {**os.environ, **settings}, speaks=False) as process:
        url = f"http://127.0.0.1:{http_port}"
        _await_ready(process, url, folder / "stderr.log")
        yield Server(url, process.pid, "server", grpc_port)


@contextmanager
def lasting_qdrant(folder: Path) -> Iterator[Node]:
    """A fresh, empty Qdrant without cluster mode that can be killed and started again."""
    http_port, grpc_port = _lasting_ports(2)
    binary = str(Path(os.environ["QDRANT_BIN"]).resolve())
    node = Node([binary], folder, _qdrant_settings(folder, http_port, grpc_port), http_port)
    try:
        node.await_ready()
        yield node
    finally:
        node.stop()


@contextmanager
def sandbox_cluster(
    folder: Path, *, holding: Sequence[str] = ("movies", "tenants")
) -> Iterator[tuple[Node, ...]]:
    """Three sandboxes as one scripted cluster, with these collections of the cluster fixtures.

    As the real nodes a, b, c had them: `movies` (3 shards, replication 2) and `tenants` (custom
    sharding: eu, us; c holds none of it). A node that is killed and started again has lost what
    was not in the fixtures. `script` changes what all of them say of a collection.
    """
    ports = _lasting_ports(2 * len(CLUSTER_PEERS))
    peers = {
        peer: {"uri": f"http://127.0.0.1:{p2p}/", "url": f"http://127.0.0.1:{http}"}
        for peer, http, p2p in zip(CLUSTER_PEERS.values(), ports[::2], ports[1::2], strict=True)
    }
    with ExitStack() as stack:
        nodes = []
        for (name, peer), port in zip(CLUSTER_PEERS.items(), ports[::2], strict=True):
            home = folder / f"node-{name}"
            home.mkdir(parents=True)
            topology = {"peer_id": peer, "peers": peers}
            (home / "topology.json").write_text(json.dumps(topology))
            command = [sys.executable, "-m", "qdrant_dr.sandbox", "--port", str(port)]
            command += ["--data", str(home / "data"), "--topology", str(home / "topology.json")]
            for collection in holding:
                archive = FIXTURES / "cluster" / f"{collection}-node-{name}.snapshot"
                command += ["--snapshot", f"{archive}:{collection}"]
            node = Node(command, home, {}, port)
            stack.callback(node.kill)  # in no order: they wait for each other's connections
            nodes.append(node)
        for node in nodes:
            node.await_ready()
        yield tuple(nodes)


def script(nodes: Sequence[Node], collection: str, **said: Any) -> None:
    """From now on all sandbox nodes say so of a collection; nothing takes it back.

    `states={"0": {peer id: "Dead"}}` is laid over the states of replicas, by shard;
    `shard_transfers=[...]` is added.
    """
    for node in nodes:
        path = node.folder / "topology.json"
        topology = json.loads(path.read_text())
        topology["collections"] = {**topology.get("collections", {}), collection: said}
        path.with_suffix(".new").write_text(json.dumps(topology))
        path.with_suffix(".new").rename(path)


def on_one(node: Node, method: str, path: str, **body: Any) -> None:
    """A write that reaches this sandbox node alone: from then on its replicas differ from those of
    the others, and all nodes go on calling them Active."""
    loopback.request(
        method, node.url + path, headers={FROM_PEER: "0"}, json=body, timeout=60
    ).raise_for_status()


@contextmanager
def qdrant_cluster(folder: Path, nodes: int = 3) -> Iterator[tuple[Node, ...]]:
    """Fresh, empty Qdrants (`QDRANT_BIN`) joined as one cluster: every node knows all peers."""
    binary = str(Path(os.environ["QDRANT_BIN"]).resolve())
    first_uri = ""
    joined: list[Node] = []
    with ExitStack() as stack:
        for number in range(nodes):
            http_port, grpc_port, p2p_port = _lasting_ports(3)
            home = folder / f"node-{number}"
            settings = _qdrant_settings(home, http_port, grpc_port) | {
                "QDRANT__CLUSTER__ENABLED": "true",
                "QDRANT__CLUSTER__P2P__PORT": str(p2p_port),
            }
            uri = f"http://127.0.0.1:{p2p_port}"
            bootstrap = ["--bootstrap", first_uri] if first_uri else []
            node = Node([binary, "--uri", uri, *bootstrap], home, settings, http_port)
            stack.callback(node.stop)
            node.await_ready(peers=number + 1)
            first_uri = first_uri or uri
            joined.append(node)
        for node in joined:
            node.await_ready(peers=nodes)
        yield tuple(joined)


def _qdrant_settings(folder: Path, http_port: int, grpc_port: int) -> dict[str, str]:
    return {
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


@contextmanager
def _child(
    command: list[str], folder: Path, environment: Mapping[str, str], *, speaks: bool
) -> Iterator[subprocess.Popen[str] | Forked]:
    with _spawn(command, folder, environment, speaks=speaks) as process:
        try:
            yield process
        finally:
            _end(process)


def _spawn(
    command: list[str], folder: Path, environment: Mapping[str, str], *, speaks: bool
) -> subprocess.Popen[str] | Forked:
    if command[:3] == SANDBOX:
        return fork_sandbox(command[3:], folder, environment, speaks=speaks)
    with (folder / "stderr.log").open("a") as log:
        return subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if speaks else log,
            stderr=log,
            text=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509
        )


def _end(process: subprocess.Popen[str] | Forked) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _die_with_parent() -> None:
    """Runs in the child: the kernel ends it when the test process dies, however it dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _first_line(process: subprocess.Popen[str] | Forked, log: Path) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        ready = selector.select(START_SECONDS)
    line = process.stdout.readline().strip() if ready else ""
    if not line.startswith("http://"):
        raise RuntimeError(f"the server did not start: {line!r}\n{log.read_text()[-2000:]}")
    return line


def _await_ready(process: subprocess.Popen[str] | Forked, url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if loopback.get(f"{url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    raise RuntimeError(f"the server did not start:\n{log.read_text()[-2000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _two_in_a_row() -> tuple[int, int]:
    while True:
        (port,) = _lasting_ports(1)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port + 1))
            return port, port + 1


def _lasting_ports(count: int) -> list[int]:
    """Free ports, held together while they are chosen so that they differ."""
    ports: list[int] = []
    with ExitStack() as held:
        while len(ports) < count:
            probe = held.enter_context(socket.socket())
            port = random.choice(LASTING_PORTS)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            ports.append(port)
    return ports
