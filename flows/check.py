"""Test what a backup needs, and read every replica."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from prefect import flow
from prefect.client.schemas import State
from pydantic import Field

from flows.parameters import FLOW, ConfigRef, Names
from qdrant_dr.jobs.check.job import CheckRequest
from qdrant_dr.jobs.check.job import check as job
from tasks.run_job import run_job


@flow(name="check", description="Test what a backup needs; compare the replicas.", **FLOW)
def check(
    config: ConfigRef,
    replicas: Literal["no", "sample", "whole"] = "sample",
    collections: Names | None = None,
    repositories: Names | None = None,
    seed: Annotated[int, Field(ge=0)] | None = None,
) -> State[Any]:
    """Test nodes, keys, clocks and repositories, then compare the replicas of each shard.

    Args:
        config: Path or URL of qdrant-dr.yaml as the worker sees it, or block:NAME.
        replicas: How much of every replica is read. Unless `no`, all are counted.
        collections: Compare only the replicas of these. None: of all that are included.
        repositories: Test only these. None: all.
        seed: Makes a sample repeatable. None: a new one each time.
    """
    request = CheckRequest(
        replicas=None if replicas == "no" else replicas,
        collections=collections,
        repositories=repositories,
        seed=seed,
    )
    return run_job(config, "check", job, request)
