"""Let one copy go."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from qdrant_dr.jobs.run.units import ExpireUnit
from tasks.config import RunRef
from tasks.retries import RETRIED, do


@task(name="expire", task_run_name="expire {unit.label}", **RETRIED)
def expire(run: RunRef, unit: ExpireUnit) -> State[Any]:
    """Look once more whether this copy may go, write it down, delete it.

    Args:
        run: The run it belongs to, and its configuration.
        unit: Which copy, and why.
    """
    return do(run, unit, repositories=[unit.repository])
