"""Verify one copy."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from qdrant_dr.jobs.run.units import VerifyUnit
from tasks.config import RunRef
from tasks.retries import RETRIED, do


@task(name="verify", task_run_name="verify {unit.label}", **RETRIED)
def verify(run: RunRef, unit: VerifyUnit) -> State[Any]:
    """Read one copy and prove it to its depth.

    Args:
        run: The run it belongs to, and its configuration.
        unit: Which copy, and how deep.
    """
    return do(run, unit, repositories=[unit.repository])
