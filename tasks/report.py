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
from tasks.config import config_of
from tasks.shell import RETRIED
from tasks.states import UnitFailed, unit_state


@task(name="report", task_run_name="report as of {as_of:%Y-%m-%d %H:%M}", **RETRIED)
def compile_report(config: str, request: ReportRequest, as_of: datetime, run_id: str) -> State[Any]:
    """Read the records of every repository, judge them, write the page and the frames.

    Args:
        config: Reference of the configuration.
        request: Which period, and where to.
        as_of: The moment the report speaks of.
        run_id: The run it belongs to.
    """
    return unit_state(act(config_of(config, run_id), request, as_of))


def compiling(config: str, run_id: str) -> Compile:
    """Compile as a task: what the report's job calls instead of compiling itself."""

    def compile_(_config: Config, request: ReportRequest, as_of: datetime) -> Outcome:
        future = compile_report.submit(config, request, as_of, run_id)
        result: Any = future.result(raise_on_failure=False)
        if isinstance(result, UnitFailed):
            return result.outcome
        if isinstance(result, BaseException):
            raise result
        assert isinstance(result, Outcome)
        return result

    return compile_
