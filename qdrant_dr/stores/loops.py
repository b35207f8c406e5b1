"""Event loops on threads of their own: what one store sends does not hold up another."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

_MOST = 8
"""Loops of a process, whatever number of places it opens: stores of more places share them."""
_PARTING = 0.1
"""Seconds that a thread without a loop waits for the end of a session."""


class _Loops:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[str, int] = {}
        self._running: list[asyncio.AbstractEventLoop] = []

    def of(self, place: str) -> asyncio.AbstractEventLoop:
        with self._lock:
            number = self._numbers.setdefault(place, len(self._numbers) % _MOST)
            if number == len(self._running):
                loop = asyncio.new_event_loop()
                name = f"store-{number}"
                threading.Thread(target=loop.run_forever, name=name, daemon=True).start()
                self._running.append(loop)
            return self._running[number]


_loops = _Loops()
# a forked process has none of these threads, and perhaps a lock that nobody will release
os.register_at_fork(after_in_child=_loops.__init__)  # type: ignore[misc]


def loop_of(place: str) -> asyncio.AbstractEventLoop:
    """Return the running loop of a place, always the same in one process."""
    return _loops.of(place)


def end_on(loop: asyncio.AbstractEventLoop, ending: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Let a session end on its own loop, whoever drops it: also the garbage collection of a thread
    that runs another loop, which must not wait."""
    ended = asyncio.run_coroutine_threadsafe(ending(), loop)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        with suppress(Exception):  # nothing depends on it
            ended.result(_PARTING)
