"""Before a damaged copy in a chunked repository is stored anew: its bad packs, mended by blocks."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache
from threading import Lock

from qdrant_dr import layout
from qdrant_dr.config import Config
from qdrant_dr.errors import BoxDamaged, BytesDiffer, DRError, ObjectMissing
from qdrant_dr.jobs.run.catalogs import catalog_of
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.prove import bytes_proof
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.records import BackupKey, Part
from qdrant_dr.repository import Backup, Repository, healing_sources
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.repository.pack_dependents import read_users
from qdrant_dr.repository.pack_repair import (
    Elsewhere,
    PackRepair,
    bad_packs,
    repair_packs,
    unreadable_packs,
)
from qdrant_dr.vault.recipe import Recipe

log = logging.getLogger(__name__)
_NAMED = 3


def mend_packs(config: Config, found: Found, run_id: str, *, distrusted: bool) -> PackRepair:
    """Write the bad packs of one copy anew, with the blocks of every backup that uses them.

    Of a copy that is `distrusted` every pack is read, of another the table of each. A copy that
    was to help and is as bad gets a failed proof.
    """
    vault = found.repository
    if not isinstance(vault, ChunkedRepository):
        return PackRepair()
    with _turn(vault, found):
        return _mend(config, found, vault, run_id, distrusted=distrusted)


@cache
def _lock(repository_id: str, cluster: str, collection: str) -> Lock:  # noqa: ARG001 -- its name
    return Lock()


def _turn(vault: ChunkedRepository, found: Found) -> Lock:
    """Copies that share packs are mended one after the other: what one has mended is good for the
    next."""
    return _lock(vault.id, found.manifest.cluster, found.manifest.collection)


def _mend(
    config: Config, found: Found, vault: ChunkedRepository, run_id: str, *, distrusted: bool
) -> PackRepair:
    started_at = utc_now()
    mine = _recipes(vault, found.backup)
    names = {name for recipe in mine for name in recipe.packs}
    if distrusted:
        bad = bad_packs(vault, found.backup.key, names)
    else:
        bad = unreadable_packs(vault, found.backup.key, names)
    if not bad:
        return PackRepair()
    backups = catalog_of(
        config, found.opened, found.failed, collection=found.manifest.collection
    ).of(found.manifest.collection)
    expected = [
        layout.in_backup(backup.key, layout.recipe_file(part.file))
        for backup in backups
        if backup.copy(vault.name).committed
        for part in backup.manifest.parts
    ]
    users = read_users(vault, found.backup.key, utc_now(), expected)
    parts = {(b.key.folder, part.file): (b, part) for b in backups for part in b.manifest.parts}

    def find(folder: str, part_file: str) -> Sequence[Elsewhere]:
        if (there := parts.get((folder, part_file))) is None:
            return ()
        backup, part = there
        return [
            Elsewhere(found.opened[name], backup.key, part)
            for name in healing_sources(backup, utc_now())
            if name != vault.name and name in found.opened
        ]

    told: set[tuple[str, BackupKey]] = set()

    def refused(at: Elsewhere, error: DRError) -> None:
        if (which := (at.repository.name, at.key)) in told:
            return
        told.add(which)
        proof = bytes_proof(
            parts[at.key.folder, at.part.file][0], at.repository, error, bytes_checked=0,
            run_id=run_id, made_by="replicate", started_at=started_at, ended_at=utc_now(),
        )  # fmt: skip
        at.repository.add_proof(proof)

    return repair_packs(vault, found.backup.key, bad, users, find, refused)


def to_replace(
    target: Repository, found: Found, repair: PackRepair, *, distrusted: bool
) -> list[Part]:
    """Return the parts of a copy that must be stored anew. Where blocks are stored once, a part
    that is read and found right is left as it is: what was bad of it was mended."""
    key, parts = found.backup.key, found.manifest.parts
    if not isinstance(target, ChunkedRepository):
        return [p for p in parts if distrusted or not _is_there(target, key, p)]
    doubted = distrusted or bool(repair.repaired)
    return [
        p
        for p in parts
        if not _is_there(target, key, p) or (doubted and not _is_right(target, found, p))
    ]


def nowhere(repair: PackRepair, found: Found) -> str:
    """Say which bytes of this backup nobody has; empty if there are none."""
    lost = [r for r in repair.lost if r.folder == found.backup.key.folder]
    ranges = [f"{r.part} {r.start}-{r.end}" for r in lost]
    more = f" and {len(ranges) - _NAMED} more" if len(ranges) > _NAMED else ""
    named = ", ".join(ranges[:_NAMED])
    return f"; nobody has these bytes of {found.backup.key}: {named}{more}" if lost else ""


def _is_there(target: Repository, key: BackupKey, part: Part) -> bool:
    try:
        if isinstance(target, ChunkedRepository):
            return target.has_part(key, part)
        return target.part_size(key, part) == part.size_bytes
    except BytesDiffer as e:
        log.info("%s", e.message)
        return False


def _is_right(target: Repository, found: Found, part: Part) -> bool:
    try:
        for _ in target.read_verified(found.backup.key, part):
            pass
    except DRError as e:
        if not e.blames_copy:
            raise
        log.info("%s", e.message)
        return False
    return True


def _recipes(vault: ChunkedRepository, backup: Backup) -> list[Recipe]:
    """Its recipes that can be read: a part without one is stored anew as a whole."""
    found = []
    for part in backup.manifest.parts:
        try:
            found.append(vault.read_recipe(backup.key, part.file))
        except (BoxDamaged, ObjectMissing) as e:
            log.info("%s of %s in %s: %s", part.file, backup.key, vault.name, e.message)
    return found
