"""Units in a pool of threads: what the command line uses where a flow uses tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from qdrant_dr.cancel import stopping
from qdrant_dr.config import Config
from qdrant_dr.dispatch.execute import execute, failed_outcome
from qdrant_dr.errors import Interrupted
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.units import Perform, Unit
from qdrant_dr.records import Outcome

Watch = Callable[[Unit, Outcome | None], None]
"""Called when a unit begins (outcome None) and when it ends."""


def _ignore(unit: Unit, outcome: Outcome | None) -> None:
    """Nobody is watching."""


def in_threads(config: Config, run_id: str, *, watch: Watch = _ignore) -> Perform:
    """Return a `perform` that does `capture.parallel_collections` units at a time.

    An error of a unit is its outcome; only an interrupt ends the run early.
    """
    width = config.capture.parallel_collections

    def one(unit: Unit) -> Outcome:
        if stopping.is_set():
            raise Interrupted(f"asked to stop before {unit.unit} {unit.label}")
        watch(unit, None)
        outcome = _settled(config, unit, run_id)
        watch(unit, outcome)
        return outcome

    def perform(units: Sequence[Unit]) -> list[Outcome]:
        if not units:
            return []
        with ThreadPoolExecutor(max_workers=min(width, len(units))) as pool:
            try:
                # a copy each: what this thread works for, and the span it is in
                contexts = [copy_context() for _ in units]
                return list(pool.map(lambda context, unit: context.run(one, unit), contexts, units))
            except BaseException:
                stopping.set()  # units under way end at their next block
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    return perform


def in_this_thread(config: Config, run_id: str) -> Perform:
    """Return a `perform` for a run of one unit, which an interrupt ends at once."""
    return lambda units: [_settled(config, unit, run_id) for unit in units]


def _settled(config: Config, unit: Unit, run_id: str) -> Outcome:
    started_at = utc_now()
    try:
        return execute(config, unit, run_id)
    except Exception as e:  # noqa: BLE001  one unit's defect must not take the others along
        return failed_outcome(unit, e, started_at=started_at, ended_at=utc_now())
