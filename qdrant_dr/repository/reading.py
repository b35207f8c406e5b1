"""Read every repository at once, ask runs where something is in doubt, then put the catalog
together from what was read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from qdrant_dr import layout
from qdrant_dr.errors import (
    DRError,
    ObjectArchived,
    ObjectMissing,
    RecordDamaged,
    SealConflict,
)
from qdrant_dr.records import BackupKey, Expired, Manifest, Proof, Record, RunEnd, Seal
from qdrant_dr.repository.catalog import (
    Backup,
    Catalog,
    Copy,
    InArchive,
    RepositoryState,
    Unfinished,
    manifest_conflict,
    needs_seal,
    open_failures,
    seal_conflict,
)
from qdrant_dr.repository.expiry import standing
from qdrant_dr.repository.repository import Repository, Unreadable
from qdrant_dr.repository.strangers import Stranger
from qdrant_dr.repository.witnesses import (
    Doubt,
    Named,
    fits,
    hidden_failures,
    in_doubt,
    missed,
    testimony,
    witness,
)
from qdrant_dr.stores.base import OpenUpload, Stat

R = TypeVar("R", bound=Record)


@dataclass(slots=True)
class Reading:
    """What one repository holds of a cluster, by folder of a backup."""

    repository: RepositoryState
    scope: str = ""
    """What the folders begin with that are read at all: runs tell of all others, too."""
    files: dict[str, dict[str, Stat]] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    seals: dict[str, Seal] = field(default_factory=dict)
    proofs: dict[str, list[Proof]] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)
    strangers: list[Stranger] = field(default_factory=list)
    uploads: tuple[OpenUpload, ...] = ()
    tombstones: dict[str, list[Expired]] = field(default_factory=dict)
    ends: dict[str, RunEnd] = field(default_factory=dict)
    runs: frozenset[str] = frozenset()
    first_run: datetime | None = None
    ahead: frozenset[str] = frozenset()
    """Folders and digests of manifests and proofs that were dated in the future when written."""

    @property
    def expired(self) -> frozenset[str]:
        """Folders of the copies that were to go from here."""
        return frozenset(self.tombstones)


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
    """The catalog of a cluster, a collection or one backup, in the order of `repositories`.

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

        scope = layout.backups(cluster, collection, backup_id).removeprefix(f"{layout.BACKUPS}/")
        scope += "/" * (backup_id is None)
        there = [_empty(r, known.get(r.name, ()), scope) for r in repositories]
        lost = [Reading(r) for r in unreachable]
        there = each(lambda r, at: _read(r, at, cluster, collection, backup_id, runs))
        if doubts := in_doubt(cluster, [*there, *lost]):
            there = each(lambda r, at: _ask_runs(r, at, doubts))
            gone = missed(testimony(cluster, [*there, *lost]), [*there, *lost])
            keys = sorted((g.key for g in gone), key=lambda k: k.backup_id)[-_SECOND_LOOKS:]
            there = each(lambda r, at: _look_again(r, at, keys))
    return assemble(cluster, [*there, *lost])


def _empty(repository: Repository, ends: Sequence[RunEnd], scope: str) -> Reading:
    state = RepositoryState(
        repository.name, repository.id, repository.domain, repository.location,
        restore_time=repository.restore_time,
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
    repository: Repository,
    reading: Reading,
    cluster: str,
    collection: str | None,
    backup_id: str | None,
    runs: tuple[datetime, datetime] | None,
) -> None:
    """What one repository holds."""
    with ThreadPoolExecutor(1) as beside:  # as many objects as the backups: not after them
        proofs = beside.submit(repository.read_proofs, cluster, collection, backup_id)
        _read_backups(reading, repository, cluster, collection, backup_id)
        reading.unreadable.extend(proofs.result().unreadable)
        reading.strangers.extend(proofs.result().strangers)
        reading.ahead |= proofs.result().ahead
        for proof in proofs.result().records:
            reading.proofs.setdefault(_folder(proof), []).append(proof)
    reading.uploads = tuple(repository.open_uploads(cluster))
    _read_tombstones(reading, repository, cluster, collection, backup_id)
    _forget_the_deleted(reading)
    for month in layout.run_months(*runs) if runs else ():
        _read_ends(reading, repository, [s.path for s in repository.find(month)])


def _read_tombstones(
    reading: Reading,
    repository: Repository,
    cluster: str,
    collection: str | None,
    backup_id: str | None,
) -> None:
    """Why copies are gone: by what the records say. What is no such record explains nothing."""
    there, others = repository.sort_out(layout.all_expired(cluster, collection, backup_id))
    reading.strangers.extend(others)
    found = repository.read_records(Expired, [s.path for s in there])
    # one that is gone was taken back meanwhile: it explains nothing, and nothing is wrong
    reading.unreadable += [u for u in found.unreadable if not isinstance(u.error, ObjectMissing)]
    said: dict[str, list[Expired]] = {}
    for tombstone in found.records:
        said.setdefault(_folder(tombstone), []).append(tombstone)
    reading.tombstones |= {f: list(left) for f, every in said.items() if (left := standing(every))}


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
        _read(repository, now, key.cluster, key.collection, key.backup_id, None)
        reading.files.pop(key.folder, None)
        reading.files |= now.files
        reading.manifests |= now.manifests
        reading.seals |= now.seals
        reading.tombstones |= now.tombstones
        known = {u.path for u in reading.unreadable}
        reading.unreadable += [u for u in now.unreadable if u.path not in known]


def _read_backups(
    reading: Reading,
    repository: Repository,
    cluster: str,
    collection: str | None,
    backup_id: str | None,
) -> None:
    found, others = repository.sort_out(layout.backups(cluster, collection, backup_id))
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
    reading.seals = {_folder(s): s for s in _records(repository, Seal, layout.SEAL, reading)}


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


def _folder(record: Seal | Proof | Expired) -> str:
    return BackupKey(
        cluster=record.cluster, collection=record.collection, backup_id=record.backup_id
    ).folder


def assemble(cluster: str, readings: Sequence[Reading]) -> Catalog:
    """Put the catalog together; pure."""
    folders = sorted({f for r in readings for f in r.manifests})
    named = testimony(cluster, readings)
    backups = [_backup(folder, readings, named[folder]) for folder in folders]
    pardoned = {
        f"{r.repository.name}/{path}"
        for r in readings
        for folder, proofs in r.proofs.items()
        for path in _pardoned(folder, proofs)
    }
    return Catalog(
        cluster=cluster,
        repositories=tuple(r.repository for r in readings),
        backups=tuple(
            sorted(backups, key=lambda b: (b.manifest.captured_at, b.manifest.backup_id))
        ),
        unfinished=tuple(
            Unfinished(
                r.repository.name,
                folder,
                tuple(files.values()),
                expired=any(fits(t, named.get(folder)) for t in r.tombstones.get(folder, ())),
                named=_spared(folder, readings, named),
            )
            for r in readings
            for folder, files in sorted(r.files.items())
            if layout.MANIFEST not in files
        ),
        lost=missed(named, readings),
        unreadable=tuple(
            u
            for r in readings
            for u in (*r.unreadable, *_misfits(r, named), *_gone_failures(r, named))
            if f"{u.repository}/{u.path}" not in pardoned
        ),
        strangers=tuple(s for r in readings for s in r.strangers),
        uploads={r.repository.name: r.uploads for r in readings if r.uploads},
    )


def _spared(folder: str, readings: Sequence[Reading], named: Mapping[str, Named]) -> bool:
    """Whether a backup was made of this folder, by any record: then no sweep may take it."""
    backup = named.get(folder)
    told = backup is not None and any(w.kind in ("seal", "proof", "run") for w in backup.words)
    return told or any(layout.SEAL in r.files.get(folder, ()) for r in readings)


def _misfits(reading: Reading, named: Mapping[str, Named]) -> list[Unreadable]:
    """Deletions on record of another backup than the one that the other records name."""
    where = reading.repository.name
    return [
        Unreadable(where, path, RecordDamaged(f"{where}/{path} is of another manifest"))
        for folder, tombstones in reading.tombstones.items()
        for tombstone in tombstones
        if not fits(tombstone, named.get(folder))
        for path in [f"{layout.EXPIRED}/{folder}/{tombstone.run_id}.json"]
    ]


def _gone_failures(reading: Reading, named: Mapping[str, Named]) -> list[Unreadable]:
    """Failed proofs that runs tell of and that are not beside their copy any more."""
    where, listed = reading.repository.name, {u.path for u in reading.unreadable}
    return [
        Unreadable(
            where,
            path,
            ObjectMissing(
                f"{where}/{path} is gone, a proof that failed as a run tells",
                f"run `qdrant-dr verify {named[folder].key} -r {where}`.",
            ),
        )
        for folder in reading.manifests
        for proof_id in hidden_failures(named[folder], reading)
        for path in [f"{layout.PROOFS}/{folder}/{proof_id}.json"]
        if path not in listed
    ]


def _backup(folder: str, readings: Sequence[Reading], named: Named) -> Backup:
    manifests = {r.repository.name: m for r in readings if (m := r.manifests.get(folder))}
    seals = {r.repository.name: s for r in readings if (s := r.seals.get(folder))}
    manifest = next(iter(manifests.values()))
    seal = next(iter(seals.values()), None)
    conflict: DRError | None = None
    if len(set(_digests(manifests).values())) > 1:
        conflict = manifest_conflict(manifest.key, _digests(manifests))
    elif len(set(_digests(seals).values())) > 1:
        conflict = seal_conflict(manifest.key, _digests(seals))
    elif seal is not None and seal.manifest_sha256 != manifest.sha256:
        conflict = SealConflict(f"the seal of {manifest.key} is of another manifest")
    return Backup(
        manifest=manifest,
        seal=seal,
        copies=tuple(
            _copy(folder, r, manifest, sealed=seal is not None, named=named) for r in readings
        ),
        conflict=conflict,
        witness=witness(manifest, named, readings),
        dated_ahead=any(folder in r.ahead for r in readings),
    )


def _pardoned(folder: str, proofs: Sequence[Proof]) -> list[str]:
    """Paths of unreadable proofs that a passing full content proof names: whatever they said of
    the copy, it was looked at as deeply since."""
    return [
        f"{layout.PROOFS}/{folder}/{proof_id}.json"
        for p in proofs
        if p.passed and p.full and needs_seal(p.depth)
        for proof_id in p.clears
    ]


def _digests(records: Mapping[str, Record]) -> dict[str, str]:
    return {name: record.sha256 for name, record in records.items()}


def _copy(folder: str, reading: Reading, manifest: Manifest, *, sealed: bool, named: Named) -> Copy:
    where = reading.repository
    if where.error is not None:
        return Copy(where.name, where.domain, "unreachable")
    files = reading.files.get(folder, {})
    mine = reading.manifests.get(folder)
    lacks = [] if mine else [layout.MANIFEST.removesuffix(".json")]
    sizes = {name: there.size_bytes for name, there in files.items()}
    parts = [p.file for p in (mine or manifest).parts if sizes.get(p.file) != p.size_bytes]
    if sealed and folder not in reading.seals:
        lacks.append(layout.SEAL.removesuffix(".json"))
    proofs: list[Proof] = []
    inherited: list[Proof] = []
    for proof in reading.proofs.get(folder, ()):
        of_this_copy = (
            mine is not None
            and proof.repository_id == where.id
            and proof.location == where.location
            and proof.manifest_sha256 == mine.sha256
            # a failure counts whenever it was; of a success, when is half of what it says
            and not (proof.passed and proof.sha256 in reading.ahead)
        )
        (proofs if of_this_copy else inherited).append(proof)
    unreadable = {u.path.rpartition("/")[2]: u.error for u in reading.unreadable
                  if u.path.startswith(f"{layout.BACKUPS}/{folder}/")}  # fmt: skip
    # what lies in an archive is not broken, whatever a listing says of it
    frozen = {name for name, error in unreadable.items() if isinstance(error, ObjectArchived)}
    of_it = {layout.MANIFEST, layout.SEAL, *(p.file for p in (mine or manifest).parts)}
    archived = tuple(
        InArchive(name, there.storage)
        for name, there in sorted(files.items())
        if name in frozen or (name in of_it and there.storage.archived)
    )
    away = {a.file.removesuffix(".json") for a in archived}
    below = f"{layout.PROOFS}/{folder}/"
    pardoned = _pardoned(folder, proofs)
    unread = [
        u.path.removeprefix(below).removesuffix(".json")
        for u in reading.unreadable
        if u.path.startswith(below) and u.path not in pardoned
    ]
    unread += [gone for gone in hidden_failures(named, reading) if gone not in unread]
    if mine is None and where.name in named.let_go:
        left = sum(sizes.values())
        return Copy(where.name, where.domain, "expired", ("manifest",), left, tuple(proofs))
    if not files:
        held = where.name in named.holders
        return Copy(where.name, where.domain, "missing", ("manifest",), 0, held=held)
    damaged = unreadable.keys() - frozen or (mine and (parts or open_failures(proofs)))
    behind = set(lacks) - away or parts
    return Copy(
        repository=where.name,
        domain=where.domain,
        state=(
            "damaged" if damaged else "behind" if behind else "archived" if archived else "present"
        ),
        lacks=(*lacks, *parts),
        stored_bytes=sum(sizes.values()),
        proofs=tuple(proofs),
        inherited=tuple(inherited),
        unread=tuple(unread),
        held=where.name in named.holders,
        storage=tuple(sorted({t.storage.name for n, t in files.items() if n in of_it} - {""})),
        archived=archived,
        restore_time=where.restore_time,
    )
