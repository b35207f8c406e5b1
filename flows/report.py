"""Write the report, for people and for the auditor."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas import State
from pydantic import AwareDatetime, Field

from flows.parameters import FLOW, ConfigRef
from tasks.conduct import conduct
from tasks.report import report as job


@flow(name="report", description="Write the report, computed from the records alone.", **FLOW)
def report(
    config: ConfigRef,
    period_days: Annotated[int, Field(ge=1)] = 30,
    as_of: AwareDatetime | None = None,
) -> State[Any]:
    """Say what is restorable, how fast, and who says so; as a page, CSV and Parquet.

    Completed means that the report is written, not that all is well: read its headline.

    Args:
        config: Path or URL of qdrant-dr.yaml as the worker sees it, or block:NAME.
        period_days: Runs and drills of this many days before as_of.
        as_of: The moment it speaks of; the same again for the same records. None: now.
    """
    # taken before the run begins: a report does not speak of its own run
    at = as_of.astimezone(UTC) if as_of else datetime.now(UTC)
    return conduct(
        config,
        "report",
        lambda cfg, run, _: job(config, cfg, run, as_of=at, period_days=period_days),
    )
