"""Heal one copy."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from qdrant_dr.jobs.units import HealUnit
from tasks.limits import repository_limit
from tasks.shell import RETRIED, do


@task(name="heal", task_run_name="heal {unit.label}", **RETRIED)
def heal(config: str, unit: HealUnit, run_id: str) -> State[Any]:
    """Bring one missing or damaged copy back from one that proves its bytes on the way.

    Args:
        config: Reference of the configuration.
        unit: Which copy, and from where.
        run_id: The run it belongs to.
    """
    return do(
        config, unit, run_id, limits=[repository_limit(n) for n in {unit.repository, *unit.sources}]
    )
