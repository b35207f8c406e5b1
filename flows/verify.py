"""Read copies and prove them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from prefect import flow
from prefect.client.schemas import State
from pydantic import Field

from flows.parameters import FLOW, ConfigRef, Names
from qdrant_dr.jobs.verify.job import VerifyRequest
from qdrant_dr.jobs.verify.job import verify as job
from qdrant_dr.records import Depth
from tasks.run_job import run_job


@flow(name="verify", description="Read copies and prove them to a given depth.", **FLOW)
def verify(
    config: ConfigRef,
    collections: Names | None = None,
    repositories: Names | None = None,
    which: Literal["latest", "all"] = "latest",
    depth: Depth | None = None,
    sample_percent: Annotated[int, Field(ge=1, le=99)] | None = None,
    seed: Annotated[int, Field(ge=0)] | None = None,
    not_proven_since_hours: Annotated[int, Field(ge=1)] | None = None,
) -> State[Any]:
    """Read every selected copy in its repository and prove it to a depth.

    Args:
        config: Path or URL of qdrant-dr.yaml as the worker sees it, or block:NAME.
        collections: Only backups of these. None: of all.
        repositories: Only copies in these. None: in all.
        which: The latest backup of each collection, or all of them.
        depth: The depth to prove; restore needs drill.scratch or QDRANT_BIN. None: that of the
            objective.
        sample_percent: Read only this share of the bytes; a sample never counts as proven. None:
            read everything.
        seed: Makes a sample repeatable. None: a new one each time.
        not_proven_since_hours: Only copies whose last sufficient proof is older. None: all.
    """
    request = VerifyRequest(
        collections=collections,
        repositories=repositories,
        which=which,
        depth=depth,
        sample_per_mille=sample_percent * 10 if sample_percent else None,
        seed=seed,
        not_proven_since_hours=not_proven_since_hours,
    )
    return run_job(config, "verify", job, request)
