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

    One copy of each new backup is proven to the depth of --prove, the others to bytes. The command
    fails if a backup has too few copies, or copies in too few failure domains.

    Parameters
    ----------
    collections
        Only these. Default: all that the configuration includes.
    repository
        Back up to this repository only; may be repeated.
    method
        How the snapshot is made. Default: as configured.
    prove
        The depth to which the first copy is proven. Default: that of the objective.
    note
        A note to store in the manifest.
    dry_run
        Say what would be done, and change nothing.
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
    """Replace missing or damaged copies from a proven one.

    The bytes of the source are proven during the transfer; a good copy is never touched.

    Parameters
    ----------
    backups
        Only these: NAME@latest-proven, NAME@latest, or NAME@ and the beginning of a backup id.
    repository
        Only copies in this repository; may be repeated.
    vouch
        Vouch that these backups are yours although only one repository knows of them.
    dry_run
        Say what would be done, and change nothing.
    """
    request = ReplicateRequest(
        backups=backups or None, repositories=repository or None, vouch=vouch, dry_run=dry_run
    )
    return run_verb(session, "replicate", request, bring_back)
