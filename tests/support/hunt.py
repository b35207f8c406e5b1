"""Strike the engine while a proof is at work."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil


@contextmanager
def hunted(number: signal.Signals, times: int = 1) -> Iterator[None]:
    """Send a signal to the first engines that start meanwhile."""
    victims: set[int] = set()

    def hunt() -> None:
        while len(victims) < times:
            for child in psutil.Process().children():
                with suppress(psutil.Error):
                    if "engine_child" in " ".join(child.cmdline()) and child.pid not in victims:
                        child.send_signal(number)
                        victims.add(child.pid)
            time.sleep(0.01)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    yield
    hunter.join()
