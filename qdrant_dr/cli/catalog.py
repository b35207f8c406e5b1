"""Read the catalog for a command, and build one row of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from cyclopts import Parameter

from qdrant_dr.cli.exit_codes import Verdict
from qdrant_dr.cli.session import Reply, Session
from qdrant_dr.errors import BackupLost, DRError
from qdrant_dr.hints import filled
from qdrant_dr.jobs.run.catalogs import catalog_of, open_all
from qdrant_dr.jobs.run.scope import selected_repositories
from qdrant_dr.records import DEPTHS, Depth
from qdrant_dr.records.proof import depth_rank
from qdrant_dr.repository import (
    REACH,
    Backup,
    Catalog,
    Copy,
    counted_copies,
    proof_of,
    proven_copies,
    stranger_remarks,
)

Repositories = Annotated[tuple[str, ...], Parameter(name=["--repository", "-r"], negative=())]


def read(
    session: Session,
    repository: tuple[str, ...],
    collection: str | None,
    *,
    remember: bool = False,
) -> Catalog:
    """Read the catalog. What seems lost in one repository may be in another."""
    names = selected_repositories(session.config, repository or None)
    opened, failed = open_all(session.config, names, remember=remember)
    now = datetime.now(UTC)
    catalog = catalog_of(
        session.config, opened, failed, collection=collection, runs=(now - REACH, now)
    )
    return replace(catalog, lost=()) if repository else catalog


def with_troubles(reply: Reply, catalog: Catalog, more: list[DRError] | None = None) -> Reply:
    """Add what could not be read: the reply is degraded, or failed if nothing could be read."""
    errors = [r.error for r in catalog.unreachable if r.error is not None]
    exit_code = catalog.blind.exit_code if catalog.blind else None
    errors += [u.error for u in catalog.unreadable] + (more or [])
    errors += [
        BackupLost(
            f"{lost.key}: {lost.what}", filled(BackupLost.default_hint, backup=str(lost.key))
        )
        for lost in catalog.lost
    ]
    verdict: Verdict = "degraded" if errors else "ok"
    return Reply(
        rows=reply.rows,
        columns=reply.columns,
        text=reply.text,
        remarks=[*stranger_remarks(catalog.strangers), *reply.remarks],
        verdict="failed" if catalog.blind else verdict,
        exit_code=exit_code,
        errors=errors,
    )


def backup_row(session: Session, backup: Backup, now: datetime) -> dict[str, Any]:
    proven = session.config.objectives.proven
    manifest = backup.manifest
    good = proven_copies(backup, depth=proven.depth, max_age=proven.max_age, now=now)
    depths = [d for copy in backup.copies if (d := deepest(copy, now))]
    return {
        "collection": manifest.collection,
        "backup_id": manifest.backup_id,
        "captured_at": manifest.captured_at,
        "age_seconds": (now - manifest.captured_at) / timedelta(seconds=1),
        "size_bytes": manifest.size_bytes,
        "points": backup.seal.points if backup.seal else None,
        "copies": len(counted_copies(backup, now=now)),
        "proven": bool(good),
        "depth": max(depths, key=depth_rank, default=None),
    }


def deepest(copy: Copy, now: datetime) -> Depth | None:
    return next((d for d in reversed(DEPTHS) if proof_of(copy, depth=d, now=now)), None)
