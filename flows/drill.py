"""Restore one backup somewhere disposable, prove it there, and measure."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from prefect import flow
from prefect.client.schemas import State
from pydantic import Field

from flows.parameters import FLOW, ConfigRef
from qdrant_dr.jobs.drill import DrillRequest
from qdrant_dr.jobs.drill import drill as job
from tasks.conduct import conduct


@flow(name="drill", description="Restore a backup somewhere disposable, and measure.", **FLOW)
def drill(
    config: ConfigRef,
    collection: Annotated[str, Field(min_length=1)] | None = None,
    repository: Annotated[str, Field(min_length=1)] | None = None,
    pick: Literal["coverage", "latest", "random"] | None = None,
    engine: Literal["edge", "server"] | None = None,
    seed: Annotated[int, Field(ge=0)] | None = None,
    note: str = "",
) -> State[Any]:
    """Fetch a backup, restore it, prove every point of it there, tear down; each phase timed.

    Args:
        config: Path or URL of qdrant-dr.yaml as the worker sees it, or block:NAME.
        collection: A backup of this one. None: picked.
        repository: The copy in this one. None: in reading order.
        pick: The backup longest without a drill, the latest, or a seeded random one. None: as
            configured.
        engine: Qdrant's storage engine in a process of its own, or a disposable server. None: as
            configured.
        seed: Makes a random pick repeatable. None: a new one each time.
        note: Kept in the run's record.
    """
    request = DrillRequest(
        collection=collection,
        repository=repository,
        pick=pick,
        engine=engine,
        seed=seed,
        note=note,
    )
    return conduct(config, "drill", lambda cfg, run, perform: job(cfg, request, run, perform))
