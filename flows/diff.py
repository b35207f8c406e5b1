"""Say what changed between the last two proven backups."""

from __future__ import annotations

from typing import Any

from prefect import flow
from prefect.client.schemas import State

from flows.parameters import FLOW, ConfigRef, Names
from qdrant_dr.jobs.compare_points.last_two import DiffRequest
from qdrant_dr.jobs.compare_points.last_two import diff as job
from tasks.run_job import run_job


@flow(name="diff", description="Say what changed between the last two proven backups.", **FLOW)
def diff(config: ConfigRef, collections: Names | None = None) -> State[Any]:
    """Compare the last two proven backups of each collection, point by point; the record says how
    many points were lost, new and changed.

    Args:
        config: Path or URL of qdrant-dr.yaml as the worker sees it, or block:NAME.
        collections: Only these. None: all that have two proven backups.
    """
    return run_job(config, "diff", job, DiffRequest(collections=collections))
