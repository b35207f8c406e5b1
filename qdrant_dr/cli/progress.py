"""Show progress on stderr: a live line per unit on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from qdrant_dr.cli.session import Session
from qdrant_dr.jobs.run.pace import Pace, What
from qdrant_dr.jobs.run.progress import Watcher, watcher
from qdrant_dr.jobs.run.units import Unit
from qdrant_dr.quantities import how_long
from qdrant_dr.records import Outcome
from qdrant_dr.text import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

LIVE_SECONDS, LINE_SECONDS = 0.5, 30.0


class Progress:
    """Observe units for `dispatch.threads`; a context that leaves the terminal as it was."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._bars: Bars | None = None
        self._running: dict[int, TaskID] = {}
        self._last: TaskID | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty() and not self._session.quiet and self._session.log == "text":
            from rich.console import Console
            from rich.progress import Progress as Bars
            from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

            self._bars = Bars(
                SpinnerColumn(),
                TextColumn("{task.description}", markup=False),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def __call__(self, unit: Unit, outcome: Outcome | None) -> None:
        if self._session.log == "json":
            return  # its events are logged where it is done
        doing = printable(f"{unit.unit} {unit.label}")
        watcher.set(None if outcome else self._watch(unit, doing))
        if outcome is None:
            if self._bars is not None:
                self._running[id(unit)] = self._bars.add_task(doing, total=None)
            else:
                self._session.say(doing)
            return
        if self._bars is not None:
            self._bars.remove_task(self._running.pop(id(unit)))
        self._done(f"{doing}: {_result(outcome)}")

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Show work that is no unit while it is under way."""
        key, doing = object(), printable(what)
        if self._bars is not None:
            self._running[id(key)] = self._bars.add_task(doing, total=None)
        elif self._session.log == "text":
            self._session.say(doing)
        token = watcher.set(None if self._session.log == "json" else self._watch(key, doing))
        try:
            yield
        finally:
            watcher.reset(token)
            if self._bars is not None:
                self._bars.remove_task(self._running.pop(id(key)))

    def _watch(self, unit: object, doing: str) -> Watcher:
        """Return what shows how far this unit is: in its live line, else in a line now and then."""
        pace, said = Pace(), time.monotonic()

        def watch(done: int, total: int, what: What = "bytes", /) -> None:
            nonlocal said
            now = time.monotonic()
            pace.note(done, total, what, now)
            bar = self._running.get(id(unit)) if self._bars else None
            if now - said < (LIVE_SECONDS if bar is not None else LINE_SECONDS):
                return
            said = now
            line = f"{doing}: {pace.words()}"
            if self._bars is not None and bar is not None:
                self._bars.update(bar, description=line)
            else:
                self._session.say(line)

        return watch

    def step(self, line: str) -> None:
        """Report something that was done and was not announced: the last one stays in sight."""
        if self._bars is not None and sys.stdout.isatty():
            if self._last is None:
                self._last = self._bars.add_task("", total=None)
            self._bars.update(self._last, description=printable(line))
        else:
            self._done(line)

    def _done(self, line: str) -> None:
        """Say it, unless the table that follows on the same terminal says it again."""
        if self._bars is None:
            self._session.say(line)
        elif self._session.json or not sys.stdout.isatty():
            self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)


def _result(outcome: Outcome) -> str:
    took = how_long((outcome.ended_at - outcome.started_at).total_seconds())
    why = f" ({outcome.error.code})" if outcome.error else ""
    return f"{outcome.verdict}{why}, {took}"
