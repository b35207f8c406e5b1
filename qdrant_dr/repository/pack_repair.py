"""Packs that are missing or rotten are written anew, block by block, from other repositories."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from qdrant_dr import layout
from qdrant_dr.errors import BoxDamaged, BytesDiffer, Conflict, DRError, ObjectMissing
from qdrant_dr.quantities import format_size
from qdrant_dr.records import BackupKey, Part
from qdrant_dr.repository.chunked import ChunkedRepository
from qdrant_dr.repository.pack_dependents import PackUsers
from qdrant_dr.repository.pack_verdicts import as_it_is
from qdrant_dr.repository.repository import Repository
from qdrant_dr.stores.base import Stat, fill
from qdrant_dr.vault.box import Table, build_box, check_box, open_block
from qdrant_dr.vault.recipe import Recipe
from qdrant_dr.vault.repair import LostRange, Recovery, Use, recut_from_any, uses_of

log = logging.getLogger(__name__)

_AT_ONCE = 4
_MOST_RECUT = 8
"""So many packs are put together from whole parts at once, where ranges are not enough: they are in
memory. What is left is for another time, or the parts are stored anew."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A part in another repository."""

    repository: Repository
    key: BackupKey
    part: Part


Find = Callable[[str, str], Sequence[Elsewhere]]
"""Where a part, by the folder of its backup and its file, is as well, the one to ask first in
front."""

Refused = Callable[[Elsewhere, DRError], None]
"""Hears of a copy that was asked for bytes and does not have them as its manifest says."""


@dataclass(frozen=True, slots=True)
class PackRepair:
    """What became of bad packs. `lost` are bytes of parts that nobody has; `left` are packs that
    stay as they are."""

    repaired: tuple[str, ...] = ()
    lost: tuple[LostRange, ...] = ()
    left: tuple[str, ...] = ()
    stored_bytes: int = 0


def bad_packs(vault: ChunkedRepository, key: BackupKey, names: Collection[str]) -> list[str]:
    """Read packs of a collection as a whole, and return those that are missing, or are not what
    their last bytes say. Raise what keeps them from being read."""

    def check(there: Stat) -> None:
        check_box(there.path, vault.store.read_range(there.path))
        vault.table_of(there)

    return _refused(vault, key, names, check)


def unreadable_packs(vault: ChunkedRepository, key: BackupKey, names: Collection[str]) -> list[str]:
    """Return those that are missing, or whose table cannot be read, as of one that was cut: one
    request for each. Raise what keeps them from being read."""
    return _refused(vault, key, names, vault.table_of)


def _refused(
    vault: ChunkedRepository,
    key: BackupKey,
    names: Collection[str],
    check: Callable[[Stat], object],
) -> list[str]:
    listed = vault.list_packs(key)

    def bad(name: str) -> bool:
        if (there := listed.get(name)) is None:
            return True
        try:
            as_it_is(vault, there, check)
        except (BoxDamaged, ObjectMissing) as e:
            log.info("%s: %s", vault.name, e.message)
            return True
        return False

    wanted = sorted(names)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [n for n, is_bad in zip(wanted, pool.map(bad, wanted), strict=True) if is_bad]


def repair_packs(
    vault: ChunkedRepository,
    key: BackupKey,
    bad: Sequence[str],
    users: PackUsers,
    find: Find,
    refused: Refused = lambda *_: None,
) -> PackRepair:
    """Write bad packs anew, each once every block of it that is used was found again: beside a hole
    every backup that needs it would look whole. What is `refused` on the way is as bad.

    Where others may use a pack, too, it is left unless all that its table tells of was found.
    """
    listed = vault.list_packs(key)
    uses = uses_of(users.recipes, bad)
    recoveries: dict[str, Recovery] = {}
    done: list[PackRepair] = []

    def write(name: str, recovery: Recovery) -> PackRepair:
        lost = tuple(recovery.lost())
        if not recovery.found or lost:
            return PackRepair(lost=lost, left=(name,))
        if not recovery.is_whole and not users.are_all(vault, key, datetime.now(UTC)):
            log.info("%s: %s is left: others may use more of it", vault.name, name)
            return PackRepair(left=(name,))
        return _write(vault, key, name, listed.get(name), recovery)

    for name in bad:
        recovery = Recovery(uses.get(name, []), _table(vault, listed.get(name)))
        if recovery.table is not None:
            _keep_good(vault, listed[name], recovery)
            recovery.ask(partial(_fetch, find, refused))
        if recovery.missing and len(recoveries) < _MOST_RECUT:
            recoveries[name] = recovery
        else:
            done.append(write(name, recovery))
    _recut(users.recipes, recoveries, find, refused)
    done += [write(name, recovery) for name, recovery in recoveries.items()]
    return PackRepair(
        tuple(n for d in done for n in d.repaired),
        tuple(r for d in done for r in d.lost),
        tuple(n for d in done for n in d.left),
        sum(d.stored_bytes for d in done),
    )


def _table(vault: ChunkedRepository, there: Stat | None) -> Table | None:
    if there is None:
        return None
    try:
        return vault.table_of(there)
    except (BoxDamaged, ObjectMissing):
        return None


def _keep_good(vault: ChunkedRepository, there: Stat, recovery: Recovery) -> None:
    """Take the blocks of the pack itself that are what its table says."""
    table = recovery.table
    assert table is not None
    data = b"".join(vault.store.read_range(there.path))
    offsets = table.offsets
    for number in range(len(table)):
        stored = data[int(offsets[number]) : int(offsets[number + 1])]
        try:
            recovery.take(number, open_block(there.path, table, number, stored, vault.keys))
        except BoxDamaged:
            continue


def _fetch(find: Find, refused: Refused, use: Use, start: int, end: int) -> Iterator[bytes]:
    for at in find(use.folder, use.part):
        try:
            data = b"".join(at.repository.read_part(at.key, at.part, start, end))
        except DRError as e:
            log.info("%s of %s in %s: %s", use.part, at.key, at.repository.name, e.message)
            _tell(refused, at, e)
            continue
        yield data
        # asked for more: this was not what the table says, and the manifest says whose fault it is
        with suppress(DRError):
            for _ in _whole(at, refused):
                pass


def _whole(at: Elsewhere, refused: Refused) -> Iterator[bytes]:
    """Read a whole part, and compare it with its manifest."""
    try:
        yield from at.repository.read_verified(at.key, at.part)
    except DRError as e:
        _tell(refused, at, e)
        raise


def _tell(refused: Refused, at: Elsewhere, error: DRError) -> None:
    if isinstance(error, BytesDiffer | ObjectMissing):
        refused(at, error)


def _recut(
    recipes: Sequence[Recipe], bad: Mapping[str, Recovery], find: Find, refused: Refused
) -> None:
    """Read whole parts, those first that have most of what is missing, until nothing is."""
    left = list(recipes)

    def has(recipe: Recipe) -> int:
        names = [name for name in recipe.packs if name in bad]
        mine = (recipe.folder, recipe.part)
        return sum(
            len(bad[name].missing.intersection(use.numbers))
            for name in names
            for use in bad[name].uses
            if (use.folder, use.part) == mine
        )

    while left:
        left = [recipe for recipe in left if has(recipe)]
        if not left:
            return
        best = max(left, key=has)
        left.remove(best)
        elsewhere = find(best.folder, best.part)
        streams = (_whole(at, refused) for at in elsewhere)
        recut_from_any(best, streams, bad)


def _write(
    vault: ChunkedRepository, key: BackupKey, name: str, there: Stat | None, recovery: Recovery
) -> PackRepair:
    """Write one pack anew, if it is still what was found to be bad: another host may have mended
    it, or what was gone may be back."""
    path = layout.pack(key.cluster, key.collection, name)
    box = build_box(path, recovery.blocks(), vault.keys)
    try:
        _put(vault, key, name, there, box)
    except Conflict as e:
        log.info("it is left as it is: %s", e.message)
        return PackRepair(left=(name,))
    check_box(path, vault.store.read_range(path))  # another repair of it may have come between
    log.info("%s: %s was written anew, %s", vault.name, path, format_size(len(box)))
    return PackRepair((name,), stored_bytes=len(box))


def _put(
    vault: ChunkedRepository, key: BackupKey, name: str, there: Stat | None, box: bytes
) -> None:
    path = layout.pack(key.cluster, key.collection, name)
    if there is None:
        vault.store.create(path, box)
    elif vault.list_packs(key).get(name) == there:
        fill(vault.store.sink(path, size_hint=len(box), replace=True), [box])
    else:
        raise Conflict(f"repository {vault.name}: {path} was changed meanwhile")
