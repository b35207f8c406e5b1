"""Drill one backup."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from qdrant_dr.jobs.run.units import DrillUnit
from tasks.config import RunRef
from tasks.retries import RETRIED, do


@task(name="drill", task_run_name="drill {unit.label}", **RETRIED)
def drill(run: RunRef, unit: DrillUnit) -> State[Any]:
    """Restore one copy somewhere disposable, prove it there, and measure.

    Args:
        run: The run it belongs to, and its configuration.
        unit: Which copy, and with which engine.
    """
    return do(run, unit, repositories=[unit.repository])
