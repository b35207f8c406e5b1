"""Heal one copy."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from qdrant_dr.jobs.run.units import HealUnit
from tasks.config import RunRef
from tasks.retries import RETRIED, do


@task(name="heal", task_run_name="heal {unit.label}", **RETRIED)
def heal(run: RunRef, unit: HealUnit) -> State[Any]:
    """Bring one missing or damaged copy back from one that proves its bytes on the way.

    Args:
        run: The run it belongs to, and its configuration.
        unit: Which copy, and from where.
    """
    return do(run, unit, repositories=sorted({unit.repository, *unit.sources}))
