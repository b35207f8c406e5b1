"""What backups take from the packs of chunked repositories, by recipes and tables of packs."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from qdrant_dr.errors import BlockMissing, DRError
from qdrant_dr.layout import PACKS, is_pack_of
from qdrant_dr.records import Manifest
from qdrant_dr.repository.catalog import Backup, Catalog, newest
from qdrant_dr.repository.repository import Repository, is_chunked

if TYPE_CHECKING:
    from qdrant_dr.repository.chunked import ChunkedRepository

log = logging.getLogger(__name__)

_SIDE_BY_SIDE = 8


@dataclass(frozen=True, slots=True)
class PacksUsed:
    """The packs that one backup takes blocks from. `used_bytes` of their `stored_bytes` are of
    blocks that it needs, `shared_bytes` of these in packs that were written for other backups."""

    packs: int
    stored_bytes: int
    used_bytes: int
    shared_bytes: int

    @property
    def use(self) -> float | None:
        """Return the share of its packs that it needs; None if it has none."""
        return self.used_bytes / self.stored_bytes if self.stored_bytes else None


def packs_used(vault: ChunkedRepository, manifest: Manifest) -> PacksUsed:
    """Measure one backup. Raise what reading a recipe or a table of a pack raises, BlockMissing for
    a pack that is gone."""
    from qdrant_dr.vault.decline import use_of
    from qdrant_dr.vault.recipe import Run

    key = manifest.key
    runs: dict[str, list[tuple[int, int]]] = {}
    for part in manifest.parts:
        recipe = vault.read_recipe(key, part.file)
        for step in recipe.steps():
            if isinstance(step, Run):
                runs.setdefault(recipe.packs[step.pack], []).append((step.first, step.blocks))
    listed = vault.list_packs(key) if runs else {}
    if gone := sorted(runs.keys() - listed.keys()):
        raise BlockMissing(f"{PACKS}/{key.cluster}: {len(gone)} packs of {key} are not there")
    uses = [use_of(name, vault.known_table_of(listed[name]), taken) for name, taken in runs.items()]
    return PacksUsed(
        packs=len(uses),
        stored_bytes=sum(u.size_bytes for u in uses),
        used_bytes=sum(u.used_bytes for u in uses),
        shared_bytes=sum(u.used_bytes for u in uses if not is_pack_of(u.name, key.backup_id)),
    )


def measure_packs(
    repositories: Mapping[str, Repository], wanted: Iterable[tuple[str, Backup]]
) -> dict[tuple[str, str], PacksUsed]:
    """Measure backups, each in one repository; return it by repository and folder.

    What is not chunked is left out, and what cannot be read: whoever reads the copy finds what is
    wrong with it."""
    asked = [
        (vault, backup.manifest)
        for name, backup in wanted
        if is_chunked(vault := repositories.get(name))
    ]

    def measure(one: tuple[ChunkedRepository, Manifest]) -> PacksUsed | None:
        vault, manifest = one
        try:
            return packs_used(vault, manifest)
        except DRError as e:
            log.info("packs of %s in %s are not measured: %s", manifest.key, vault.name, e.message)
            return None

    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        found = list(zip(asked, pool.map(measure, asked), strict=True))
    return {
        (vault.name, manifest.key.folder): used
        for (vault, manifest), used in found
        if used is not None
    }


def last_backups(catalog: Catalog, repository: str, now: datetime) -> tuple[Backup, ...]:
    """Return the newest backup of each collection that a repository has."""
    held = {
        name: [b for b in catalog.of(name) if b.copy(repository).committed]
        for name in catalog.collections
    }
    return tuple(b for of_one in held.values() if (b := newest(of_one, now=now)) is not None)


def written_by_last(catalog: Catalog, now: datetime) -> dict[str, dict[str, int]]:
    """Return what the newest backup of each collection wrote to each chunked repository, by name:
    the next one may write as much, whatever its archive takes."""
    return {
        r.name: {
            b.key.collection: b.copy(r.name).written_bytes or 0
            for b in last_backups(catalog, r.name, now)
        }
        for r in catalog.repositories
        if r.layout == "chunked" and r.error is None
    }
