"""`qdrant-dr` for shells that call it often: each call is a process, and none imports anew.

A process that has imported all of `qdrant_dr` forks for each call. It listens on a Unix socket;
what a shell calls is a Python that imports next to nothing, hands over its arguments, environment
and files, and ends with the exit code that comes back.
"""

from __future__ import annotations

import gc
import json
import os
import shlex
import signal
import socket
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.imported import import_all
from tests.support.prefect import spawn
from tests.support.waiting import eventually

STANDARD = (0, 1, 2)
CALL = """
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as s:
    s.connect(sys.argv[1])
    told = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(s, [len(told).to_bytes(4, "big")], [0, 1, 2])
    s.sendall(told)
    code = s.recv(4)
sys.exit(int(code) if code else "qdrant-dr ended without an exit code")
"""


@contextmanager
def shell_function(folder: Path) -> Iterator[str]:
    """Lines for bash that make `qdrant-dr` such a call; its process is gone afterwards."""
    path = folder / "zygote.sock"
    child = spawn("-m", __name__, str(path), log=folder / "zygote.log", env={})
    try:
        eventually(path.exists, within=300)
        call = shlex.join([sys.executable, "-I", "-S", "-c", CALL, str(path)])
        yield f'qdrant-dr() {{ {call} "$@"; }}'
    finally:
        child.kill()


def serve(path: Path) -> None:
    """Fork for each call, for ever. No module of Prefect is imported here."""
    import_all()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listening:
        half = path.with_suffix(".new")
        listening.bind(str(half))
        listening.listen()
        half.rename(path)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
        while True:
            asking, _ = listening.accept()
            with asking:
                if os.fork() == 0:
                    listening.close()
                    answer(asking)


def answer(asking: socket.socket) -> None:
    """Be the process that was asked for. Does not return."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    code = 1
    try:
        size, files, _, _ = socket.recv_fds(asking, 4, len(STANDARD))
        told = bytearray()
        while len(told) < int.from_bytes(size, "big"):
            told += asking.recv(1 << 16)
        arguments, folder, environment = json.loads(told)
        for mine, theirs in zip(STANDARD, files, strict=True):
            os.dup2(theirs, mine)
            os.close(theirs)
        # those of before may have been something else: a file, which could be sought in
        sys.stdin = open(0, closefd=False)  # noqa: SIM115
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.argv = ["qdrant-dr", *arguments]
        from qdrant_dr.cli import main

        code = main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        asking.sendall(str(code).encode())
        os._exit(code)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
