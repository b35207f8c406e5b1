"""Delete the copies that no rule keeps."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas import State

from flows.parameters import ALONE, ConfigRef, Names
from qdrant_dr.jobs.expire.job import expire as job
from qdrant_dr.jobs.expire.plan import ExpireRequest
from tasks.run_job import run_job


@flow(name="expire", description="Delete the copies that no retention rule keeps.", **ALONE)
def expire(
    config: ConfigRef,
    collections: Names | None = None,
    repositories: Names | None = None,
    dry_run: bool = False,
) -> State[Any]:
    """Decide by `retention`, record every deletion, then delete; never from a partial catalog.

    Args:
        config: Path or URL of qdrant-dr.yaml as the worker sees it, or block:NAME.
        collections: Only backups of these. None: of all.
        repositories: Only copies in these. None: in all.
        dry_run: Plan and report; delete nothing.
    """
    request = ExpireRequest(collections=collections, repositories=repositories, dry_run=dry_run)
    return run_job(config, "expire", job, request)
