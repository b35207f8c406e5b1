"""Verify one copy."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from qdrant_dr.jobs.units import VerifyUnit
from tasks.limits import repository_limit
from tasks.shell import RETRIED, do


@task(name="verify", task_run_name="verify {unit.label}", **RETRIED)
def verify(config: str, unit: VerifyUnit, run_id: str) -> State[Any]:
    """Read one copy and prove it to its depth.

    Args:
        config: Reference of the configuration.
        unit: Which copy, and how deep.
        run_id: The run it belongs to.
    """
    return do(config, unit, run_id, limits=[repository_limit(unit.repository)])
