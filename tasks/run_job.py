"""One flow run from reference to state: what all flows have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypedDict, TypeVar

from prefect.client.schemas import State
from prefect.context import FlowRunContext
from prefect.exceptions import TerminationSignal
from prefect.runtime import flow_run

from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, Interrupted
from qdrant_dr.jobs.run.run import Run, begin
from qdrant_dr.jobs.run.units import Perform
from qdrant_dr.log_context import run_context
from qdrant_dr.records import RunEnd
from qdrant_dr.records.run import AS_TYPED, Kind, Trigger
from tasks.announce import announce as announce_run
from tasks.concurrency_limits import ensure_limits
from tasks.config import RunRef, held, load
from tasks.console import outlive_the_worker, print_as_asked
from tasks.renamed_deployment import left_to_the_successor
from tasks.states import refused_state, run_state
from tasks.submit_units import CANCELLED, UnitSubmitter

log = logging.getLogger(__name__)

NOBODY = "not known to Prefect"
"""Who asked for a run that a server without accounts made, where its form was not filled in."""
NAMED = 3
"""Collections that the name of a run has room for."""

Request = TypeVar("Request")
OURS = ("qdrant_dr", "tasks")
"""Loggers whose INFO belongs into a run's log. PREFECT_LOGGING_EXTRA_LOGGERS gives them Prefect's
handler but no level, and a level for all would bring every request of httpx along."""


class Provenance(TypedDict):
    """Who started a run, and for when it was meant."""

    trigger: Trigger
    actor: str | None
    scheduled_for: datetime | None


def provenance() -> Provenance:
    """Read from the flow run at hand, without asking the API."""
    context = FlowRunContext.get()
    run = context.flow_run if context else None
    if run is None:
        return {"trigger": "manual", "actor": None, "scheduled_for": None}
    kind = (run.created_by.type or "") if run.created_by else ""
    who = run.created_by.display_value if run.created_by else None
    typed = str((run.parameters or {}).get("requested_by") or "").strip()
    trigger: Trigger = "manual"
    if run.auto_scheduled or kind == "SCHEDULE":
        trigger = "schedule"
    elif kind == "AUTOMATION":
        trigger = "automation"
    return {
        "trigger": trigger,
        # the worker's own account asked for nothing
        "actor": f"prefect:{who}" if who else (f"{typed}{AS_TYPED}" if typed else NOBODY),
        "scheduled_for": run.expected_start_time if trigger == "schedule" else None,
    }


def parameters() -> dict[str, Any]:
    """Return the parameters of this flow run, as a run record keeps them."""
    context = FlowRunContext.get()
    given = (context.parameters if context else None) or {}
    return {name: _plain(value) for name, value in given.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(value)
    return value.isoformat() if isinstance(value, datetime) else value


def run_job(
    reference: str,
    kind: Kind,
    job: Callable[[Config, Request, Run, Perform], RunEnd],
    request: Request,
    *,
    announce: Callable[[RunEnd, Config], None] = announce_run,
    state: Callable[[RunEnd], State[Any]] = run_state,
    usable: Callable[[Config], Sequence[str] | None] = lambda _: None,
) -> State[Any]:
    """Load the configuration, begin the run, do the job as tasks, announce it, give its state.

    `usable`: names of the repositories that the run may open; None for all.
    """
    for name in OURS:
        logging.getLogger(name).setLevel(logging.INFO)
    outlive_the_worker()
    try:
        print_as_asked()
        config = load(reference)
        if left := left_to_the_successor(kind, reference, config):
            return left
        ensure_limits(config)
        run = begin(
            config, kind, parameters=parameters(), repositories=usable(config), **provenance()
        )
        perform = UnitSubmitter(RunRef(reference, run.run_id, config.sha256))
        with held(run.run_id, config), run_context(run.run_id):
            try:
                end = job(config, request, run, perform)
            except (TerminationSignal, KeyboardInterrupt):  # between two steps
                run.cut_short(config, Interrupted(CANCELLED), perform.done)
                raise
    except DRError as error:
        # the trace of a refusal says less than its message, which Prefect logs with the state
        log.debug("refused", exc_info=True)
        return refused_state(error)
    if perform.signal:
        raise perform.signal  # the end is on record; now Prefect may have its cancellation
    announce(end, config)
    return state(end)


def run_name() -> str:
    """Build `backup prod: movies, users (scheduled)`, as far as it can be known before the run."""
    given = flow_run.parameters or {}
    try:
        cluster = load(str(given.get("config"))).cluster.name
    except DRError:
        cluster = str(given.get("config"))  # the run itself will say what is wrong with it
    named = [given.get("collection"), given.get("backup"), *(given.get("collections") or ())]
    names = [str(n) for n in named if n]
    what = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" * (len(names) > NAMED))
    what += " every collection" * bool(given.get("every"))
    by = provenance()
    who = (by["actor"] or "").removeprefix("prefect:").replace(NOBODY, "")
    who = "scheduled" if by["trigger"] == "schedule" else who
    name = f"{flow_run.flow_name} {cluster}" + (f": {what.strip()}" if what else "")
    name += " dry run" * bool(given.get("dry_run"))
    return f"{name} ({who})" if who else name
