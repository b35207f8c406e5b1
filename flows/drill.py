"""Restore backups to a disposable server, prove them there, and measure the time."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from prefect import flow
from prefect.client.schemas import State
from pydantic import Field

from flows.parameters import ALONE, ConfigRef
from qdrant_dr.jobs.drill.job import DrillRequest
from qdrant_dr.jobs.drill.job import drill as job
from qdrant_dr.jobs.drill.scenario import usable
from tasks.run_job import run_job


@flow(name="drill", description="Restore a backup to a disposable server and measure.", **ALONE)
def drill(
    config: ConfigRef,
    collection: Annotated[str, Field(min_length=1)] | None = None,
    repository: Annotated[str, Field(min_length=1)] | None = None,
    pick: Literal["coverage", "latest", "random"] | None = None,
    engine: Literal["edge", "server"] | None = None,
    seed: Annotated[int, Field(ge=0)] | None = None,
    scenario: Annotated[
        str, Field(pattern=r"^(lost-collection|lost-node|lost-cloud:[a-z0-9-]+|no-prefect)$")
    ]
    | None = None,
    ran_by: str = "",
    note: str = "",
) -> State[Any]:
    """Fetch, restore, prove every point, tear down; time each phase; one copy after the other.

    Without a collection it drills as many copies as `drill.budget` allows, the longest undrilled
    first, so that each collection in each repository gets its turn.

    Args:
        config: Path or URL of qdrant-dr.yaml as the worker sees it, or block:NAME.
        collection: Drill one backup of this collection. None: of any.
        repository: Only copies in this repository. None: in any.
        pick: The copies that have gone undrilled longest, the latest backup, or a seeded random
            one. None: as configured.
        engine: Qdrant's storage engine in its own process, or a disposable server. None: as
            configured.
        seed: Makes a random pick repeatable. None: a new one each time.
        scenario: What counts as lost and is not used: lost-collection, lost-node (the cluster),
            lost-cloud:NAME (the cluster, and the repositories in the failure domain of NAME).
            no-prefect needs the command line and is refused here. None: nothing is lost.
        ran_by: Who runs this drill, because Prefect does not always know.
        note: A note to store in the run's record.
    """
    request = DrillRequest(
        collection=collection,
        repository=repository,
        pick=pick,
        engine=engine,
        seed=seed,
        scenario=scenario,
        ran_by=ran_by,
        note=note,
    )
    return run_job(config, "drill", job, request, usable=lambda cfg: usable(cfg, scenario))
