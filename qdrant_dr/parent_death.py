"""Run a program that the kernel kills when its parent dies: `... PARENT-PID PROGRAM ...`.

No child of ours may outlive a killed run. Set in the child and not between fork and exec of the
parent, which has threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int, sent: signal.Signals = signal.SIGKILL) -> None:
    """Die with the process `parent` (on Linux; elsewhere only if it is dead already)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(sent), 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(0)  # it died before we could ask


def command_dying_with_parent(*program: str) -> list[str]:
    """The command that runs a program so, as a child of this process."""
    return [sys.executable, "-m", "qdrant_dr.parent_death", str(os.getpid()), *program]


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  the program that our own caller names
