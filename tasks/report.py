"""Compile the report of one cluster."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import task
from prefect.client.schemas import State

from qdrant_dr.config import Config
from qdrant_dr.records import Outcome
from qdrant_dr.report.job import Compile, ReportRequest
from qdrant_dr.report.job import compile_report as act
from tasks.config import RunRef, config_of
from tasks.retries import RETRIED, awaited
from tasks.states import unit_state


@task(name="report", task_run_name="report as of {as_of:%Y-%m-%d %H:%M}", **RETRIED)
def compile_report(run: RunRef, request: ReportRequest, as_of: datetime) -> State[Any]:
    """Read the records of every repository, judge them, write the page and the frames.

    Args:
        run: The run it belongs to, and its configuration.
        request: Which period, and where to.
        as_of: The moment the report speaks of.
    """
    return unit_state(act(config_of(run), request, as_of))


def compiling(run: RunRef) -> Compile:
    """Compile as a task: what the report's job calls instead of compiling itself."""

    def compile_(_config: Config, request: ReportRequest, as_of: datetime) -> Outcome:
        return awaited(compile_report.submit(run, request, as_of))

    return compile_
