"""Write the report, for people and for the auditor."""

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
    """Say what is restorable, how fast, and who says so; as a page, CSV and Parquet.

    The state is that of what the report found: a red one must not end in a green run.

    Args:
        config: Path or URL of qdrant-dr.yaml as the worker sees it, or block:NAME.
        period_days: Runs and drills of this many days before as_of.
        as_of: The moment it speaks of; the same again for the same records. None: now.
    """
    request = ReportRequest(period=timedelta(days=period_days), as_of=as_of)
    return run_job(config, "report", job, request)
