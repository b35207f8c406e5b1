"""A keeper stays whatever becomes of its program: without it a schedule has stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
SHORT_OF_PROCESSES = """
import errno, subprocess, sys
from deployments import keeper

real, refused = subprocess.Popen, []
def scarce(*args, **kwargs):
    if len(refused) < 2:
        refused.append(args)
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
    return real(*args, **kwargs)

subprocess.Popen = scarce
keeper.FIRST_PAUSE = 0.05
keeper.keep(sys.argv[1:])
"""


def test_a_program_that_cannot_be_started_now_is_started_later(tmp_path: Path) -> None:
    """As when the machine has no process or memory left for a moment."""
    told, log = tmp_path / "told", tmp_path / "log"
    program = f"import pathlib, time; pathlib.Path({str(told)!r}).touch(); time.sleep(100)"
    with log.open("wb") as output:
        keeping = subprocess.Popen(
            [sys.executable, "-c", SHORT_OF_PROCESSES, sys.executable, "-c", program],
            cwd=ROOT, stderr=output, env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
    try:
        eventually(told.exists, within=100)
        keeping.send_signal(signal.SIGTERM)
        assert keeping.wait(60) == 0
    finally:
        keeping.kill()
        keeping.wait()
    assert log.read_text().count("could not be started (Resource temporarily unavailable)") == 2
