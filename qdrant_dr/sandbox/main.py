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
from collections.abc import Callable
from pathlib import Path

import uvicorn

from qdrant_dr.sandbox.access import Keys
from qdrant_dr.sandbox.app import create_app
from qdrant_dr.sandbox.node import Node
from qdrant_dr.sandbox.seed import seed_demo

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
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT. Call it in the main thread: it takes the signals.

    Port 0 takes a free one. With `points` the collections of the demo are written first. Then
    `ready` gets the URL; by default it is printed. All data lies in a fresh folder below `data`
    (the system's temporary directory by default), which is removed at the end: a sandbox starts
    empty. Raise ValueError for a host that is not loopback, OSError for a port that is taken, and
    whatever seeding and `ready` raise, when the server has stopped.
    """
    if host not in _LOOPBACK:
        raise ValueError(f"the sandbox serves {' or '.join(_LOOPBACK)} only, not {host}")
    with socket.create_server(("127.0.0.1", port), backlog=128) as listening:
        # asyncio sets it only on sockets of its own: 40 ms less for every answer
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        if data is not None:
            data.mkdir(parents=True, exist_ok=True)
        stopping = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: stopping.set())
        folder = Path(tempfile.mkdtemp(prefix="qdr-sandbox-", dir=data))
        node = Node(folder)
        config = uvicorn.Config(
            create_app(node, Keys(api_key or None, read_api_key or None)),
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        server = uvicorn.Server(config)
        failures: list[BaseException] = []

        def prepare() -> None:
            try:
                if points:
                    seed_demo(url, points, api_key=api_key)
                (ready or _say)(url)
            except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
                failures.append(error)
                server.should_exit = True

        try:
            threading.Thread(target=prepare, daemon=True).start()
            if not stopping.is_set():
                server.run(sockets=[listening])
        except KeyboardInterrupt:
            pass  # uvicorn stops in order, then raises the signal that stopped it once more
        finally:
            node.close()
            shutil.rmtree(folder)
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
    """`python -m qdrant_dr.sandbox`: the first line of stdout is its URL, once it is ready."""
    parser = argparse.ArgumentParser(prog="python -m qdrant_dr.sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="loopback only")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--data", type=Path, help="where to put the data (temporary by default)")
    parser.add_argument("--points", type=int, default=0, help="write collections to try out")
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
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))


def _say(url: str) -> None:
    sys.stdout.write(f"{url}\n")
    sys.stdout.flush()
