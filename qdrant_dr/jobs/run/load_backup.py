"""Finding one backup and its copies again, inside a unit that knows only its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from qdrant_dr.config import Config
from qdrant_dr.errors import BackupNotFound
from qdrant_dr.jobs.run.acknowledgements import acknowledgements_of
from qdrant_dr.jobs.run.catalogs import catalog_of, open_all
from qdrant_dr.proof import baseline_of
from qdrant_dr.records import BackupKey, Baseline, Manifest, Outcome, Seal
from qdrant_dr.repository import Backup, Copy, Repository, accepts, newest


def newest_manifest(
    config: Config, opened: Mapping[str, Repository], collection: str, *, now: datetime
) -> Manifest | None:
    """Return the last backup of a collection that these repositories know to be ours."""
    backups = catalog_of(config, opened, {}, collection=collection).of(collection)
    found = newest([b for b in backups if b.witness != "nobody"], now=now)
    return found.manifest if found else None


def archive_skip(
    unit: Literal["verify", "drill"], backup: Backup, copy: Copy, now: datetime
) -> Outcome:
    """Build the row of a copy that was not read because it lies in an archive."""
    return Outcome(
        unit=unit,
        collection=backup.key.collection,
        repository=copy.repository,
        backup_id=backup.key.backup_id,
        verdict="skipped",
        started_at=now,
        ended_at=now,
        notes=(f"{copy.archive}; `qdrant-dr show {backup.key}` prints how to bring it back",),
    )


class Found:
    """One backup, looked up in every repository that can be reached."""

    def __init__(
        self, config: Config, key: BackupKey, repository: str, *, unread: Sequence[str] = ()
    ) -> None:
        """Raise what keeps `repository` from being opened, BackupNotFound, or the conflict.

        `unread` are proofs of this copy that the whole catalog misses, and one backup's does not.
        """
        self.opened, self.failed = open_all(config)
        if repository in self.failed:
            raise self.failed[repository]
        if repository not in self.opened:
            raise BackupNotFound(f"there is no repository {repository!r} in the configuration")
        self.repository = self.opened[repository]
        catalog = catalog_of(
            config, self.opened, self.failed, collection=key.collection, backup_id=key.backup_id
        )
        backup = catalog.find(key)
        if backup is None:
            unread = "; ".join(f"{u.path}: {u.error.message}" for u in catalog.unreadable)
            raise BackupNotFound(
                f"no manifest of {key} can be read" + (f": {unread}" * bool(unread))
            )
        if backup.conflict is not None:
            raise backup.conflict
        mine = backup.copy(repository)
        knowing = replace(mine, unread=tuple(dict.fromkeys((*mine.unread, *unread))))
        self.backup: Backup = replace(
            backup, copies=tuple(knowing if c is mine else c for c in backup.copies)
        )
        self.catalog = catalog

    @property
    def manifest(self) -> Manifest:
        return self.backup.manifest


@dataclass(frozen=True, slots=True)
class Before:
    """What the content of a new backup is compared with: the seal of the one before it, and what
    was last accepted."""

    previous: Seal | None
    baseline: Baseline | None


def sealed_before(
    config: Config, opened: Mapping[str, Repository], manifest: Manifest, *, now: datetime
) -> Before:
    """Return the newest older seal of the same incarnation, suspect or not, and the baseline."""
    catalog = catalog_of(config, opened, {}, collection=manifest.collection)
    older = [
        b
        for b in catalog.of(manifest.collection)
        if b.seal is not None
        and b.witness != "nobody"  # a planted baseline would hide what is lost against the true one
        and b.conflict is None
        and b.manifest.incarnation == manifest.incarnation
        and b.manifest.captured_at < manifest.captured_at
    ]
    seals = [b.seal for b in older if b.seal is not None]
    known = acknowledgements_of(config, opened, now=now)
    lasting = [a for a in known if a.until is None]
    accepted = [b.key.backup_id for b in older if any(accepts(a, b) for a in lasting)]
    return Before(
        seals[-1] if seals else None, baseline_of(seals, accepted[-1] if accepted else None)
    )
