"""Bytes as they pass, for whoever watches; nobody, by default."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar

Watcher = Callable[[int, int], None]
"""Called in the thread of the transfer with bytes done and bytes in all: it must not wait."""

watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


def watched(blocks: Iterable[bytes], total: int) -> Iterator[bytes]:
    """The blocks unchanged; the watcher of this context is told after each."""
    watch, done = watcher.get(), 0
    for block in blocks:
        done += len(block)
        if watch is not None:
            watch(done, total)
        yield block
