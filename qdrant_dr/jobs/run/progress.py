"""Bytes as they pass, for whoever watches; nobody, by default."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar

from qdrant_dr.jobs.run.cancel import stoppable
from qdrant_dr.records import Part

Watcher = Callable[[int, int], None]
"""Called in the thread of the transfer with bytes done and bytes in all: it must not wait."""

watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


def watched(blocks: Iterable[bytes], total: int) -> Iterator[bytes]:
    """Yield the blocks unchanged, and tell the watcher of this context after each."""
    watch, done = watcher.get(), 0
    for block in blocks:
        done += len(block)
        if watch is not None:
            watch(done, total)
        yield block


def in_transit(part: Part) -> Callable[[Iterable[bytes]], Iterator[bytes]]:
    """Pass the blocks of one part on: they are watched, and can be stopped."""
    return lambda blocks: stoppable(watched(blocks, part.size_bytes))


class Together:
    """Several transfers of one unit, in threads of their own, as one for who watches."""

    def __init__(self) -> None:
        self._watch = watcher.get()
        self._lock = threading.Lock()
        self._done = self._total = 0

    def watched(self, blocks: Iterable[bytes], total: int) -> Iterator[bytes]:
        """Yield the blocks of one of them unchanged; `total` is added to what is expected."""
        with self._lock:
            self._total += total
        for block in blocks:
            with self._lock:
                self._done += len(block)
                if self._watch is not None:
                    self._watch(self._done, self._total)
            yield block
