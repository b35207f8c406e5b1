"""What the captures of one process share: one snapshot at a time per node, and who had most."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

from qdrant_dr.cancel import stopping
from qdrant_dr.errors import Interrupted

_TICK = 0.5
_guard = threading.Lock()
_locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
_loads: dict[str, Counter[str]] = {}


@contextmanager
def alone_on(url: str) -> Iterator[None]:
    """Keep other captures of this process from making a snapshot on this node meanwhile.

    Raise Interrupted if asked to stop while it waits.
    """
    with _guard:
        lock = _locks[url]
    while not lock.acquire(timeout=_TICK):
        if stopping.is_set():
            raise Interrupted(f"asked to stop while {url} was making another snapshot")
    try:
        yield
    finally:
        lock.release()


def load_of(run_id: str) -> Counter[str]:
    """Return a copy of how many shards this run has taken from each node; other runs are
    forgotten."""
    with _guard:
        for other in _loads.keys() - {run_id}:
            del _loads[other]
        return Counter(_loads.setdefault(run_id, Counter()))


def add_load(run_id: str, url: str, shards: int) -> None:
    """Say that shards are taken from a node."""
    with _guard:
        _loads.setdefault(run_id, Counter())[url] += shards
