"""`export`: the points of a backup as files that anyone can read."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from qdrant_dr.cli.runs import run_verb
from qdrant_dr.cli.session import Given, Reply
from qdrant_dr.jobs.export.job import ExportRequest
from qdrant_dr.jobs.export.job import export as job


def export(
    backup: str,
    /,
    *,
    out: str,
    format: Literal["parquet", "ndjson"] = "parquet",  # noqa: A002 - the name of the option
    credentials_of: str | None = None,
    from_salvage: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """Write the points of a backup to files that pandas, polars or DuckDB read without us.

    One file for each shard, and last a manifest with the digest of each and the fingerprint of the
    points: what was written is read back and compared with the seal. Nothing is ever overwritten.
    Interrupted? Run the same command again.

    Parameters
    ----------
    backup
        NAME@latest-proven, NAME@latest, or NAME@ and the beginning of a backup id.
    out
        A new folder: a path, or a URL such as s3://bucket/movies-2026.
    format
        parquet (typed columns, exact) or ndjson (a line for each point, as a server gives it).
    credentials_of
        Write with the options and credentials of this repository; else with those of the
        environment.
    from_salvage
        Of a damaged archive: export what can still be read, and name the ids of what cannot.
    """
    request = ExportRequest(
        backup=backup,
        out=out,
        format=format,
        credentials_of=credentials_of,
        from_salvage=from_salvage,
    )
    return run_verb(session, "export", request, job)
