"""Run units on a Dask cluster: check its workers first, watch them, let go of what has ended.

Dask gives the work of a lost worker to another one, finished work included as long as its result
was not fetched. So results are fetched and released one by one, and what may run twice must bear
it (see `qdrant_dr.dispatch.execute_again`).
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from datetime import timedelta
from typing import Any, TypeVar

from distributed import TimeoutError as DaskTimeout
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.scheduler import KilledWorker
from prefect_dask import DaskTaskRunner
from prefect_dask.task_runners import PrefectDaskFuture

from qdrant_dr.errors import UnitLost, WorkersUnfit
from tasks.results import late

log = logging.getLogger(__name__)

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds for a scheduler to answer, a first worker to be there, and all to tell their versions:
a worker that imports this for the first time takes several."""

LONELY = 300.0
"""Seconds without any worker after which units are given up: longer than a rolling restart."""

LOOK = 5.0
"""Seconds between two looks at the workers."""

FETCH = 30.0
"""Seconds for one result to arrive. A worker that dies just then has its unit done once more."""

ALIKE = ("qdrant-dr", "prefect", "qdrant-edge-py")
"""Distributions whose versions must be the same everywhere; and Python's minor version, for Dask
sends functions as byte code."""


class DaskRunner(DaskTaskRunner):  # type: ignore[misc]  # prefect_dask has no types of use
    """Prefect's runner, with what it does not do: a preflight, deadlines, and an end to waiting."""

    def preflight(self) -> None:
        """Raise WorkersUnfit unless there are workers, each with the same versions as here.

        A worker without this package does not fail: it dies at each unit it is given, and the run
        would hang.
        """
        client = within(PATIENCE, lambda: self.client, f"no Dask scheduler at {self.address}")
        within(PATIENCE, lambda: client.wait_for_workers(1, PATIENCE),
               f"no worker at the Dask scheduler {self.address}")  # fmt: skip
        silent = f"the Dask workers of {self.address} do not tell their versions"
        known = within(PATIENCE, client.get_versions, silent)
        ours = known["client"]["host"]["python"]
        pythons = {w: v["host"]["python"] for w, v in known["workers"].items()}
        if wrong := {w: v for w, v in pythons.items() if _minor(v) != _minor(ours)}:
            raise WorkersUnfit(f"Python {ours} here, and {_told(wrong)}")
        probe = _probe()
        asked = within(PATIENCE, lambda: client.run(probe, on_error="return"), silent)
        if unfit := unlike(probe(), asked):
            raise WorkersUnfit(f"{len(unfit)} of {len(asked)} Dask workers cannot do the units: "
                               + "; ".join(unfit))  # fmt: skip
        within(PATIENCE, lambda: client.register_plugin(_entering()),
               f"the Dask workers of {self.address} do not enter the project")  # fmt: skip
        log.info("%d Dask workers at %s, all alike", len(asked), self.address)

    def results_of(
        self, futures: Sequence[PrefectDaskFuture[Any]], deadline: timedelta
    ) -> list[object]:
        """Return what each future came to; UnitLost for those that nobody will finish."""
        found: list[object] = [None] * len(futures)
        pending = dict(enumerate(futures))
        woken = threading.Event()
        for future in futures:
            future.wrapped_future.add_done_callback(lambda _: woken.set())
        end = time.monotonic() + deadline.total_seconds()
        watch = _Watch(self.client)
        while pending:
            woken.clear()
            for n in [n for n, f in pending.items() if f.wrapped_future.done()]:
                try:
                    found[n] = _fetched(pending[n])
                except DaskTimeout:
                    continue  # its worker died with the result: it is being done once more
                pending.pop(n).wrapped_future.release()
            why = late() if time.monotonic() > end else watch.given_up()
            if why is not None:
                self.abandon(list(pending.values()))
                found = [why if n in pending else result for n, result in enumerate(found)]
                break
            if pending:
                woken.wait(min(LOOK, max(0.0, end - time.monotonic())))
        return found

    def abandon(self, futures: Sequence[PrefectDaskFuture[Any]]) -> None:
        """Let none of these begin; one that is at work comes to its end, and is not counted."""
        wrapped = [f.wrapped_future for f in futures]
        try:
            within(FETCH, lambda: self.client.cancel(wrapped, force=True), "not cancelled")
        except WorkersUnfit as error:
            log.warning("%d units may still begin on Dask: %s", len(wrapped), error)


class _Watch:
    """Ask every `LOOK` seconds whether there are workers."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._looked = self._seen = time.monotonic()

    def given_up(self) -> UnitLost | None:
        """Say why nobody will finish, once there was no worker for `LONELY` seconds."""
        now = time.monotonic()
        if now - self._looked >= LOOK:
            self._looked = now
            if self._workers():
                self._seen = now
        alone = now - self._seen
        if alone < LONELY:
            return None
        return UnitLost(f"no Dask worker for {alone:.0f} s: given up")

    def _workers(self) -> int:
        try:
            return len(within(LOOK, self._client.nthreads, "the Dask scheduler does not answer"))
        except WorkersUnfit as error:
            log.warning("Dask: %s", error)
            return 0


def _fetched(future: PrefectDaskFuture[Any]) -> object:
    """The result, or the exception. Raise DaskTimeout if it did not arrive."""
    try:
        return future.result(timeout=FETCH, raise_on_failure=False)
    except TimeoutError as error:
        raise DaskTimeout from error
    except KilledWorker as error:
        return UnitLost(f"every Dask worker that was given it died: {error}")
    except CancelledError as error:
        return UnitLost(f"lost with its Dask scheduler: {error}")
    except Exception as error:  # noqa: BLE001  a lost worker shows as anything; it is an outcome
        return error


def unlike(ours: Mapping[str, str], asked: Mapping[str, Any]) -> list[str]:
    """Name the workers that differ from this process, and in what. Pure."""
    found = []
    for worker, told in sorted(asked.items()):
        if not isinstance(told, Mapping):
            found.append(f"{worker}: {type(told).__name__}: {told}")
            continue
        wrong = [f"{k} {told.get(k)} (here {v})" for k, v in ours.items() if told.get(k) != v]
        if wrong:
            found.append(f"{worker}: {', '.join(wrong)}")
    return found


def _entering() -> WorkerPlugin:
    """What lets workers that come later find the units, too, wherever they have this package.

    A nested class is sent as it is.
    """

    class Entering(WorkerPlugin):  # type: ignore[misc]
        name = "qdrant-dr"
        idempotent = True

        def setup(self, worker: object) -> None:  # noqa: ARG002
            from qdrant_dr.project import enter

            enter()

    return Entering()


def _probe() -> Callable[[], dict[str, str]]:
    """What each worker runs: can it import what units need, and of which version is it?

    A nested function is sent as it is, so that a worker without this package can answer, too.
    """
    names = ALIKE

    def probe() -> dict[str, str]:
        from importlib import import_module
        from importlib.metadata import PackageNotFoundError, version

        found = {}
        for name in names:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = "absent"
        try:
            found["qdrant-dr"] = import_module("qdrant_dr.version").__version__
            import_module("qdrant_dr.project").load("tasks.unit_tasks")
        except Exception as error:  # noqa: BLE001  an unfit worker says why, whatever it is
            found["qdrant-dr"] = f"not usable ({error})"
        return found

    return probe


def within(seconds: float, ask: Callable[[], T], what: str) -> T:
    """Return the answer. Raise WorkersUnfit if there is none in time: most calls of Dask wait
    forever."""
    answer: list[T] = []
    raised: list[BaseException] = []

    def call() -> None:
        try:
            answer.append(ask())
        except BaseException as error:  # noqa: BLE001  raised again by who asked
            raised.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds + 1)
    if answer:
        return answer[0]
    why = f": {type(raised[0]).__name__}: {raised[0]}" if raised else f" within {seconds:.0f} s"
    raise WorkersUnfit(what + why)


def _minor(version: str) -> tuple[str, ...]:
    return tuple(version.split(".")[:2])


def _told(by_worker: Mapping[str, str]) -> str:
    return ", ".join(f"{v} at {w}" for w, v in sorted(by_worker.items()))
