"""Units, performed by flows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from qdrant_dr.jobs.run.units import CaptureUnit, Unit, VerifyUnit
from qdrant_dr.records import Outcome
from tests.support import records as made

CONFIG = made.config("aws", "gcp", capture={"parallel_collections": 1})


RUN = "20261122T120000Z-aaaaaa"


Act = Callable[[Unit], Outcome]


def capture_unit(collection: str) -> CaptureUnit:
    return CaptureUnit(
        collection=collection,
        nodes=("http://127.0.0.1:1",),
        repositories=("aws", "gcp"),
        method="collection",
        method_reason="one node",
    )


def verify_unit(collection: str) -> VerifyUnit:
    return VerifyUnit(key=made.manifest(collection).key, repository="aws", depth="bytes")


def performed(
    act: Act, units: Sequence[Unit], monkeypatch: pytest.MonkeyPatch, **options: Any
) -> list[Outcome]:
    """What a flow gets whose units do `act`; retries do not wait."""
    from prefect import flow
    from prefect.task_runners import ThreadPoolTaskRunner

    from tasks import submit_units, unit_tasks
    from tasks.concurrency_limits import ensure_limits
    from tasks.config import RunRef, held

    monkeypatch.setattr(unit_tasks, "execute", lambda config, unit, run_id: act(unit))
    hasty = {
        name: task if name == "capture" else task.with_options(retry_delay_seconds=0)
        for name, task in submit_units.TASKS.items()
    }
    monkeypatch.setattr(submit_units, "TASKS", hasty)

    @flow(task_runner=ThreadPoolTaskRunner(max_workers=4), validate_parameters=False)
    def harness() -> list[Outcome]:
        ensure_limits(CONFIG)
        with held(RUN, CONFIG):
            return submit_units.UnitSubmitter(RunRef("unused.yaml", RUN, CONFIG.sha256), **options)(
                units
            )

    return harness()


def outcome(unit: Unit, **fields: Any) -> Outcome:
    fields = {"verdict": "ok", "started_at": made.NOW, "ended_at": made.NOW, **fields}
    return Outcome(unit=unit.unit, collection=unit.collection, **fields)
