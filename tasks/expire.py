"""Let one copy go."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from qdrant_dr.jobs.units import ExpireUnit
from tasks.limits import repository_limit
from tasks.shell import RETRIED, do


@task(name="expire", task_run_name="expire {unit.label}", **RETRIED)
def expire(config: str, unit: ExpireUnit, run_id: str) -> State[Any]:
    """Look once more whether this copy may go, write it down, delete it.

    Args:
        config: Reference of the configuration.
        unit: Which copy, and why.
        run_id: The run it belongs to.
    """
    return do(config, unit, run_id, limits=[repository_limit(unit.repository)])
