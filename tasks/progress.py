"""A progress artifact for the units that take long."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from qdrant_dr.jobs.run.pace import Pace, What
from qdrant_dr.jobs.run.progress import watcher

log = logging.getLogger(__name__)

LARGE = 2**30
"""Bytes from which on a transfer is worth an artifact."""

MANY = 1_000_000
"""Points from which on reading them is."""

EVERY_SECONDS = 10.0
SAID_EVERY_SECONDS = 60.0


class Reporter:
    """Takes note in the thread of the work, and publishes in its own: an artifact, and now and then
    a line in the log.

    The work never waits for the Prefect server.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._pace = Pace()
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, done: int, total: int, what: What = "bytes", /) -> None:
        self._pace.note(done, total, what, time.monotonic())
        if self._thread is None and total >= (LARGE if what == "bytes" else MANY):
            # the copy makes the artifact belong to the task run at hand
            run = copy_context().run
            self._thread = threading.Thread(target=run, args=(self._publish,), daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Publish the last figure, unless the server makes us wait for it."""
        self._over.set()
        if self._thread is not None:
            self._thread.join(timeout=EVERY_SECONDS)

    def _publish(self) -> None:
        said = time.monotonic()
        try:
            artifact = create_progress_artifact(self._pace.percent, description=self._words())
            assert isinstance(artifact, UUID)
            while not self._over.wait(EVERY_SECONDS):
                if time.monotonic() - said >= SAID_EVERY_SECONDS:
                    said = time.monotonic()
                    log.info("%s", self._words())
                self._update(artifact)
            self._update(artifact)
        except Exception as error:  # noqa: BLE001  a lost API costs the bar, never the transfer
            log.warning("progress of %s is not shown any more: %s", self._label, error)

    def _update(self, artifact: UUID) -> None:
        update_progress_artifact(artifact, self._pace.percent, self._words())

    def _words(self) -> str:
        return f"{self._label}, {self._pace.words()}"


@contextmanager
def shown(label: str) -> Iterator[None]:
    """Show the bytes that pass in this block, and the points that are read."""
    reporter = Reporter(label)
    token = watcher.set(reporter)
    try:
        yield
    finally:
        watcher.reset(token)
        reporter.close()
