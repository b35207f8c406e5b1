"""One switch that asks everything under way to end: set by SIGINT, SIGTERM or a cancelled flow."""

from __future__ import annotations

import threading

from qdrant_dr.errors import Interrupted

stopping = threading.Event()


def rest(seconds: float) -> None:
    """Wait so long. Raise Interrupted as soon as the switch is set."""
    if stopping.wait(seconds):
        raise Interrupted("asked to stop while waiting for a server")
