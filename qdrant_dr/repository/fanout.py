"""One read, N writes.

The source is read once, in the caller's thread. Each sink has a worker behind a bounded queue:
memory is blocks x queue x sinks, never the snapshot. One that raises or makes no progress within
`stall_timeout` is left behind and takes its own bytes back; the others go on. Workers are daemon
threads: a socket that hangs for ever must not keep the process from ending.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextvars import copy_context
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from qdrant_dr.digests import StreamDigest
from qdrant_dr.errors import DRError, Interrupted, Stalled
from qdrant_dr.stores.bandwidth import Resting
from qdrant_dr.stores.base import Sink
from qdrant_dr.stores.errors import translate

log = logging.getLogger(__name__)

_TICK = 0.2  # seconds between two looks at a worker that is waited for
_PARTING = 5.0
"""Seconds that an interrupted transfer waits for one step of a sink: who interrupts does not wait
long (Prefect kills a cancelled run after 30), and has more to do after this."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was read from the source, and committed: bytes, SHA-256 of them and of each block."""

    size_bytes: int
    sha256: str
    blocks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FanOut:
    """Who has it all, committed, and who was left behind and why."""

    receipts: dict[str, Receipt]
    left_behind: dict[str, DRError]


def fan_out(
    blocks: Iterable[bytes],
    sinks: Mapping[str, Callable[[], Sink]],
    *,
    stall_timeout: timedelta,
    digest: StreamDigest | None = None,
    queue_blocks: int = 8,
    stopped: Callable[[], bool] = lambda: False,
) -> FanOut:
    """Write every block to every sink, then commit each.

    An error of the source is raised after every sink was aborted: nothing is visible anywhere.
    When all sinks are left behind, reading stops. The blocks are hashed once, as they are handed
    on; a source that knows what they should be is given the same `digest`, to compare it before it
    ends. Raise Interrupted soon after `stopped` says so,
    also while a slow sink is waited for; a faster one may have committed then.
    """
    workers = [_Worker(n, make, stall_timeout, queue_blocks, stopped) for n, make in sinks.items()]
    digest = digest or StreamDigest()
    try:
        for block in blocks:
            digest.update(block)
            for worker in workers:
                worker.put(block)
            if all(worker.error for worker in workers):
                break
        for worker in workers:
            worker.put(None)
        for worker in workers:
            worker.settle()
    except BaseException as e:
        for worker in workers:
            worker.leave(_PARTING if isinstance(e, Interrupted) else None)
        for worker in workers:
            worker.settle()
        raise
    receipt = Receipt(digest.size_bytes, digest.sha256, digest.blocks)
    return FanOut(
        receipts={w.name: receipt for w in workers if w.error is None},
        left_behind={w.name: w.error for w in workers if w.error is not None},
    )


class _Worker:
    """One sink on its own thread. `error` is None as long as it keeps up."""

    def __init__(
        self,
        name: str,
        make: Callable[[], Sink],
        stall_timeout: timedelta,
        depth: int,
        stopped: Callable[[], bool],
    ) -> None:
        self.name = name
        self.error: DRError | None = None
        self._make, self._patience = make, stall_timeout.total_seconds()
        self._stopped = stopped
        self._queue: queue.Queue[bytes | None] = queue.Queue(depth)
        self._left = threading.Event()
        self._done = threading.Event()
        self._busy_since: float | None = time.monotonic()
        work = partial(copy_context().run, self._work)  # it logs what the unit logs
        threading.Thread(target=work, name=f"write-{name}", daemon=True).start()

    def put(self, block: bytes | None) -> None:
        """Hand over a block, or None for the end; waits while the queue is full."""
        while not self.error and not self._done.is_set():
            try:
                return self._queue.put(block, timeout=_TICK)
            except queue.Full:
                self._refuse_stopped()
                self._judge()
        return None

    def settle(self) -> None:
        """Wait until the worker has finished and cleaned up, or hangs and is left behind."""
        while not self._done.wait(_TICK):
            self._refuse_stopped()
            if self._judge():
                break

    def leave(self, within: float | None = None) -> None:
        """Let it take back what it wrote, as soon as it can; no step of it may take longer than
        `within` seconds from now on."""
        self._left.set()
        if within is not None:
            self._patience = min(self._patience, within)

    def _refuse_stopped(self) -> None:
        if not self._left.is_set() and self._stopped():
            raise Interrupted(f"asked to stop while {self.name} was written to")

    def _judge(self) -> bool:
        """Whether one step of it has taken longer than it may; it is left behind then."""
        since = self._busy_since
        if since is None or time.monotonic() - since <= self._patience:
            return False
        self.error = self.error or Stalled(
            f"repository {self.name} made no progress for {self._patience:g} s"
        )
        self.leave()
        return True

    def _work(self) -> None:
        sink: Sink | None = None
        committed = False
        try:
            sink = self._make()
            if isinstance(sink, Resting):
                sink.rest = self._rest
            while (block := self._next()) is not None:
                sink.write(block)
            if not self._left.is_set():
                sink.commit()
                committed = True
        except Exception as e:  # noqa: BLE001 -- whatever it is, it concerns this repository alone
            self.error = self.error or translate(e, repository=self.name, doing="writing")
        finally:
            if sink is not None and not committed:
                self._busy_since = time.monotonic()
                self._abort(sink)
            self._done.set()

    def _next(self) -> bytes | None:
        self._busy_since = None
        while not self._left.is_set():
            try:
                block = self._queue.get(timeout=_TICK)
            except queue.Empty:
                continue
            self._busy_since = time.monotonic()
            return block
        return None

    def _rest(self, seconds: float) -> bool:
        """Wait for a bandwidth limit: the clock of this step stands still. False if it was left."""
        self._busy_since = None
        left = self._left.wait(seconds)
        self._busy_since = time.monotonic()
        return not left

    def _abort(self, sink: Sink) -> None:
        try:
            sink.abort()
        except Exception as e:  # noqa: BLE001 -- the error that led here is the one to report
            why = translate(e, repository=self.name, doing="aborting")
            log.warning("an unfinished object is left to the sweep: %s", why.message)
