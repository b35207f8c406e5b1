"""Drill one backup."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from qdrant_dr.jobs.units import DrillUnit
from tasks.limits import repository_limit
from tasks.shell import RETRIED, do


@task(name="drill", task_run_name="drill {unit.label}", **RETRIED)
def drill(config: str, unit: DrillUnit, run_id: str) -> State[Any]:
    """Restore one copy somewhere disposable, prove it there, and measure.

    Args:
        config: Reference of the configuration.
        unit: Which copy, and with which engine.
        run_id: The run it belongs to.
    """
    return do(config, unit, run_id, limits=[repository_limit(unit.repository)])
