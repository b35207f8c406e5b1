"""Finding one backup and its copies again, inside a unit that knows only its key."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime

from qdrant_dr.config import Config
from qdrant_dr.errors import BackupNotFound, DRError, SealConflict
from qdrant_dr.jobs.run import open_all
from qdrant_dr.records import BackupKey, Manifest, Seal
from qdrant_dr.repository import (
    Backup,
    Catalog,
    Repository,
    RepositoryState,
    newest,
    read_catalog,
)

log = logging.getLogger(__name__)


def catalog_of(
    config: Config,
    opened: Mapping[str, Repository],
    failed: Mapping[str, DRError],
    *,
    collection: str | None = None,
    backup_id: str | None = None,
) -> Catalog:
    """The catalog over all configured repositories, those that could not be opened included."""
    return read_catalog(
        list(opened.values()),
        cluster=config.cluster.name,
        collection=collection,
        backup_id=backup_id,
        unreachable=[
            RepositoryState(r.name, r.id, r.domain, None, failed[r.name])
            for r in config.repositories
            if r.name in failed
        ],
    )


def newest_manifest(
    config: Config, opened: Mapping[str, Repository], collection: str, *, now: datetime
) -> Manifest | None:
    """The last backup of a collection that any of these repositories knows."""
    backups = catalog_of(config, opened, {}, collection=collection).of(collection)
    found = newest(backups, now=now)
    return found.manifest if found else None


class Found:
    """One backup, looked up in every repository that can be reached."""

    def __init__(self, config: Config, key: BackupKey, repository: str) -> None:
        """Raise what keeps `repository` from being opened, BackupNotFound, or the conflict."""
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
        self.backup: Backup = backup

    @property
    def manifest(self) -> Manifest:
        return self.backup.manifest

    def share_seal(self, seal: Seal) -> Seal:
        """Put the seal beside every manifest, and return the one that holds.

        Two proofs of an unsealed backup may run at once: the first repository that has the backup
        decides, and who comes second takes the seal it finds there. A repository that cannot take
        it now gets it from `replicate`. Raise SealConflict if another one lies elsewhere.
        """
        holders = [c.repository for c in self.backup.copies if c.committed]
        for name in (n for n in holders if n in self.opened):
            try:
                self.opened[name].put_seal(seal)
            except SealConflict:
                standing = self.opened[name].read_seal(self.backup.key)
                if name != holders[0] or standing is None:
                    raise
                seal = standing
            except DRError as e:
                log.warning("%s could not take the seal of %s: %s", name, seal.backup_id, e.message)
        return seal


def previous_seal(
    config: Config, opened: Mapping[str, Repository], manifest: Manifest
) -> Seal | None:
    """The seal of the newest older backup of the same incarnation: what drift is measured from."""
    catalog = catalog_of(config, opened, {}, collection=manifest.collection)
    older = [
        b
        for b in catalog.of(manifest.collection)
        if b.seal is not None
        and b.manifest.incarnation == manifest.incarnation
        and b.manifest.captured_at < manifest.captured_at
    ]
    found = newest(older, now=manifest.captured_at)
    return found.seal if found else None
