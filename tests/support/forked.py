"""Sandboxes without the second that Python takes to import one: forked from a process that has.

It is the same program with the same arguments, environment and files; `tests/sandbox` starts it as
users do. One such process serves this one, and what it forked dies with it.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Any

PR_SET_PDEATHSIG = 1
MESSAGE_MAX = 1 << 17
_turn = Lock()


class Forked:
    """A running sandbox, with what the tests use of `subprocess.Popen`."""

    def __init__(self, pid: int, stdout: int | None) -> None:
        self.pid = pid
        self.stdout = None if stdout is None else os.fdopen(stdout)
        try:
            self._fd: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._fd = None  # it has ended already

    def send_signal(self, sent: signal.Signals) -> None:
        if self.poll() is None and self._fd is not None:
            signal.pidfd_send_signal(self._fd, sent)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """None while it runs."""
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> None:
        if self._wait(timeout) is None:
            raise subprocess.TimeoutExpired("sandbox", timeout or 0)

    def _wait(self, seconds: float | None) -> int | None:
        if self._fd is None:
            return 0
        waiting = select.poll()
        waiting.register(self._fd, select.POLLIN)
        if not waiting.poll(None if seconds is None else seconds * 1000):
            return None
        os.close(self._fd)
        self._fd = None
        return 0

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        if self.stdout is not None:
            self.stdout.close()


def fork_sandbox(
    arguments: list[str], folder: Path, environment: Mapping[str, str], *, speaks: bool
) -> Forked:
    """`python -m qdrant_dr.sandbox` with these arguments in `folder`; `speaks`: it is listened to,
    else what it says goes to `stderr.log` as well."""
    reading, said = os.pipe() if speaks else (None, None)
    asked = {"arguments": arguments, "folder": str(folder), "environment": dict(environment)}
    with (folder / "stderr.log").open("a") as log:
        files = [log.fileno() if said is None else said, log.fileno()]
        with _turn:
            channel = _server()
            socket.send_fds(channel, [json.dumps(asked).encode()], files)
            pid = int(channel.recv(MESSAGE_MAX))
    if said is not None:
        os.close(said)
    return Forked(pid, reading)


@cache
def _server() -> socket.socket:
    """The channel to the process that forks, which ends when we close it, or just end."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forked"],
            stdin=theirs,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
                "OPENBLAS_NUM_THREADS": "1",  # a process that forks has one thread
            },
            cwd=Path(__file__).parents[2],
        )
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


def _serve() -> None:
    import qdrant_dr.sandbox.main  # noqa: F401  what takes long

    gc.freeze()
    signal.signal(signal.SIGCHLD, _reap)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = socket.socket(fileno=0)
    while True:
        message, files, *_ = socket.recv_fds(channel, MESSAGE_MAX, 2)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            _become(json.loads(message), files)
        for file in files:
            os.close(file)
        channel.send(str(pid).encode())


def _reap(*_: object) -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _become(asked: dict[str, Any], files: list[int]) -> None:
    """Be what was asked for, to the end of this process."""
    code = 1
    try:
        leash(os.getppid())
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for at, file in enumerate(files, start=1):
            os.dup2(file, at)
            os.close(file)
        # those of before may have been files, these are pipes
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115
        os.chdir(str(asked["folder"]))
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv = ["qdrant_dr.sandbox", *asked["arguments"]]

        from qdrant_dr.sandbox.main import main

        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def leash(parent: int) -> None:
    """The kernel ends this process when `parent` dies, however it dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    _serve()
