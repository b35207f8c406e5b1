"""Back up collections, prove the copies, and clean up."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from prefect import flow
from prefect.client.schemas import State
from pydantic import Field

from flows.parameters import FLOW, ConfigRef, Names, ProofDepth
from qdrant_dr.jobs.backup.job import BackupRequest
from qdrant_dr.jobs.backup.job import backup as job
from tasks.run_job import run_job


@flow(
    name="backup", description="Capture collections into every repository and prove them.", **FLOW
)
def backup(
    config: ConfigRef,
    collections: Names | None = None,
    repositories: Names | None = None,
    method: Literal["auto", "collection", "shard", "stream", "full"] | None = None,
    prove: ProofDepth | None = None,
    min_age_minutes: Annotated[int, Field(ge=0)] | None = None,
    note: str = "",
    dry_run: bool = False,
) -> State[Any]:
    """Capture every collection the configuration includes, once, into all its repositories.

    Args:
        config: Path or URL of qdrant-dr.yaml as the worker sees it, or block:NAME.
        collections: Only these. None: all that the configuration includes.
        repositories: Write only to these. None: to all.
        method: How to capture. None: as configured.
        prove: The depth to which one copy of each new backup is proven before the run ends; its
            other copies are proven to bytes. None: that of the objective.
        min_age_minutes: Leave out collections whose newest proven backup is younger. None: none.
        note: A note to store in the manifest of each backup.
        dry_run: Plan and report; change nothing.
    """
    request = BackupRequest(
        collections=collections,
        repositories=repositories,
        method=method,
        prove=prove,
        min_age_minutes=min_age_minutes,
        note=note,
        dry_run=dry_run,
    )
    return run_job(config, "backup", job, request)
