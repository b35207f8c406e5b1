"""Restore one backup for real."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from qdrant_dr.jobs.run.units import RestoreUnit
from tasks.config import RunRef
from tasks.retries import SHELL, do


@task(name="restore", task_run_name="restore {unit.label}", **SHELL)
def restore(run: RunRef, unit: RestoreUnit) -> State[Any]:
    """Restore one backup, prove it on the target, set its aliases.

    It is not tried again by itself: what it was interrupted in is continued by running it again,
    after somebody has looked.

    Args:
        run: The run it belongs to, and its configuration.
        unit: Which backup, to where, and how.
    """
    return do(run, unit, repositories=[unit.repositories[0]])
