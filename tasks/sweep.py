"""Sweep one repository or node."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from qdrant_dr.jobs.run.units import SweepUnit
from tasks.config import RunRef
from tasks.retries import RETRIED, do


@task(name="sweep", task_run_name="sweep {unit.label}", **RETRIED)
def sweep(run: RunRef, unit: SweepUnit) -> State[Any]:
    """Remove what killed runs left behind.

    Args:
        run: The run it belongs to, and its configuration.
        unit: Where to sweep.
    """
    return do(run, unit, repositories=[])
