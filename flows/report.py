"""Write the report."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas import State
from pydantic import AwareDatetime, Field

from flows.parameters import ALONE, ConfigRef
from qdrant_dr.report.job import ReportRequest
from qdrant_dr.report.job import report as job
from tasks.run_job import run_job


@flow(name="report", description="Write the report, computed from the records alone.", **ALONE)
def report(
    config: ConfigRef,
    period_days: Annotated[int, Field(ge=1)] = 30,
    as_of: AwareDatetime | None = None,
) -> State[Any]:
    """Report what can be restored, how fast, and on what evidence; as a page, CSV and Parquet.

    The state of the run is that of the worst finding, so that a red report never ends green.

    Args:
        config: Path or URL of qdrant-dr.yaml as the worker sees it, or block:NAME.
        period_days: Cover runs and drills of this many days before as_of.
        as_of: The moment to report on; the same records give the same report. None: now.
    """
    request = ReportRequest(period=timedelta(days=period_days), as_of=as_of)
    return run_job(config, "report", job, request)
