"""What Prefect shows of each unit: the name of its task, of its run, and how often it is tried."""

from __future__ import annotations

from datetime import timedelta
from typing import get_args

import cloudpickle
import pytest

from qdrant_dr.jobs.run.units import ReportUnit, SweepUnit, Unit, WatchUnit
from tasks.unit_tasks import TASKS
from tests.support import records as made
from tests.support.units import capture_unit, verify_unit

KINDS = {kind.model_fields["unit"].default for kind in get_args(get_args(Unit)[0])}


def test_every_unit_has_its_task() -> None:
    assert TASKS.keys() == KINDS
    once = {unit for unit, task in TASKS.items() if task.retries == 0}
    assert once == {"capture", "capture-full", "restore", "restore-points", "watch"}
    assert {task.retries for unit, task in TASKS.items() if unit not in once} == {2}
    assert all(task.description and not task.tags for task in TASKS.values())
    assert {u for u, task in TASKS.items() if task.name != u} == {"watch"}
    assert TASKS["watch"].name == "look"


@pytest.mark.parametrize(
    ("unit", "name"),
    [
        (capture_unit("movies"), "capture movies to aws+gcp"),
        (verify_unit("movies"), f"verify {verify_unit('movies').label}"),
        (SweepUnit(now=made.NOW, repository="aws"), "sweep aws"),
        (WatchUnit(now=made.NOW), "look at records and cluster"),
        (
            ReportUnit(as_of=made.NOW, period=timedelta(days=30), formats=("csv",)),
            f"report as of {made.NOW:%Y-%m-%d %H:%M}",
        ),
    ],
    ids=lambda value: getattr(value, "unit", ""),
)
def test_a_task_run_is_named_for_its_unit(unit: Unit, name: str) -> None:
    task = cloudpickle.loads(cloudpickle.dumps(TASKS[unit.unit]))  # as Dask sends it
    assert task.task_run_name(parameters={"run": None, "unit": unit}) == name
