"""How a transfer ends once the switch is set that asks all running units to end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from qdrant_dr.errors import Interrupted
from qdrant_dr.stop import stopping

__all__ = ["stoppable", "stopping"]


def stoppable(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the blocks unchanged. Raise Interrupted between two of them once the switch is set."""
    for block in blocks:
        if stopping.is_set():
            raise Interrupted("asked to stop in the middle of a transfer")
        yield block
