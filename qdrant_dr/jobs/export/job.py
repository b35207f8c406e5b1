"""`export`: which backup, and the run that leaves a record of it."""

from __future__ import annotations

from pydantic import field_validator

from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, UsageError
from qdrant_dr.jobs.export.destination import open_destination
from qdrant_dr.jobs.read_points.opened_backup import look_up
from qdrant_dr.jobs.run.backup_selector import LATEST_PROVEN, select, skipped, split
from qdrant_dr.jobs.run.run import Run, utc_now
from qdrant_dr.jobs.run.units import ExportForm, ExportUnit, Perform
from qdrant_dr.records import RunEnd
from qdrant_dr.records.base import Frozen
from qdrant_dr.redaction import redact


class ExportRequest(Frozen):
    """Which backup, where to, and in which format. `from_salvage`: also what a damaged archive
    still gives."""

    backup: str
    out: str
    format: ExportForm = "parquet"
    credentials_of: str | None = None
    from_salvage: bool = False

    @field_validator("out")
    @classmethod
    def _holds_no_secret(cls, out: str) -> str:
        if redact(out) != out:  # it goes into the record of the run
            raise UsageError(
                "--out holds a password or a signature",
                "give the plain URL, and the credentials by `--credentials-of REPOSITORY` or the "
                "environment.",
            )
        return out


def export(config: Config, request: ExportRequest, run: Run, perform: Perform) -> RunEnd:
    """Write one backup's points to files. Always an end record."""
    try:
        now = utc_now()
        catalog = run.read_catalog(config)
        proven = config.objectives.proven
        backup = select(request.backup, catalog, proven=proven, now=now)
        if backup.conflict is not None:
            raise backup.conflict
        run.note_source([backup])
        newest = split(request.backup)[1] == LATEST_PROVEN
        doubts = skipped(backup, catalog, proven=proven, now=now) if newest else ()
        unit = ExportUnit(
            key=backup.key,
            repository=look_up(config, backup).repository.name,
            out=request.out,
            form=request.format,
            credentials_of=request.credentials_of,
            salvage=request.from_salvage,
        )
        open_destination(config, request.out, request.credentials_of).files()
        outcomes = perform([unit])
    except DRError as e:
        return run.finish(config, outcomes=[], error=e)
    return run.finish(config, outcomes=outcomes, doubts=doubts)
