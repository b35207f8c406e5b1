"""Run a program that the kernel kills when its parent dies: `python -m qdrant_dr.leash PROGRAM ...`.

No child of ours may outlive a killed run. Set in the child and not between fork and exec of the
parent, which has threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def leash(sent: signal.Signals = signal.SIGKILL) -> None:
    """Die with the parent (on Linux; elsewhere this does nothing)."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(sent), 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(0)  # it died before we could ask


if __name__ == "__main__":
    leash()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606  the program that our own caller names
