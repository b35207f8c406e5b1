"""Capture one collection into its repositories."""

from __future__ import annotations

from typing import Any

from prefect import task
from prefect.client.schemas import State

from qdrant_dr.jobs.run.units import CaptureUnit, FullUnit
from tasks.config import RunRef
from tasks.retries import SHELL, do


def _name(*, parameters: dict[str, Any]) -> str:
    unit: CaptureUnit = parameters["unit"]
    return f"capture {unit.collection} to {'+'.join(unit.repositories)}"


# no retry: the library retries requests and resumes downloads; a capture done twice would be
# another backup
@task(name="capture", task_run_name=_name, retries=0, **SHELL)  # type: ignore[arg-type]
def capture(run: RunRef, unit: CaptureUnit) -> State[Any]:
    """Make one backup of one collection, written to every repository in one read.

    Args:
        run: The run it belongs to, and its configuration.
        unit: What to capture.
    """
    return do(run, unit, repositories=unit.repositories, cluster=True)


def _full_name(*, parameters: dict[str, Any]) -> str:
    unit: FullUnit = parameters["unit"]
    return f"capture {unit.label} to {'+'.join(unit.repositories)}"


@task(name="capture-full", task_run_name=_full_name, retries=0, **SHELL)  # type: ignore[arg-type]
def capture_full(run: RunRef, unit: FullUnit) -> State[Any]:
    """Make one full snapshot of a node, and of it one backup of each collection.

    Args:
        run: The run it belongs to, and its configuration.
        unit: The node and its collections.
    """
    return do(run, unit, repositories=unit.repositories, cluster=True)
