"""`list`: list backups from the records, without contacting the cluster."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter

from qdrant_dr.cli.catalog import Repositories, backup_row, read, with_troubles
from qdrant_dr.cli.session import Column, Given, Reply
from qdrant_dr.cli.words import moment, yes
from qdrant_dr.errors import BackupNotFound
from qdrant_dr.quantities import format_size, how_long

BACKUPS = (
    Column("collection", "COLLECTION"),
    Column("backup_id", "BACKUP"),
    Column("captured_at", "CAPTURED", moment, spare=1),
    Column("age_seconds", "AGE", how_long, right=True),
    Column("size_bytes", "SIZE", format_size, right=True),
    Column("points", "POINTS", str, right=True, spare=2),
    Column("copies", "COPIES", str, right=True),
    Column("proven", "PROVEN", yes),
    Column("depth", "DEPTH", spare=3),
)


def list_backups(
    collection: str | None = None,
    /,
    *,
    repository: Repositories = (),
    unproven: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """List backups: age, size, copies, and the depth to which they are proven.

    Parameters
    ----------
    collection
        Only backups of this collection, which may be gone from the cluster.
    repository
        Only copies in this repository; may be repeated.
    unproven
        Only backups without a currently proven copy.
    """
    now = datetime.now(UTC)
    catalog = read(session, repository, collection, remember=True)
    rows = [
        row
        for backup in catalog.backups
        if any(copy.committed for copy in backup.copies)
        and not ((row := backup_row(session, backup, now))["proven"] and unproven)
    ]
    if collection and not catalog.backups and catalog.complete:
        raise BackupNotFound(f"there is no backup of {collection!r}")
    remarks: list[str] = []
    if not rows and len(catalog.unreachable) < len(catalog.repositories):
        where = " in what could be read" * (not catalog.complete)
        remarks = ["no backup" + " without a proof" * unproven + where]
    return with_troubles(Reply(rows=rows, columns=BACKUPS, remarks=remarks), catalog)
