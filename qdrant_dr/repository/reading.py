"""Read every repository at once, then put the catalog together from what was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from qdrant_dr.errors import DRError, ObjectMissing, RecordDamaged, SealConflict
from qdrant_dr.records import BackupKey, Manifest, Proof, Record, Seal
from qdrant_dr.repository import names
from qdrant_dr.repository.catalog import (
    Backup,
    Catalog,
    Copy,
    RepositoryState,
    Unfinished,
    manifest_conflict,
    needs_seal,
    open_failures,
    seal_conflict,
)
from qdrant_dr.repository.expiry import find_expired
from qdrant_dr.repository.repository import Repository, Unreadable
from qdrant_dr.repository.store import OpenUpload, Stat

R = TypeVar("R", bound=Record)


@dataclass(slots=True)
class Reading:
    """What one repository holds of a cluster, by folder of a backup."""

    repository: RepositoryState
    files: dict[str, dict[str, Stat]] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    seals: dict[str, Seal] = field(default_factory=dict)
    proofs: dict[str, list[Proof]] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)
    uploads: tuple[OpenUpload, ...] = ()
    expired: frozenset[str] = frozenset()
    ahead: frozenset[str] = frozenset()
    """Folders and digests of manifests and proofs that were dated in the future when written."""


def read_catalog(
    repositories: Sequence[Repository],
    *,
    cluster: str,
    collection: str | None = None,
    backup_id: str | None = None,
    unreachable: Sequence[RepositoryState] = (),
) -> Catalog:
    """The catalog of a cluster, a collection or one backup, in the order of `repositories`.

    `unreachable` are configured repositories that could not even be opened, with their error.
    One that fails while it is read is unreachable, too: nothing half-read is used.
    """
    if not repositories:
        return assemble(cluster, [Reading(r) for r in unreachable])
    with ThreadPoolExecutor(len(repositories)) as pool:
        readings = list(
            pool.map(lambda r: read_one(r, cluster, collection, backup_id), repositories)
        )
    return assemble(cluster, [*readings, *(Reading(r) for r in unreachable)])


def read_one(
    repository: Repository, cluster: str, collection: str | None, backup_id: str | None = None
) -> Reading:
    """What one repository holds; an error makes it unreachable."""
    state = RepositoryState(repository.name, repository.id, repository.domain, repository.location)
    try:
        return _read(repository, state, cluster, collection, backup_id)
    except DRError as e:
        return Reading(RepositoryState(state.name, state.id, state.domain, state.location, error=e))


def _read(
    repository: Repository,
    state: RepositoryState,
    cluster: str,
    collection: str | None,
    backup_id: str | None,
) -> Reading:
    reading = Reading(state)
    with ThreadPoolExecutor(1) as beside:  # as many objects as the backups: not after them
        proofs = beside.submit(repository.read_proofs, cluster, collection, backup_id)
        _read_backups(reading, repository, cluster, collection, backup_id)
        reading.unreadable.extend(proofs.result().unreadable)
        reading.ahead |= proofs.result().ahead
        for proof in proofs.result().records:
            reading.proofs.setdefault(_folder(proof), []).append(proof)
    reading.uploads = tuple(repository.open_uploads(cluster))
    reading.expired = find_expired(repository, cluster, collection, backup_id)
    _forget_the_deleted(reading)
    return reading


def _read_backups(
    reading: Reading,
    repository: Repository,
    cluster: str,
    collection: str | None,
    backup_id: str | None,
) -> None:
    for there in repository.find_backups(cluster, collection, backup_id):
        if (at := names.read_backup_path(there.path)) is None:
            stranger = RecordDamaged(
                f"{repository.name}/{there.path} is no file of a repository",
                "look who put it there; nothing is deleted meanwhile.",
            )
            reading.unreadable.append(Unreadable(repository.name, there.path, stranger))
            continue
        reading.files.setdefault(at.folder, {})[at.file] = there
    manifests = _records(repository, Manifest, names.MANIFEST, reading)
    reading.manifests = {m.key.folder: m for m in manifests}
    reading.ahead |= {
        m.key.folder
        for m in manifests
        if repository.dated_ahead(m.captured_at, reading.files[m.key.folder][names.MANIFEST])
    }
    reading.seals = {_folder(s): s for s in _records(repository, Seal, names.SEAL, reading)}


def _forget_the_deleted(reading: Reading) -> None:
    """A record that was listed and is gone: deleted by retention meanwhile, if that is on record.

    Deletions are written down before they begin, and the list of them was read last.
    """
    for gone in [u for u in reading.unreadable if isinstance(u.error, ObjectMissing)]:
        at = names.read_backup_path(gone.path)
        if at is not None and at.folder in reading.expired:
            reading.files[at.folder].pop(at.file, None)
            reading.unreadable.remove(gone)


def _records(repository: Repository, kind: type[R], file: str, reading: Reading) -> tuple[R, ...]:
    found = repository.read_records(
        kind, [files[file].path for files in reading.files.values() if file in files]
    )
    reading.unreadable.extend(found.unreadable)
    return found.records


def _folder(record: Seal | Proof) -> str:
    return BackupKey(
        cluster=record.cluster, collection=record.collection, backup_id=record.backup_id
    ).folder


def assemble(cluster: str, readings: Sequence[Reading]) -> Catalog:
    """Put the catalog together; pure."""
    folders = sorted({f for r in readings for f in r.manifests})
    backups = [_backup(folder, readings) for folder in folders]
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
                r.repository.name, folder, tuple(files.values()), expired=folder in r.expired
            )
            for r in readings
            for folder, files in sorted(r.files.items())
            if names.MANIFEST not in files
        ),
        unreadable=tuple(
            u for r in readings for u in r.unreadable if f"{u.repository}/{u.path}" not in pardoned
        ),
        uploads={r.repository.name: r.uploads for r in readings if r.uploads},
    )


def _backup(folder: str, readings: Sequence[Reading]) -> Backup:
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
        copies=tuple(_copy(folder, r, manifest, sealed=seal is not None) for r in readings),
        conflict=conflict,
        dated_ahead=any(folder in r.ahead for r in readings),
    )


def _pardoned(folder: str, proofs: Sequence[Proof]) -> list[str]:
    """Paths of unreadable proofs that a passing full content proof names: whatever they said of
    the copy, it was looked at as deeply since."""
    return [
        f"{names.PROOFS}/{folder}/{proof_id}.json"
        for p in proofs
        if p.passed and p.full and needs_seal(p.depth)
        for proof_id in p.clears
    ]


def _digests(records: Mapping[str, Record]) -> dict[str, str]:
    return {name: record.sha256 for name, record in records.items()}


def _copy(folder: str, reading: Reading, manifest: Manifest, *, sealed: bool) -> Copy:
    where = reading.repository
    if where.error is not None:
        return Copy(where.name, where.domain, "unreachable")
    files = reading.files.get(folder, {})
    mine = reading.manifests.get(folder)
    lacks = [] if mine else [names.MANIFEST.removesuffix(".json")]
    sizes = {name: there.size_bytes for name, there in files.items()}
    parts = [p.file for p in (mine or manifest).parts if sizes.get(p.file) != p.size_bytes]
    if sealed and folder not in reading.seals:
        lacks.append(names.SEAL.removesuffix(".json"))
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
    broken = {u.path.rpartition("/")[2] for u in reading.unreadable
              if u.path.startswith(f"{names.BACKUPS}/{folder}/")}  # fmt: skip
    below = f"{names.PROOFS}/{folder}/"
    pardoned = _pardoned(folder, proofs)
    unread = [
        u.path.removeprefix(below).removesuffix(".json")
        for u in reading.unreadable
        if u.path.startswith(below) and u.path not in pardoned
    ]
    if mine is None and folder in reading.expired:
        left = sum(sizes.values())
        return Copy(where.name, where.domain, "expired", ("manifest",), left, tuple(proofs))
    if not files:
        return Copy(where.name, where.domain, "missing", ("manifest",), 0)
    damaged = broken or (mine and (parts or open_failures(proofs)))
    return Copy(
        repository=where.name,
        domain=where.domain,
        state="damaged" if damaged else "behind" if lacks else "present",
        lacks=(*lacks, *parts),
        stored_bytes=sum(sizes.values()),
        proofs=tuple(proofs),
        inherited=tuple(inherited),
        unread=tuple(unread),
    )
