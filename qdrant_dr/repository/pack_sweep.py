"""Packs that nothing needs any more, and the recipes of backups that are over: found and removed.

What goes is decided by `qdrant_dr.vault.pack_deletion_rules`, from records, lists and recipes that
are read after the `now` it counts from. What may be needed and cannot be read lets nothing of its
collection go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from qdrant_dr import layout
from qdrant_dr.errors import DRError, RepositoryUnreachable
from qdrant_dr.quantities import format_size
from qdrant_dr.repository.catalog import Catalog, Unfinished
from qdrant_dr.repository.delete_permission import clean
from qdrant_dr.repository.foreign_objects import strangers_in_words
from qdrant_dr.repository.holds_and_deletions import find_expired
from qdrant_dr.repository.repository import Repository, is_chunked
from qdrant_dr.repository.sweep import needed
from qdrant_dr.stores.base import Stat
from qdrant_dr.vault.pack_deletion_rules import (
    ORPHAN_GRACE,
    Holding,
    packs_to_delete,
    protects,
    rewritten_lately,
)

if TYPE_CHECKING:
    from qdrant_dr.repository.chunked import ChunkedRepository

_AT_ONCE = 8
_CLOCK_STEP = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class PackPlan:
    """What goes of the packs of one repository; `recipes`, of backups that are over, go after them.

    `unjudged`: collections of which nothing goes, and why; `remarks`: the same, of what only looks
    odd.
    """

    packs: tuple[Stat, ...] = ()
    recipes: tuple[Unfinished, ...] = ()
    unjudged: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PackSweeping:
    """What was removed. `hidden_bytes` are those that the store keeps, or refused to remove."""

    removed: tuple[str, ...] = ()
    freed_bytes: int = 0
    hidden_bytes: int = 0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Recipes:
    """The recipes of one backup, and what the law asks of it."""

    holding: Holding
    paths: tuple[str, ...]
    unfinished: Unfinished | None = None


def plan_packs(
    repository: Repository,
    catalog: Catalog,
    *,
    store_now: datetime,
    held: Collection[str] = (),
    orphan_grace: timedelta = ORPHAN_GRACE,
) -> PackPlan:
    """List the packs, read the recipes that protect, decide by the law.

    The catalog was read after `store_now`; `held` are ids of backups that somebody holds. Of a
    catalog that is not complete nothing goes.
    """
    if not is_chunked(repository) or not catalog.complete:
        return PackPlan()  # why, `plan_sweep` says
    listed, strangers = repository.sort_out(layout.packs(catalog.cluster))
    let_go = find_expired(repository, catalog.cluster)
    places: defaultdict[str, _Collection] = defaultdict(_Collection)
    for there in listed:
        if (at := layout.read_pack_path(there.path)) is not None:
            places[f"{at.cluster}/{at.collection_folder}"].packs[there.path] = there
    for found in _recipes(catalog, repository.name, held):
        alive = protects(found.holding, now=store_now, grace=orphan_grace)
        place = places[found.holding.folder.rpartition("/")[0]]
        (place.alive if alive else place.over).append(found)
    plans = []
    for folder, place in sorted(places.items()):
        if not place.to_judge(folder, let_go, store_now - orphan_grace):
            continue
        beside = [s.path for s in strangers if s.path.startswith(f"{layout.PACKS}/{folder}/")]
        if beside:
            why = f"no pack of {folder} goes: in its folder {strangers_in_words(beside)}"
            plans.append(PackPlan(remarks=(why,)))
        elif missed := _missed(catalog, repository.name, folder):
            plans.append(PackPlan(unjudged=(f"no pack of {folder} goes: {missed}",)))
        else:
            plans.append(_judge(repository, folder, place, store_now, orphan_grace))
    return PackPlan(
        tuple(p for plan in plans for p in plan.packs),
        tuple(r for plan in plans for r in plan.recipes),
        tuple(u for plan in plans for u in plan.unjudged),
        tuple(r for plan in plans for r in plan.remarks),
    )


@dataclass(slots=True)
class _Collection:
    """The packs of one collection by path, and the recipes that protect some of them, or do not."""

    packs: dict[str, Stat] = field(default_factory=dict)
    alive: list[_Recipes] = field(default_factory=list)
    over: list[_Recipes] = field(default_factory=list)

    def to_judge(self, folder: str, let_go: Collection[str], before: datetime) -> bool:
        """Say whether anything may go: recipes are over, or old packs are of no backup that is
        there or was let go. Those of one that was let go were judged before its recipes went."""
        known = {r.holding.folder for r in self.alive}.union(let_go)
        owners = (
            f"{folder}/{at.backup_id}"
            for path, there in self.packs.items()
            if there.modified_at < before and (at := layout.read_pack_path(path)) is not None
        )
        return bool(self.over) or any(owner not in known for owner in owners)


def _judge(
    repository: ChunkedRepository, folder: str, place: _Collection, now: datetime, grace: timedelta
) -> PackPlan:
    paths = [path for recipes in place.alive for path in recipes.paths]
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        read = list(pool.map(partial(_packs_of, repository), paths))
    for path, found in zip(paths, read, strict=True):
        if isinstance(found, DRError):
            why = f"no pack of {folder} goes: {path} cannot be read: {found.message}"
            return PackPlan(unjudged=(why,))
    packs = {p: found for p, found in zip(paths, read, strict=True) if isinstance(found, frozenset)}
    if _rewritten_lately(repository, folder, place, packs, now, grace):
        return PackPlan()
    goes = packs_to_delete(
        {path: there.modified_at for path, there in place.packs.items()},
        [None if isinstance(found, DRError) else found for found in read],
        now=now,
        grace=grace,
    )
    over = (r.unfinished for r in place.over)
    return PackPlan(
        tuple(place.packs[path] for path in sorted(goes)),
        tuple(u for u in over if u is not None and u.expired),
    )


def _rewritten_lately(
    repository: Repository,
    folder: str,
    place: _Collection,
    packs: Mapping[str, Collection[str]],
    now: datetime,
    grace: timedelta,
) -> bool:
    """Say whether a repair replaced a recipe of this collection a short while ago; `packs` are
    those of each recipe that was read. Of a copy that was let go since, nothing tells when its
    manifest was written: then it counts as rewritten. So does one whose manifest is gone, if its
    recipe has the mark of a repair."""
    let_go = {r.holding.folder for r in (*place.alive, *place.over) if r.holding.expired_at}
    files: defaultdict[str, dict[str, datetime]] = defaultdict(dict)
    for there in repository.find(f"{layout.BACKUPS}/{folder}"):
        if (at := layout.read_backup_path(there.path)) is not None:
            files[at.backup_id][at.file] = there.modified_at
    for backup_id, of in files.items():
        began = layout.time_of(backup_id)
        manifest_at = of.get(layout.MANIFEST)
        if manifest_at is None and f"{folder}/{backup_id}" in let_go:
            manifest_at = began
        for file, recipe_at in of.items():
            if not layout.part_file_of(file):
                continue
            named = packs.get(f"{layout.BACKUPS}/{folder}/{backup_id}/{file}", ())
            marked = any(layout.is_repair_pack(path, backup_id) for path in named)
            written = manifest_at or recipe_at
            if rewritten_lately(recipe_at, written, began, marked=marked, now=now, grace=grace):
                return True
    return False


def _packs_of(repository: ChunkedRepository, path: str) -> frozenset[str] | DRError:
    try:
        return repository.packs_of(path)
    except RepositoryUnreachable:
        raise
    except DRError as e:
        return e


def _recipes(catalog: Catalog, repository: str, held: Collection[str]) -> Iterable[_Recipes]:
    """Every backup that has, or should have, recipes in a repository."""
    for backup in catalog.backups:
        if not backup.copy(repository).committed:
            continue
        holding = Holding(backup.key.folder, True, backup.manifest.captured_at)
        named = (layout.recipe_file(part.file) for part in backup.manifest.parts)
        yield _Recipes(holding, tuple(layout.in_backup(backup.key, file) for file in named))
    for left in catalog.unfinished:
        files = [f for f in left.files if layout.part_file_of(f.path)]
        if left.repository != repository or not files:
            continue
        kept = needed(catalog, left)
        if left.folder.rpartition("/")[2] in held:
            kept = kept or "it is held"
        newest = max(f.modified_at for f in left.files)
        holding = Holding(left.folder, False, newest, left.expired_at, kept)
        of_it = replace(left, files=tuple(files))
        yield _Recipes(holding, tuple(f.path for f in files), of_it)


def _missed(catalog: Catalog, repository: str, folder: str) -> str | None:
    """Why there may be recipes that protect and that nothing shows: copies that records tell of."""
    below = f"{folder}/"
    gone = [
        str(b.key)
        for b in catalog.backups
        if b.key.folder.startswith(below)
        and (copy := b.copy(repository)).held
        and copy.state == "missing"
    ]
    gone += [
        str(lost.key)
        for lost in catalog.lost
        if lost.key.folder.startswith(below) and repository in lost.repositories
    ]
    return f"{', '.join(gone[:3])} should be there and cannot be found" if gone else None


def sweep_packs(repository: Repository, plan: PackPlan) -> PackSweeping:
    """Carry a plan out: packs, then the recipes of collections whose packs all went. What the store
    refuses to remove stays for a later sweep, while the rest goes. Raise what else it raises."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        done = list(pool.map(partial(_remove, repository), plan.packs))
    freed = sum(p.size_bytes for p, (hidden, why) in zip(plan.packs, done, strict=True)
                if why is None and hidden is None)  # fmt: skip
    gone: defaultdict[str, list[int]] = defaultdict(list)
    stay: dict[str, str] = {}
    remarks = dict.fromkeys(hidden for hidden, _ in done if hidden is not None)
    for pack, (_, why) in zip(plan.packs, done, strict=True):
        folder = pack.path.split("/", 1)[1].rpartition("/")[0]
        if why is None:
            gone[folder].append(pack.size_bytes)
        else:
            stay[folder] = why
    for left in plan.recipes:
        if (folder := left.folder.rpartition("/")[0]) not in stay:
            remove = partial(repository.delete_unfinished, left.folder, left.files)
            if (why := clean(repository, remove)) is not None:
                stay[folder] = why
    removed = tuple(
        f"{folder}: {len(sizes)} packs, {format_size(sum(sizes))}"
        for folder, sizes in sorted(gone.items())
    )
    refused = [f"packs of {folder} that nothing needs stay: {why}" for folder, why in stay.items()]
    every = sum(p.size_bytes for p in plan.packs)
    return PackSweeping(removed, freed, every - freed, (*plan.remarks, *remarks, *refused))


def _remove(repository: Repository, pack: Stat) -> tuple[str | None, str | None]:
    """Delete one pack, if it is still the one that was judged: what the store still keeps of it,
    and why it stays. Another sweep may have taken that one, and a repair its name since."""
    there = repository.store.stat(pack.path)
    if there is not None and not _same(there, pack):
        return None, f"{pack.path} was written anew meanwhile"
    hidden = None if repository.append_only else repository.store.deletion(pack.path).hidden
    return hidden, clean(repository, partial(repository.store.delete, pack.path))


def _same(a: Stat, b: Stat) -> bool:
    """Say whether these are of one object: a list tells milliseconds where an answer about one
    object tells seconds, and on some stores it has no mark. Equal bytes have equal marks, so the
    time counts as well."""
    near = abs(a.modified_at - b.modified_at) < _CLOCK_STEP
    return near and a.size_bytes == b.size_bytes and (a.mark == b.mark or not (a.mark and b.mark))
