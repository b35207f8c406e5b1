"""A limit of bytes per second, shared by everything that writes to one repository."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import cache

from qdrant_dr.stores.base import Sink

_BURST = 0.25  # seconds


class BandwidthLimit:
    """A token bucket that holds a quarter of a second."""

    def __init__(self, bytes_per_second: int) -> None:
        if bytes_per_second <= 0:
            raise ValueError("a bandwidth must be more than zero")
        self._rate = bytes_per_second
        self._free_at = time.monotonic()
        self._lock = threading.Lock()

    @property
    def piece(self) -> int:
        """Return the bytes of a quarter of a second, at least one: the best amount to take at
        once."""
        return max(1, int(self._rate * _BURST))

    def reserve(self, size: int) -> float:
        """Take `size` bytes; return after how many seconds they may be sent."""
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - _BURST) + size / self._rate
            return max(0.0, self._free_at - now)


@cache
def shared_bandwidth_limit(location: str, bytes_per_second: int) -> BandwidthLimit:  # noqa: ARG001
    """Return the limit of a repository in this process, shared by all units that open it."""
    return BandwidthLimit(bytes_per_second)


class Resting:
    """What may have to wait for a bandwidth limit while it writes.

    Waiting for the limit is not a stall of the store, and may take long if many share it. `rest`
    waits so many seconds and returns whether to continue: whoever monitors the writes replaces it,
    to know of the wait and to end it."""

    def __init__(self) -> None:
        self.rest: Callable[[float], bool] = _sleep


class LimitedSink(Resting):
    """A sink that writes no faster than a limit allows. The rest of a block is not written if the
    wait for it was ended."""

    def __init__(self, sink: Sink, limit: BandwidthLimit) -> None:
        super().__init__()
        self._sink, self._limit = sink, limit
        self.commit, self.abort = sink.commit, sink.abort

    def write(self, block: bytes) -> None:
        step = self._limit.piece
        for start in range(0, len(block), step):
            piece = block[start : start + step]
            if not self.rest(self._limit.reserve(len(piece))):
                return
            self._sink.write(piece)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return True
