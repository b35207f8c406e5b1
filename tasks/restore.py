"""Restore one backup for real."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from qdrant_dr.jobs.units import RestoreUnit
from tasks.limits import repository_limit
from tasks.shell import SHELL, do


@task(name="restore", task_run_name="restore {unit.label}", **SHELL)
def restore(config: str, unit: RestoreUnit, run_id: str) -> State[Any]:
    """Restore one backup, prove it on the target, set its aliases.

    It is not tried again by itself: what it was interrupted in is continued by running it again,
    after somebody has looked.

    Args:
        config: Reference of the configuration.
        unit: Which backup, to where, and how.
        run_id: The run it belongs to.
    """
    return do(config, unit, run_id, limits=[repository_limit(unit.repositories[0])])
