"""Read every repository at once, ask runs where something is in doubt, then put the catalog
together from what was read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from qdrant_dr import layout
from qdrant_dr.errors import (
    BoxDamaged,
    DRError,
    KeyMissing,
    ObjectArchived,
    ObjectMissing,
    RecordDamaged,
    RecordError,
)
from qdrant_dr.records import BackupKey, Expired, Manifest, Part, Record, RunEnd, Seal
from qdrant_dr.repository.assemble import Reading, assemble
from qdrant_dr.repository.catalog import Catalog, InArchive, RepositoryState
from qdrant_dr.repository.holds_and_deletions import standing
from qdrant_dr.repository.lost_backups import Doubt, in_doubt, missed, named_in_records
from qdrant_dr.repository.record_files import Unreadable, key_of
from qdrant_dr.repository.repository import Repository, is_chunked
from qdrant_dr.stores.base import Stat

if TYPE_CHECKING:
    from qdrant_dr.repository.chunked import ChunkedRepository, PartNeeds

R = TypeVar("R", bound=Record)
Scope: TypeAlias = tuple[str, str | None, str | None]
"""A cluster, one of its collections, one backup of that; None: all."""

_RECIPES_AT_ONCE = 16
_SECOND_LOOKS = 50
"""So many of what seems lost are looked at again, the youngest: it may have come meanwhile."""


def read_catalog(
    repositories: Sequence[Repository],
    *,
    cluster: str,
    collection: str | None = None,
    backup_id: str | None = None,
    unreachable: Sequence[RepositoryState] = (),
    ends: Mapping[str, Sequence[RunEnd]] | None = None,
    runs: tuple[datetime, datetime] | None = None,
) -> Catalog:
    """Read the catalog of a cluster, a collection or one backup, in the order of `repositories`.

    `unreachable` are configured repositories that could not even be opened, with their error.
    One that fails while it is read is unreachable, too: nothing half-read is used.

    Ends of runs tell of backups that are gone with everything else: those that began within `runs`
    are read, or `ends`, by repository, were read before. Where something is in doubt, further
    ones are asked.
    """
    if not repositories:
        return assemble(cluster, [Reading(r) for r in unreachable])
    known = ends or {}
    with ThreadPoolExecutor(len(repositories)) as pool:

        def each(do: Callable[[Repository, Reading], None]) -> list[Reading]:
            return list(pool.map(lambda r, at: _or_unreachable(do, r, at), repositories, there))

        scope = cluster, collection, backup_id
        below = layout.backups(*scope).removeprefix(f"{layout.BACKUPS}/") + "/" * (not backup_id)
        there = [_empty(r, known.get(r.name, ()), below) for r in repositories]
        lost = [Reading(r) for r in unreachable]
        there = each(lambda r, at: _read(r, at, scope, runs))
        if doubts := in_doubt(cluster, [*there, *lost]):
            there = each(lambda r, at: _ask_runs(r, at, doubts))
            gone = missed(named_in_records(cluster, [*there, *lost]), [*there, *lost])
            keys = sorted((g.key for g in gone), key=lambda k: k.backup_id)[-_SECOND_LOOKS:]
            there = each(lambda r, at: _look_again(r, at, keys))
    return assemble(cluster, [*there, *lost])


def _empty(repository: Repository, ends: Sequence[RunEnd], scope: str) -> Reading:
    state = RepositoryState(
        repository.name, repository.id, repository.domain, repository.location,
        restore_time=repository.restore_time, layout=repository.record.layout,
        price=repository.price,
        encrypted=repository.record.key_id is not None,
    )  # fmt: skip
    paths = (layout.run_end(e.start.run_id, e.start.started_at) for e in ends)
    return Reading(state, scope, ends=dict(zip(paths, ends, strict=True)))


def _or_unreachable(
    do: Callable[[Repository, Reading], None], repository: Repository, reading: Reading
) -> Reading:
    """Read on; an error makes the repository unreachable, and what was read of it is forgotten."""
    state = reading.repository
    if state.error is not None:
        return reading
    try:
        do(repository, reading)
    except DRError as e:
        return Reading(RepositoryState(state.name, state.id, state.domain, state.location, error=e))
    return reading


def _read(
    repository: Repository, reading: Reading, scope: Scope, runs: tuple[datetime, datetime] | None
) -> None:
    """What one repository holds."""
    with ThreadPoolExecutor(1) as beside:  # as many objects as the backups: not after them
        proofs = beside.submit(repository.read_proofs, *scope)
        _read_backups(reading, repository, scope)
        reading.unreadable.extend(proofs.result().unreadable)
        reading.strangers.extend(proofs.result().strangers)
        reading.ahead |= proofs.result().ahead
        for proof in proofs.result().records:
            reading.proofs.setdefault(key_of(proof).folder, []).append(proof)
    reading.uploads = tuple(repository.open_uploads(scope[0]))
    _read_tombstones(reading, repository, scope)
    _forget_the_deleted(reading)
    if runs:
        months, _ = repository.sort_out_all(list(layout.run_months(*runs)))
        _read_ends(reading, repository, [s.path for s in months])


def _read_tombstones(reading: Reading, repository: Repository, scope: Scope) -> None:
    """Why copies are gone: by what the records say. What is no such record explains nothing."""
    there, others = repository.sort_out(layout.all_expired(*scope))
    reading.strangers.extend(others)
    found = repository.read_records(Expired, [s.path for s in there])
    # one that is gone was taken back meanwhile: it explains nothing, and nothing is wrong
    reading.unreadable += [u for u in found.unreadable if not isinstance(u.error, ObjectMissing)]
    said: dict[str, list[Expired]] = {}
    for tombstone in found.records:
        said.setdefault(key_of(tombstone).folder, []).append(tombstone)
    reading.tombstones |= {f: list(left) for f, every in said.items() if (left := standing(every))}
    for listed in there:
        if (at := layout.read_backup_path(listed.path)) and at.folder in reading.tombstones:
            known = reading.expired_at.get(at.folder, listed.modified_at)
            reading.expired_at[at.folder] = max(known, listed.modified_at)


def _ask_runs(repository: Repository, reading: Reading, doubts: Sequence[Doubt]) -> None:
    """Ends of the runs that may tell of what is in doubt, out of one list of all records."""
    listed = [s.path for s in repository.find(layout.RUNS)]
    at = {path: run for path in listed if (run := layout.run_of(path)) is not None}
    reading.runs = frozenset(path.rpartition("/")[2] for path in at)
    # what it had when it was made out of a copy was told to another one
    since = repository.record.adopted_at
    told = [began for _, began in at.values() if since is None or began >= since]
    reading.first_run = min(told, default=None)
    wanted = {m for d in doubts if d.until for m in layout.run_months(d.since, d.until)}
    all_since = min((d.since for d in doubts if d.until is None), default=None)
    asked = [
        path
        for path, (month, began) in at.items()
        if month in wanted or (all_since is not None and began >= all_since)
    ]
    reading.unreadable += _read_ends(reading, repository, asked)


def _read_ends(
    reading: Reading, repository: Repository, paths: Sequence[str]
) -> tuple[Unreadable, ...]:
    """Take the ends that are not known yet; those that cannot be read."""
    wanted = [p for p in paths if p.endswith(".end.json") and p not in reading.ends]
    found = repository.read_records(RunEnd, wanted)
    for end in found.records:
        reading.ends[layout.run_end(end.start.run_id, end.start.started_at)] = end
    return tuple(u for u in found.unreadable if not isinstance(u.error, ObjectMissing))


def _look_again(repository: Repository, reading: Reading, keys: Sequence[BackupKey]) -> None:
    """Read what seems lost once more: it was committed, or let go, while the rest was read."""
    for key in keys:
        now = Reading(reading.repository)
        _read(repository, now, (key.cluster, key.collection, key.backup_id), None)
        reading.files.pop(key.folder, None)
        reading.lacking.pop(key.folder, None)
        reading.archived_packs.pop(key.folder, None)
        reading.files |= now.files
        reading.manifests |= now.manifests
        reading.seals |= now.seals
        reading.lacking |= now.lacking
        reading.packs |= now.packs
        reading.archived_packs |= now.archived_packs
        reading.pack_classes |= now.pack_classes
        reading.tombstones |= now.tombstones
        reading.expired_at |= now.expired_at
        known = {u.path for u in reading.unreadable}
        reading.unreadable += [u for u in now.unreadable if u.path not in known]


def _read_backups(reading: Reading, repository: Repository, scope: Scope) -> None:
    found, others = repository.sort_out(layout.backups(*scope))
    reading.strangers.extend(others)
    for there in found:
        if (at := layout.read_backup_path(there.path)) is None:
            reading.unreadable.append(_in_the_way(repository, there.path))
            continue
        reading.files.setdefault(at.folder, {})[at.file] = there
    manifests = _records(repository, Manifest, layout.MANIFEST, reading)
    reading.manifests = {m.key.folder: m for m in manifests}
    reading.ahead |= {
        m.key.folder
        for m in manifests
        if repository.dated_ahead(m.captured_at, reading.files[m.key.folder][layout.MANIFEST])
    }
    reading.seals = {key_of(s).folder: s for s in _records(repository, Seal, layout.SEAL, reading)}
    if is_chunked(repository):
        _read_packs(reading, repository, scope)


def _read_packs(reading: Reading, repository: ChunkedRepository, scope: Scope) -> None:
    """What parts are put together of, and whether it is there: packs are listed last, since they
    are written first."""
    recipes = {
        reading.files[folder][file].path: (folder, part)
        for folder, manifest in reading.manifests.items()
        for part in manifest.parts
        if (file := layout.recipe_file(part.file)) in reading.files[folder]
    }
    with ThreadPoolExecutor(_RECIPES_AT_ONCE) as pool:
        found = list(pool.map(lambda path: _needs_of(repository, path), recipes))
    listed, others = repository.sort_out(layout.packs(*scope[:2]))
    reading.strangers.extend(others)
    for there in listed:
        if (at := layout.read_pack_path(there.path)) is not None:
            owner = f"{at.cluster}/{at.collection_folder}/{at.backup_id}"
            reading.packs.setdefault(owner, []).append(there)
    packs = {there.path: there for there in listed}
    for (path, (folder, part)), needs in zip(recipes.items(), found, strict=True):
        if isinstance(needs, BoxDamaged | ObjectMissing) or (
            not isinstance(needs, DRError) and not _are_met(repository, needs, part, packs)
        ):
            reading.lacking.setdefault(folder, set()).add(part.file)
        elif isinstance(needs, DRError):  # a key or an archive that is out of reach, a later format
            reading.unreadable.append(Unreadable(repository.name, path, needs))
        if not isinstance(needs, DRError):
            used = [InArchive(path, packs[path].storage) for path in needs.packs if path in packs]
            reading.pack_classes.setdefault(folder, set()).update(u.storage.name for u in used)
            frozen = reading.archived_packs.setdefault(folder, set())
            frozen.update(u for u in used if u.storage.archived)


def _are_met(
    repository: ChunkedRepository, needs: PartNeeds, part: Part, packs: dict[str, Stat]
) -> bool:
    """Say whether a part can be put together. A pack that a list lacks is asked for itself, since
    lists may come late: the first that is gone decides."""
    for path in needs.packs:
        if path not in packs:
            if (there := repository.store.stat(path)) is None:
                return False
            packs[path] = there
    return needs.are_met(part, {path: packs[path].size_bytes for path in needs.packs})


def _needs_of(repository: ChunkedRepository, path: str) -> PartNeeds | DRError:
    try:
        return repository.needs_of(path)
    except (RecordError, ObjectMissing, ObjectArchived, KeyMissing) as e:
        return e


def _in_the_way(repository: Repository, path: str) -> Unreadable:
    error = RecordDamaged(
        f"{repository.name}/{path} stands where a folder of backups should be",
        "look who put it there; nothing is deleted meanwhile.",
    )
    return Unreadable(repository.name, path, error)


def _forget_the_deleted(reading: Reading) -> None:
    """A record that was listed and is gone: deleted by retention meanwhile, if that is on record.

    Deletions are written down before they begin, and the list of them was read last.
    """
    for gone in [u for u in reading.unreadable if isinstance(u.error, ObjectMissing)]:
        at = layout.read_backup_path(gone.path)
        if at is not None and at.folder in reading.expired:
            reading.files[at.folder].pop(at.file, None)
            reading.unreadable.remove(gone)


def _records(repository: Repository, kind: type[R], file: str, reading: Reading) -> tuple[R, ...]:
    found = repository.read_records(
        kind, [files[file].path for files in reading.files.values() if file in files]
    )
    reading.unreadable.extend(found.unreadable)
    return found.records
