"""Limit how often a node is asked: never more than our share of a limit, and later on demand.

A collection in strict mode has a `read_rate_limit`: tokens per minute and shard, shared by all its
readers. A scroll or a count costs one token plus one per condition of its filter; reading points by
id costs one per point (lib/shard of Qdrant 1.18.3), however much comes back.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from qdrant_dr.cancel import rest
from qdrant_dr.errors import DRError

BURST_SECONDS: Final = 5.0
"""How much of our share may be spent at once after a pause."""
LEARN_AGAIN_SECONDS: Final = 300.0
LONGEST_PAUSE: Final = 60.0
"""The wait between two tries when the node does not say how long."""


class BusyRetry:
    """One call that may be repeated, within a total number of seconds."""

    def __init__(
        self,
        seconds: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = rest,
    ) -> None:
        self._clock, self._wait = clock, wait
        self._until = clock() + seconds
        self._tries = 0

    def outlast(self, retry_after: str | None) -> bool:
        """Wait as long as the node asks, or ever longer; return False at once if that is too long.

        Raise Interrupted when asked to stop meanwhile.
        """
        self._tries += 1
        if retry_after is not None and retry_after.isdecimal():
            # wait a random time longer: otherwise all refused calls would come back together
            pause = int(retry_after) + random.uniform(0, 1)
        else:
            pause = min(LONGEST_PAUSE, 2.0**self._tries) * random.uniform(0.5, 1)
        if self._clock() + pause > self._until:
            return False
        self._wait(pause)
        return True


class ReadBudget:
    """Tokens that arrive evenly, at our share of a limit per minute."""

    def __init__(
        self,
        per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = rest,
    ) -> None:
        self.per_minute = per_minute
        self._rate = per_minute / 60
        self._most = max(1.0, self._rate * BURST_SECONDS)
        self._tokens, self._at = self._most, clock()
        self._clock, self._wait = clock, wait
        self._lock = threading.Lock()

    def spend(self, cost: int) -> None:
        """Wait until so many tokens are available. Raise Interrupted when asked to stop
        meanwhile."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._most, self._tokens + (now - self._at) * self._rate) - cost
            self._at = now
            debt = max(0.0, -self._tokens / self._rate)
        if debt:
            self._wait(debt)


class NodeReadLimits:
    """The shares of one node's collections, learned from their strict mode."""

    def __init__(self, share: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._share, self._clock = share, clock
        self._known: dict[str, tuple[float, ReadBudget | None]] = {}
        self._lock = threading.Lock()

    def learn(self, collection: str, strict: dict[str, Any] | None) -> None:
        """Take in a collection's `strict_mode_config`; spent tokens stay spent."""
        strict = strict or {}
        limit = strict.get("read_rate_limit") if strict.get("enabled") else None
        wanted = limit * self._share if limit else None
        with self._lock:
            _, known = self._known.get(collection, (0.0, None))
            if wanted is None or known is None or known.per_minute != wanted:
                known = None if wanted is None else ReadBudget(wanted)
            self._known[collection] = self._clock(), known

    def of(self, collection: str, ask: Callable[[], dict[str, Any] | None]) -> ReadBudget | None:
        """Return the share of a collection, None without a limit; `ask` gets its strict mode if
        that is unknown or was learned long ago."""
        with self._lock:
            at, known = self._known.get(collection, (None, None))
        if at is None or self._clock() - at > LEARN_AGAIN_SECONDS:
            try:
                self.learn(collection, ask())
            except DRError:
                return known  # the call itself reports what is wrong
            with self._lock:
                _, known = self._known[collection]
        return known


_paces: dict[tuple[str, float], NodeReadLimits] = {}
_paces_lock = threading.Lock()


def read_limits_of(url: str, share: float) -> NodeReadLimits:
    """Return this process's pace for a node, shared by all callers."""
    with _paces_lock:
        return _paces.setdefault((url, share), NodeReadLimits(share))
