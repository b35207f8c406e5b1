"""A progress artifact for the units that take long."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from qdrant_dr.jobs.run.progress import watcher
from qdrant_dr.quantities import format_size

log = logging.getLogger(__name__)

LARGE = 2**30
"""Bytes from which on a transfer is worth an artifact."""

EVERY_SECONDS = 10.0


class Reporter:
    """Takes note of bytes in the thread of the transfer, and publishes them in its own.

    A transfer never waits for the Prefect server.
    """

    def __init__(self, label: str) -> None:
        self._label = label
        self._done = self._total = 0
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def __call__(self, done: int, total: int) -> None:
        self._done, self._total = done, total
        if self._thread is None and total >= LARGE:
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
        try:
            artifact = create_progress_artifact(
                self._percent(), description=f"{self._label}, {format_size(self._total)}"
            )
            assert isinstance(artifact, UUID)
            while not self._over.wait(EVERY_SECONDS):
                update_progress_artifact(artifact, self._percent())
            update_progress_artifact(artifact, self._percent())
        except Exception as error:  # noqa: BLE001  a lost API costs the bar, never the transfer
            log.warning("progress of %s is not shown any more: %s", self._label, error)

    def _percent(self) -> float:
        return 100.0 * self._done / self._total


@contextmanager
def shown(label: str) -> Iterator[None]:
    """Show the bytes that pass in this block."""
    reporter = Reporter(label)
    token = watcher.set(reporter)
    try:
        yield
    finally:
        watcher.reset(token)
        reporter.close()
