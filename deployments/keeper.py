"""Keep a program running: `python -m deployments.keeper PROGRAM ...`.

Prefect's worker gives up when its server has been away for some minutes (seven and a half with its
defaults), and a worker that is gone is a schedule that has stopped. SIGTERM ends both; a keeper
that is killed takes its program along.
"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from qdrant_dr.parent_death import command_dying_with_parent

FIRST_PAUSE = 5.0
LONGEST_PAUSE = 60.0
LIVED = 600.0
"""Seconds after which a program counts as one that works: its next pause is the first again."""


def pause(failures: int) -> float:
    """Return the seconds before the next start, after this many short lives in a row. Pure."""
    return min(FIRST_PAUSE * 2.0 ** min(failures, 10), LONGEST_PAUSE)


def keep(command: Sequence[str]) -> None:
    """Run it, again whenever it ends, until SIGTERM; what happens is told on standard error."""
    told = threading.Event()
    child: list[subprocess.Popen[bytes]] = []

    def end(*_: object) -> None:
        told.set()
        for process in child:
            process.terminate()

    signal.signal(signal.SIGTERM, end)
    failures = 0
    while True:
        began = time.monotonic()
        try:
            child[:] = [subprocess.Popen(command_dying_with_parent(*command))]
        except OSError as e:  # no process or memory is left now; that may pass, and a keeper stays
            child[:], became = [], f"could not be started ({e.strerror})"
        else:
            if told.is_set():
                end()  # the signal came while it was being started
            became = f"ended with {child[0].wait()}"
        if told.is_set():
            return
        failures = 0 if time.monotonic() - began > LIVED else failures + 1
        # the workers of one lost server do not come back in one moment
        wait = pause(failures - 1 if failures else 0) * random.uniform(0.75, 1)
        print(
            f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC: {' '.join(command[1:4])} {became}; "
            f"it is started again in {wait:.0f} s", file=sys.stderr, flush=True,
        )  # fmt: skip
        if told.wait(wait):
            return


if __name__ == "__main__":
    keep(sys.argv[1:])
