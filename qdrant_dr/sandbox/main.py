"""The sandbox as a process: loopback only, with data that goes when it ends."""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from qdrant_dr.sandbox.access import Keys
from qdrant_dr.sandbox.app import create_app
from qdrant_dr.sandbox.node import Node
from qdrant_dr.sandbox.peers import Peers
from qdrant_dr.sandbox.seed import seed_demo
from qdrant_dr.sandbox.startup import EXIT_CODE, StartupError, recover_at_start

_LOOPBACK = ("127.0.0.1", "localhost")
_PR_SET_PDEATHSIG = 1
_GRACE_SECONDS = 1


def serve(
    port: int = 0,
    data: Path | None = None,
    api_key: str | None = None,
    read_api_key: str | None = None,
    *,
    host: str = "127.0.0.1",
    points: int = 0,
    snapshots: Sequence[str] = (),
    storage_snapshot: Path | None = None,
    force_snapshot: bool = False,
    topology: Path | None = None,
    grpc_port: int | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. Call it in the main thread: it takes the signals.

    Port 0 takes a free one. `snapshots` (`FILE:NAME`) or `storage_snapshot` are recovered before
    the port opens, `points` are written into the collections of the demo after it. Then `ready`
    gets the URL; by default it is printed. `topology` makes it one node of a scripted cluster (see
    `qdrant_dr.sandbox.peers`). `grpc_port` also scrolls over gRPC. All data lies in a fresh folder
    below `data` (the system's temporary directory by default), which is removed at the end: a
    sandbox starts empty.
    Raise ValueError for a host that is not loopback, StartupError for a snapshot that cannot be
    recovered, OSError for a port that is taken, and whatever seeding and `ready` raise, when the
    server has stopped.
    """
    if host not in _LOOPBACK:
        raise ValueError(f"the sandbox serves {' or '.join(_LOOPBACK)} only, not {host}")
    if data is not None:
        data.mkdir(parents=True, exist_ok=True)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    folder = Path(tempfile.mkdtemp(prefix="qdr-sandbox-", dir=data))
    node = None
    try:
        node = Node(folder, Peers(topology, api_key) if topology else None)
        recover_at_start(node, snapshots, storage_snapshot, force=force_snapshot)
        with socket.create_server(("127.0.0.1", port), backlog=128) as listening:
            # asyncio sets it only on sockets of its own: 40 ms less for every answer
            listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"

            def prepare() -> None:
                if points:
                    seed_demo(url, points, api_key=api_key)
                (ready or _say)(url)

            keys = Keys(api_key or None, read_api_key or None)
            app = create_app(node, keys)
            with _over_grpc(node, keys, grpc_port):
                _run(app, listening, prepare, stopping)
    finally:
        if node:
            node.close()
        shutil.rmtree(folder)


def _over_grpc(node: Node, keys: Keys, port: int | None) -> AbstractContextManager[None]:
    if port is None:
        return nullcontext()
    from qdrant_dr.sandbox.grpc_points import grpc_served  # half a second that few need

    return grpc_served(node, keys, port)


def _run(
    app: FastAPI,
    listening: socket.socket,
    prepare: Callable[[], None],
    stopping: threading.Event,
) -> None:
    """Serve; `prepare` runs beside it. Raise what it raised, when the server has stopped."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        ws="none",
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    failures: list[BaseException] = []

    def watched() -> None:
        try:
            prepare()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            failures.append(error)
            server.should_exit = True

    try:
        threading.Thread(target=watched, daemon=True).start()
        if not stopping.is_set():
            server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass  # uvicorn stops in order, then raises the signal that stopped it once more
    if failures and not stopping.is_set():
        raise failures[0]


def die_with_parent() -> None:
    """Ask the kernel (Linux) for SIGTERM when the thread that started this process ends."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit(1)


def main() -> None:
    """Run `python -m qdrant_dr.sandbox`: the first line of stdout is its URL, once it is ready."""
    parser = argparse.ArgumentParser(prog="python -m qdrant_dr.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="loopback only")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--grpc-port", type=int, help="scroll over gRPC there, too")
    parser.add_argument("--data", type=Path, help="where to put the data (temporary by default)")
    parser.add_argument("--points", type=int, default=0, help="write collections to try out")
    recover = parser.add_argument_group("recover before the port opens")
    recover.add_argument("--snapshot", action="append", default=[], metavar="FILE:NAME")
    recover.add_argument("--storage-snapshot", type=Path, metavar="FILE")
    recover.add_argument("-f", "--force-snapshot", action="store_true", help="overwrite")
    parser.add_argument("--topology", type=Path, help="be one node of a scripted cluster")
    parser.add_argument("--die-with-parent", action="store_true", help="stop when it stops")
    arguments = parser.parse_args()
    if arguments.die_with_parent:
        die_with_parent()
    try:
        serve(
            arguments.port,
            arguments.data,
            os.environ.get("QDR_SANDBOX_API_KEY"),
            os.environ.get("QDR_SANDBOX_READ_API_KEY"),
            host=arguments.host,
            points=arguments.points,
            snapshots=arguments.snapshot,
            storage_snapshot=arguments.storage_snapshot,
            force_snapshot=arguments.force_snapshot,
            topology=arguments.topology,
            grpc_port=arguments.grpc_port,
        )
    except StartupError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(EXIT_CODE)
    except (ValueError, OSError) as error:
        parser.error(str(error))


def _say(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
