"""Combine proven backups into one file with which an empty server starts."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas import State
from pydantic import Field

from flows.parameters import ALONE, ConfigRef, Names
from qdrant_dr.jobs.startup_archive.job import StartupRequest
from qdrant_dr.jobs.startup_archive.job import startup as job
from tasks.run_job import run_job


@flow(name="startup", description="Write one file with which an empty server starts.", **ALONE)
def startup(
    config: ConfigRef,
    out: Annotated[str, Field(pattern="^/", examples=["/backup/full.snapshot"])],
    backups: Names | None = None,
    prove: bool = False,
) -> State[Any]:
    """Write a full snapshot for `qdrant --storage-snapshot`; every byte is compared on the way.

    Args:
        config: Path or URL of qdrant-dr.yaml as the worker sees it, or block:NAME.
        out: The file to write, as seen by the worker; it must not exist yet.
        backups: Only these: NAME@latest-proven, or NAME@ and the beginning of a backup id. None:
            the newest proven one of every collection.
        prove: Start a scratch server with it and compare every point and alias; counts as a drill.
    """
    request = StartupRequest(backups=tuple(backups) if backups else None, out=out, prove=prove)
    return run_job(config, "startup", job, request)
