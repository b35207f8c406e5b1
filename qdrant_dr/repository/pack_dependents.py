"""Who may need the blocks of a collection's packs: every recipe that is there, and runs that have
not written theirs yet."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from qdrant_dr import layout
from qdrant_dr.errors import KeyMissing, ObjectArchived, ObjectMissing, RecordError
from qdrant_dr.records import BackupKey
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.repository.holds_and_deletions import find_expired, read_expired
from qdrant_dr.stores.base import Stat
from qdrant_dr.vault.pack_deletion_rules import MARGIN, ORPHAN_GRACE
from qdrant_dr.vault.recipe import Recipe

log = logging.getLogger(__name__)

_MAY_RUN = ORPHAN_GRACE / 2 + MARGIN
"""What a run wrote so long ago is of no run that may still commit."""


@dataclass(frozen=True, slots=True)
class _Listed:
    """The recipes of a collection, and the backups in the making."""

    recipes: frozenset[Stat]
    in_the_making: frozenset[str]


@dataclass(frozen=True, slots=True)
class PackUsers:
    """The recipes of a collection that can be read. `known`: there is no other user of its packs,
    as far as lists tell."""

    recipes: tuple[Recipe, ...]
    known: bool
    listed: _Listed

    def are_all(self, vault: ChunkedRepository, key: BackupKey, now: datetime) -> bool:
        """List once more: say whether these are still all that may need a block."""
        return self.known and _list(vault, key, now) == self.listed


def read_users(
    vault: ChunkedRepository, key: BackupKey, now: datetime, expected: Collection[str] = ()
) -> PackUsers:
    """Read all recipes of the collection of a backup, those of runs that have not committed as
    well. `expected` are paths of recipes that manifests ask for. Raise what is no damage."""
    listed = _list(vault, key, now)
    paths = {there.path for there in listed.recipes}
    recipes = []
    for path in sorted(paths):
        at = layout.read_backup_path(path)
        part = layout.part_file_of(at.file) if at else None
        assert at is not None
        assert part is not None
        of = BackupKey(cluster=at.cluster, collection=key.collection, backup_id=at.backup_id)
        try:
            recipes.append(vault.read_recipe(of, part))
        except (RecordError, ObjectMissing, ObjectArchived, KeyMissing) as e:
            log.info("%s in %s: %s", path, vault.name, e.message)
    known = len(recipes) == len(paths) and not listed.in_the_making and paths.issuperset(expected)
    return PackUsers(tuple(recipes), known, listed)


def _list(vault: ChunkedRepository, key: BackupKey, now: datetime) -> _Listed:
    """What is left of a backup that was let go needs no block: it has no manifest any more, and a
    record that was not taken back says that it was to go."""
    recipes: set[Stat] = set()
    committed: set[str] = set()
    young = {
        at.backup_id
        for there in vault.list_packs(key).values()
        if now - there.modified_at <= _MAY_RUN and (at := layout.read_pack_path(there.path))
    }
    for there in vault.find(layout.backups(key.cluster, key.collection)):
        if (of := layout.read_backup_path(there.path)) is None:
            continue
        if of.file == layout.MANIFEST:
            committed.add(of.backup_id)
        elif layout.part_file_of(of.file):
            recipes.add(there)
        if now - there.modified_at <= _MAY_RUN:
            young.add(of.backup_id)
    let_go = {
        name
        for folder in find_expired(vault, key.cluster, key.collection)
        if (name := folder.rpartition("/")[2]) not in committed
        and (said := read_expired(vault, folder)).records
        and not said.unreadable
    }
    needed = frozenset(r for r in recipes if r.path.split("/")[-2] not in let_go)
    return _Listed(needed, frozenset(young - committed - let_go))
