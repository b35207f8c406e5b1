"""One switch that asks all running units to end: set by SIGINT, SIGTERM or a cancelled flow."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from qdrant_dr.errors import Interrupted

stopping = threading.Event()


def stoppable(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The blocks unchanged. Raise Interrupted between two of them once the switch is set."""
    for block in blocks:
        if stopping.is_set():
            raise Interrupted("asked to stop in the middle of a transfer")
        yield block
