"""A limit of bytes per second, shared by everything that writes to one repository."""

from __future__ import annotations

import threading
import time
from functools import cache

from qdrant_dr.repository.store import Sink


class Throttle:
    """A token bucket that holds a quarter of a second."""

    def __init__(self, bytes_per_second: int) -> None:
        if bytes_per_second <= 0:
            raise ValueError("a bandwidth is more than nothing")
        self._rate = bytes_per_second
        self._free_at = time.monotonic()
        self._lock = threading.Lock()

    def take(self, size: int) -> None:
        """Wait until `size` bytes may pass."""
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now - 0.25) + size / self._rate
            wait = self._free_at - now
        if wait > 0:
            time.sleep(wait)


@cache
def shared_throttle(location: str, bytes_per_second: int) -> Throttle:  # noqa: ARG001
    """The one throttle of a repository in this process: units open it again and again."""
    return Throttle(bytes_per_second)


class ThrottledSink:
    """A sink behind a throttle."""

    def __init__(self, sink: Sink, throttle: Throttle) -> None:
        self._sink, self._throttle = sink, throttle
        self.commit, self.abort = sink.commit, sink.abort

    def write(self, block: bytes) -> None:
        self._throttle.take(len(block))
        self._sink.write(block)
