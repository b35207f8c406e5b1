"""Compare the replicas of one collection."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from qdrant_dr.jobs.run.units import CompareUnit
from tasks.config import RunRef
from tasks.retries import RETRIED, do


@task(name="compare", task_run_name="compare {unit.label}", **RETRIED)
def compare(run: RunRef, unit: CompareUnit) -> State[Any]:
    """Read every replica of one collection on its own node, and lay them side by side.

    Args:
        run: The run it belongs to, and its configuration.
        unit: Which collection, and how much of it.
    """
    return do(run, unit, repositories=(), cluster=True)
