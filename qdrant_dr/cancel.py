"""Cancel what is under way: one switch, `stopping`, and what obeys it.

It is set by Ctrl-C and SIGTERM (`cli/__init__.py`), by a cancelled flow run
(`tasks/submit_units.py`), and by `dispatch/threads.py` when a run that ends early still has units
under way. It is obeyed by waits (`rest`), transfers (`stoppable`) and loops that look at it
between two steps: they raise Interrupted, and their units clean up.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from qdrant_dr.errors import Interrupted

stopping = threading.Event()


def rest(seconds: float) -> None:
    """Wait so long. Raise Interrupted as soon as the switch is set."""
    if stopping.wait(seconds):
        raise Interrupted("asked to stop while waiting for a server")


def stoppable(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the blocks unchanged. Raise Interrupted between two of them once the switch is set."""
    for block in blocks:
        if stopping.is_set():
            raise Interrupted("asked to stop in the middle of a transfer")
        yield block
