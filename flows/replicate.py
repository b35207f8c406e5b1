"""Replace missing and damaged copies from good ones."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas import State

from flows.parameters import FLOW, ConfigRef, Names
from qdrant_dr.jobs.replicate.job import ReplicateRequest
from qdrant_dr.jobs.replicate.job import replicate as job
from tasks.run_job import run_job


@flow(name="replicate", description="Heal missing, incomplete and damaged copies.", **FLOW)
def replicate(
    config: ConfigRef,
    collections: Names | None = None,
    repositories: Names | None = None,
    dry_run: bool = False,
) -> State[Any]:
    """Heal every copy that is missing, behind or proven damaged, from one whose bytes are proven.

    Args:
        config: Path or URL of qdrant-dr.yaml as the worker sees it, or block:NAME.
        collections: Only backups of these. None: of all.
        repositories: Heal only these. None: all.
        dry_run: Plan and report; change nothing.
    """
    request = ReplicateRequest(collections=collections, repositories=repositories, dry_run=dry_run)
    return run_job(config, "replicate", job, request)
