"""Acknowledge a finding, or accept a backup as what it is meant to be; take either back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from qdrant_dr.config import Config
from qdrant_dr.errors import CatalogIncomplete, DRError, NothingSelected, UsageError
from qdrant_dr.jobs.run.acknowledgements import read_everywhere
from qdrant_dr.records import AcceptedBackup, Acknowledgement
from qdrant_dr.repository import (
    Backup,
    Repository,
    acknowledgements_that_count,
    add_acknowledgement,
    new_id,
)
from qdrant_dr.repository.acknowledgement import WITNESSES

SUSPECT = "suspect"
"""The finding that a backup drifted: accepting the backup acknowledges it."""

Written = tuple[Acknowledgement, dict[str, DRError]]
"""The record, and the errors of the repositories that could not take it."""


def acknowledge(
    opened: Mapping[str, Repository],
    cluster: str,
    *,
    code: str,
    scope: str,
    facts: str,
    what: str,
    reason: str,
    until: datetime | None,
    by: str,
    now: datetime,
    accepts: AcceptedBackup | None = None,
) -> Written:
    """Write that a finding is known to every repository. Raise UsageError for one that says nothing
    of its instance and no end, CatalogIncomplete if no repository took it."""
    if not facts and until is None:
        raise UsageError(
            f"{code} of {scope} may end and begin anew: it is acknowledged for a time only",
            "add --until 7d, or a date.",
        )
    record = Acknowledgement(
        acknowledgement_id=new_id(now),
        cluster=cluster,
        made_at=now,
        made_by=by,
        reason=reason,
        until=until,
        code=code,
        scope=scope,
        facts=facts,
        what=what,
        accepts=accepts,
    )
    return record, _write(opened, record)


def accept(
    opened: Mapping[str, Repository],
    backup: Backup,
    *,
    reason: str,
    until: datetime | None,
    by: str,
    now: datetime,
) -> Written:
    """Accept the content of a backup: what it drifted from is the past, what follows is measured
    against it. Raise UsageError for one without a seal, for nobody has read it yet."""
    if backup.conflict is not None:
        raise backup.conflict
    if (seal := backup.seal) is None:
        raise UsageError(
            f"{backup.key} has no seal: nobody knows yet what is in it",
            f"run `qdrant-dr verify {backup.key} --depth content` first.",
        )
    return acknowledge(
        opened,
        backup.key.cluster,
        code=SUSPECT,
        scope=str(backup.key),
        facts=seal.sha256,
        what="; ".join(seal.suspect) or "accepted as it is",
        reason=reason,
        until=until,
        by=by,
        now=now,
        accepts=AcceptedBackup(
            backup_id=backup.key.backup_id,
            collection=backup.key.collection,
            incarnation=backup.manifest.incarnation,
            captured_at=backup.manifest.captured_at,
            seal_sha256=seal.sha256,
        ),
    )


def withdraw(
    opened: Mapping[str, Repository],
    cluster: str,
    *,
    code: str,
    scope: str,
    reason: str,
    by: str,
    now: datetime,
) -> Written:
    """Take back every acknowledgement of a finding, also one that a single repository has.

    Raise NothingSelected if there is none.
    """
    found = {name: read.records for name, read in read_everywhere(opened, cluster).items()}
    known = acknowledgements_that_count(found, repositories=1, now=now)
    mine = [a for a in known if (a.code, a.scope) == (code, scope)]
    if not mine:
        raise NothingSelected(
            f"nothing acknowledges {code} of {scope}",
            "`qdrant-dr acknowledge` lists what is acknowledged.",
        )
    record = Acknowledgement(
        acknowledgement_id=new_id(now),
        cluster=cluster,
        made_at=now,
        made_by=by,
        reason=reason,
        code=code,
        scope=scope,
        facts=mine[-1].facts,
        what=mine[-1].what,
        acknowledges=False,
        releases=tuple(a.acknowledgement_id for a in mine),
    )
    return record, _write(opened, record)


def unconfirmed(config: Config, failed: Mapping[str, DRError]) -> CatalogIncomplete | None:
    """Say why an acknowledgement does not count yet: which of these repositories did not take it.
    None: it counts."""
    wanted = min(WITNESSES, len(config.repositories))
    taken = len(config.repositories) - len(failed)
    if taken >= wanted:
        return None
    return CatalogIncomplete(
        f"{taken} of {wanted} repositories took it: it does not count yet",
        "acknowledge it again when another repository can be written.",
    )


def _write(opened: Mapping[str, Repository], record: Acknowledgement) -> dict[str, DRError]:
    failed: dict[str, DRError] = {}
    for name, repository in opened.items():
        try:
            add_acknowledgement(repository, record)
        except DRError as e:
            failed[name] = e
    if len(failed) == len(opened):
        why = "; ".join(e.message for e in failed.values()) or "none can be opened"
        raise CatalogIncomplete(
            f"no repository took the acknowledgement: {why}", "see `qdrant-dr check`."
        )
    return failed
