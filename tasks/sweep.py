"""Sweep one repository or node."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from qdrant_dr.jobs.units import SweepUnit
from tasks.shell import RETRIED, do


@task(name="sweep", task_run_name="sweep {unit.label}", **RETRIED)
def sweep(config: str, unit: SweepUnit, run_id: str) -> State[Any]:
    """Remove what killed runs left behind.

    Args:
        config: Reference of the configuration.
        unit: Where to sweep.
        run_id: The run it belongs to.
    """
    return do(config, unit, run_id, limits=[])
