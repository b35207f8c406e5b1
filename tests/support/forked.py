"""Our own programs without the second that Python takes to import one: forked from a process that
has.

They are the same programs with the same arguments, environment and files. `tests/sandbox` and
`tests/cli` start them as users do. One process for each program
serves this one, and what it forked dies with it.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from threading import Lock
from typing import IO, Any

from tests.support.imported import import_all

PROGRAMS = {
    "sandbox": "qdrant_dr.sandbox.main:main",
    "cli": "qdrant_dr.cli:main",
    "prefect": "prefect.cli:app",
    "pipeline": "qdrant_dr.cli:main",
    "dask": "dask.cli:run_cli",
}
SAME = {"pipeline": "prefect", "dask": "prefect"}
"""Programs forked by the process of another one: most of their imports are the same."""
FLOWS = ("flows.backup", "flows.restore", "flows.watch")
ALSO = {
    "sandbox": (
        "uvicorn.protocols.http.h11_impl", "uvicorn.loops.asyncio", "anyio._backends._asyncio",
    ),
    "prefect": (
        "prefect.cli.deploy", "prefect.cli.server", "prefect.cli.worker",
        "prefect.workers.process", "prefect.server.api.server", "uvicorn", *FLOWS,
    ),
    "pipeline": ("qdrant_dr.cli.pipeline", "deployments.up", "deployments.down"),
    "dask": ("distributed.cli.dask_scheduler", "distributed.cli.dask_worker", *FLOWS),
}  # fmt: skip
"""What they import only once it is needed."""
BY_MODULE = {"prefect": "prefect", "qdrant_dr.cli": "pipeline"}
"""What `python -m` starts, where `run_forked` does."""
PR_SET_PDEATHSIG = 1
MESSAGE_MAX = 1 << 17
STANDARD = 3
"""Standard input, output and errors; after them what tells how it ended."""
_turn = Lock()


class Forked:
    """A running program, with what the tests use of `subprocess.Popen`."""

    def __init__(
        self, pid: int, ends: int, stdin: IO[bytes] | None = None, stdout: IO[Any] | None = None
    ) -> None:
        self.pid = pid
        self.stdin, self.stdout = stdin, stdout
        self.returncode: int | None = None
        self._ends: int | None = ends
        try:
            self._fd: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._fd = None  # it has ended already

    def send_signal(self, sent: signal.Signals) -> None:
        if self.poll() is None and self._fd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, sent)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def poll(self) -> int | None:
        """None while it runs."""
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("forked", timeout or 0)
        return code

    def _wait(self, seconds: float | None) -> int | None:
        if self._ends is None:
            return self.returncode
        waiting = select.poll()
        waiting.register(self._ends, select.POLLIN)
        if not waiting.poll(None if seconds is None else seconds * 1000):
            return None
        told = os.read(self._ends, 16)  # nothing, if who forked it was killed, and it with that
        self.returncode = int(told) if told else -signal.SIGKILL
        for file in (self._ends, self._fd):
            if file is not None:
                os.close(file)
        self._ends = self._fd = None
        return self.returncode

    def __enter__(self) -> Forked:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self.stdin, self.stdout):
            if pipe is not None:
                pipe.close()


def fork_sandbox(
    arguments: list[str], folder: Path, environment: Mapping[str, str], *, speaks: bool
) -> Forked:
    """`python -m qdrant_dr.sandbox` with these arguments in `folder`; `speaks`: it is listened to,
    else what it says goes to `stderr.log` as well."""
    reading, said = os.pipe() if speaks else (None, None)
    with (folder / "stderr.log").open("a") as log, Path(os.devnull).open("rb") as nothing:
        out = log.fileno() if said is None else said
        pid, ends = fork(
            "sandbox", arguments, folder, environment,
            (nothing.fileno(), out, log.fileno()),
        )  # fmt: skip
    if said is not None:
        os.close(said)
    return Forked(pid, ends, stdout=None if reading is None else os.fdopen(reading))


def run_forked(
    command: list[str], *, cwd: Path, env: Mapping[str, str], timeout: float, **_: object
) -> subprocess.CompletedProcess[str]:
    """`python -m prefect ...` or `qdrant-dr up` and `down` to their end, as `subprocess.run` with
    its output captured as text."""
    assert command[:2] == [sys.executable, "-m"], command
    with (
        tempfile.TemporaryFile("w+") as said,
        tempfile.TemporaryFile("w+") as errors,
        Path(os.devnull).open("rb") as nothing,
    ):
        files = (nothing.fileno(), said.fileno(), errors.fileno())
        pid, ends = fork(BY_MODULE[command[2]], command[3:], cwd, env, files)
        code = Forked(pid, ends).wait(timeout)
        for file in (said, errors):
            file.seek(0)
        return subprocess.CompletedProcess(command, code, said.read(), errors.read())


def fork(
    program: str,
    arguments: list[str],
    folder: Path,
    environment: Mapping[str, str],
    files: tuple[int, int, int],
    *,
    session: bool = False,
) -> tuple[int, int]:
    """Start a program; its process, and the file that tells how it ended. `session`: one of its
    own."""
    asked = {
        "program": program, "arguments": arguments, "folder": str(folder),
        "environment": dict(environment), "session": session,
    }  # fmt: skip
    ends, told = os.pipe()
    with _turn:
        channel, _ = server(SAME.get(program, program))
        socket.send_fds(channel, [json.dumps(asked).encode()], [*files, told])
        pid = int(channel.recv(MESSAGE_MAX))
    os.close(told)
    return pid, ends


@cache
def server(program: str) -> tuple[socket.socket, int]:
    """The channel to the process that forks, which ends when we close it, or just end; its id."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.forked", program],
            stdin=theirs,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            cwd=Path(__file__).parents[2],
        )
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours, process.pid


def _import(program: str) -> None:
    for module in (PROGRAMS[program].partition(":")[0], *ALSO.get(program, ())):
        importlib.import_module(module)
    if program == "cli":
        import_all()  # its commands import what they need
    if program == "sandbox":
        from fastapi import FastAPI

        from qdrant_dr.sandbox.routes import router

        FastAPI().include_router(router)  # which works out its paths once, and keeps them
    gc.freeze()


def _serve(program: str) -> None:
    _import(program)
    imported = {program}
    running: dict[int, int] = {}
    signal.signal(signal.SIGCHLD, lambda *_: _reap(running))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    channel = socket.socket(fileno=0)
    while True:
        message, files, *_ = socket.recv_fds(channel, MESSAGE_MAX, STANDARD + 1)
        if not message:
            return
        asked = json.loads(message)
        if (program := asked["program"]) not in imported:
            _import(program)
            imported.add(program)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
        pid = os.fork()
        if pid == 0:
            _become(program, asked, files[:STANDARD], [*files, *running.values()])
        running[pid] = files.pop()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        for file in files:
            os.close(file)
        channel.send(str(pid).encode())


def _reap(running: dict[int, int]) -> None:
    """Tell of each that ended how it did."""
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            told = running.pop(pid)
            with suppress(BrokenPipeError):
                os.write(told, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(told)


def _become(program: str, asked: dict[str, Any], files: list[int], foreign: list[int]) -> None:
    """Be what was asked for, to the end of this process."""
    code = 1
    try:
        die_with_parent(os.getppid())
        if asked["session"]:
            os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGCHLD])
        for at, file in enumerate(files):
            os.dup2(file, at)
        for file in foreign:
            os.close(file)
        # those of before may have been files, these are pipes
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115
        os.chdir(asked["folder"])
        os.environ.clear()
        os.environ.update(asked["environment"])
        sys.argv = [program, *asked["arguments"]]
        if "prefect" in sys.modules:
            from prefect import context

            context.refresh_global_settings_context()  # it read those of before when imported
        module, _, main = PROGRAMS[program].partition(":")
        code = getattr(importlib.import_module(module), main)() or 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def die_with_parent(parent: int) -> None:
    """The kernel ends this process when `parent` dies, however it dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


if __name__ == "__main__":
    _serve(sys.argv[1])
