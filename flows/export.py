"""Write the points of a backup to files that anyone can read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from prefect import flow
from prefect.client.schemas import State
from pydantic import Field

from flows.parameters import ALONE, ConfigRef
from qdrant_dr.jobs.export.job import ExportRequest
from qdrant_dr.jobs.export.job import export as job
from tasks.run_job import run_job

Out = Annotated[str, Field(pattern="^(/|[a-z0-9]+://)", examples=["s3://archive/movies-2026"])]


@flow(name="export", description="Write a backup's points as Parquet or NDJSON.", **ALONE)
def export(
    config: ConfigRef,
    backup: str,
    out: Out,
    form: Literal["parquet", "ndjson"] = "parquet",
    credentials_of: str | None = None,
    from_salvage: bool = False,
) -> State[Any]:
    """Write one file for each shard, each read back and compared with the seal, and a manifest
    last; nothing is overwritten, and the same run again goes on where one was killed.

    Args:
        config: Path or URL of qdrant-dr.yaml as the worker sees it, or block:NAME.
        backup: NAME@latest-proven, NAME@latest, or NAME@ and the beginning of a backup id.
        out: A new folder as seen by the worker, or a URL of a store.
        form: Parquet, or NDJSON.
        credentials_of: Write with the options and credentials of this repository. None: with those
            of the worker's environment.
        from_salvage: Of a damaged archive: what can still be read, and the ids of what cannot.
    """
    request = ExportRequest(
        backup=backup,
        out=out,
        format=form,
        credentials_of=credentials_of,
        from_salvage=from_salvage,
    )
    return run_job(config, "export", job, request)
