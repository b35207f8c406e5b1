"""Bytes as they pass, and points as they are read, for whoever watches; nobody, by default."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Protocol

from qdrant_dr.cancel import stoppable
from qdrant_dr.jobs.run.pace import What
from qdrant_dr.records import Part


class Watcher(Protocol):
    """Called in the thread of the work with what is done, and how much it is in all: it must not
    wait."""

    def __call__(self, done: int, total: int, what: What = "bytes", /) -> None: ...


watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


def watched(blocks: Iterable[bytes], total: int) -> Iterator[bytes]:
    """Yield the blocks unchanged, and tell the watcher of this context after each."""
    watch, done = watcher.get(), 0
    for block in blocks:
        done += len(block)
        if watch is not None:
            watch(done, total)
        yield block


def points_told() -> Callable[[int, int], None] | None:
    """What tells the watcher of this context of points; None if there is none."""
    watch = watcher.get()
    return watch and (lambda done, total: watch(done, total, "points"))


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
