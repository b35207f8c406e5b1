"""`backup` and `replicate`."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from qdrant_dr.cli.catalog import Repositories
from qdrant_dr.cli.runs import run_verb
from qdrant_dr.cli.session import Given, Reply
from qdrant_dr.jobs.backup.job import BackupRequest
from qdrant_dr.jobs.backup.job import backup as back_up
from qdrant_dr.jobs.replicate.job import ReplicateRequest
from qdrant_dr.jobs.replicate.job import replicate as bring_back
from qdrant_dr.records import ProvableDepth
from qdrant_dr.records.manifest import Method


def backup(
    *collections: str,
    repository: Repositories = (),
    method: Literal["auto"] | Method | None = None,
    prove: ProvableDepth | None = None,
    note: str = "",
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """Back up collections to every repository, and prove the copies.

    One copy of each new backup is proven to --prove, the others to bytes. The command fails if a
    backup has too few copies, or in too few failure domains.

    Parameters
    ----------
    collections
        Only these; else all that the configuration includes.
    repository
        Only to this repository; may be repeated.
    method
        How the snapshot is made; as configured if left out.
    prove
        How deep the first copy is proven; as the objective says if left out.
    note
        Kept in the manifest.
    dry_run
        Say what would be done, and do none of it.
    """
    request = BackupRequest(
        collections=collections or None,
        repositories=repository or None,
        method=method,
        prove=prove,
        note=note,
        dry_run=dry_run,
    )
    return run_verb(session, "backup", request, back_up)


def replicate(
    *backups: str,
    repository: Repositories = (),
    vouch: Annotated[bool, Parameter(negative=())] = False,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    session: Given,
) -> Reply:
    """Bring missing or damaged copies back from a proven one.

    The source proves its bytes during the transfer; a good copy is never touched.

    Parameters
    ----------
    backups
        Only these: NAME@latest-proven, NAME@latest, or NAME@ and the beginning of a backup id.
    repository
        Only copies in this repository; may be repeated.
    vouch
        You know that these backups are yours, though one repository alone tells of them.
    dry_run
        Say what would be done, and do none of it.
    """
    request = ReplicateRequest(
        backups=backups or None, repositories=repository or None, vouch=vouch, dry_run=dry_run
    )
    return run_verb(session, "replicate", request, bring_back)
