"""One catalog out of what every repository holds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from qdrant_dr import layout
from qdrant_dr.errors import (
    DRError,
    KeyMissing,
    ObjectArchived,
    ObjectMissing,
    RecordDamaged,
    SealConflict,
)
from qdrant_dr.location_key import one_path, one_place
from qdrant_dr.records import Expired, Manifest, Part, Proof, Record, RunEnd, Seal
from qdrant_dr.repository.catalog import (
    Backup,
    Catalog,
    Copy,
    InArchive,
    RepositoryState,
    Unfinished,
)
from qdrant_dr.repository.disagreeing_copies import manifest_conflict, seal_conflict
from qdrant_dr.repository.foreign_objects import Stranger
from qdrant_dr.repository.lost_backups import (
    MentionedBackup,
    fits,
    hidden_failures,
    missed,
    named_in_records,
    witness,
)
from qdrant_dr.repository.proven import needs_seal, open_failures
from qdrant_dr.repository.record_files import Unreadable
from qdrant_dr.stores.base import OpenUpload, Stat


@dataclass(slots=True)
class Reading:
    """What one repository holds of a cluster, by folder of a backup."""

    repository: RepositoryState
    scope: str = ""
    """What the folders begin with that are read at all: runs tell of all others, too."""
    files: dict[str, dict[str, Stat]] = field(default_factory=dict)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    seals: dict[str, Seal] = field(default_factory=dict)
    packs: dict[str, list[Stat]] = field(default_factory=dict)
    """By folder of the backup that they were written for; others may use them, too."""
    proofs: dict[str, list[Proof]] = field(default_factory=dict)
    unreadable: list[Unreadable] = field(default_factory=list)
    lacking: dict[str, set[str]] = field(default_factory=dict)
    """Files of parts that cannot be put together: their recipe is damaged or makes something else,
    or a pack is gone or cut."""
    pack_classes: dict[str, set[str]] = field(default_factory=dict)
    """Classes of the packs that a copy takes blocks from, by its folder."""
    archived_packs: dict[str, set[InArchive]] = field(default_factory=dict)
    """Those of these packs that cannot be read before they are brought back."""
    strangers: list[Stranger] = field(default_factory=list)
    uploads: tuple[OpenUpload, ...] = ()
    tombstones: dict[str, list[Expired]] = field(default_factory=dict)
    expired_at: dict[str, datetime] = field(default_factory=dict)
    """When the newest record that a copy goes was written, by the store's clock."""
    ends: dict[str, RunEnd] = field(default_factory=dict)
    runs: frozenset[str] = frozenset()
    first_run: datetime | None = None
    ahead: frozenset[str] = frozenset()
    """Folders and digests of manifests and proofs that were dated in the future when written."""

    @property
    def expired(self) -> frozenset[str]:
        """Return the folders of the copies that were to be removed from here."""
        return frozenset(self.tombstones)


def assemble(cluster: str, readings: Sequence[Reading]) -> Catalog:
    """Put the catalog together; pure."""
    folders = sorted({f for r in readings for f in r.manifests})
    named = named_in_records(cluster, readings)
    unread = [_unread(r) for r in readings]
    backups = [_backup(folder, readings, named[folder], unread) for folder in folders]
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
                expired_at=r.expired_at.get(folder),
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
        packs={
            r.repository.name: tuple(pack for of_one in r.packs.values() for pack in of_one)
            for r in readings
            if r.packs
        },
    )


def _spared(folder: str, readings: Sequence[Reading], named: Mapping[str, MentionedBackup]) -> bool:
    """Whether a backup was made of this folder, by any record: then no sweep may take it."""
    backup = named.get(folder)
    told = backup is not None and any(w.kind in ("seal", "proof", "run") for w in backup.words)
    return told or any(layout.SEAL in r.files.get(folder, ()) for r in readings)


def _misfits(reading: Reading, named: Mapping[str, MentionedBackup]) -> list[Unreadable]:
    """Deletions on record of another backup than the one that the other records name."""
    where = reading.repository.name
    return [
        Unreadable(where, path, RecordDamaged(f"{where}/{path} is of another manifest"))
        for folder, tombstones in reading.tombstones.items()
        for tombstone in tombstones
        if not fits(tombstone, named.get(folder))
        for path in [f"{layout.EXPIRED}/{folder}/{tombstone.run_id}.json"]
    ]


def _gone_failures(reading: Reading, named: Mapping[str, MentionedBackup]) -> list[Unreadable]:
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


def _backup(
    folder: str,
    readings: Sequence[Reading],
    named: MentionedBackup,
    unread: Sequence[Mapping[str, Sequence[tuple[str, DRError]]]],
) -> Backup:
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
            _copy(folder, r, manifest, sealed=seal is not None, named=named, unread_here=here)
            for r, here in zip(readings, unread, strict=True)
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


def _data_file(repository: RepositoryState, part: Part) -> str:
    """The file in the folder of a copy that stands for a part."""
    return layout.recipe_file(part.file) if repository.layout == "chunked" else part.file


def _holds(reading: Reading, folder: str, part: Part) -> bool:
    """Whether lists show the part in its size, or all of which it is put together."""
    there = reading.files.get(folder, {}).get(_data_file(reading.repository, part))
    if there is None:
        return False
    if reading.repository.layout == "chunked":
        return part.file not in reading.lacking.get(folder, ())
    return there.size_bytes == part.size_bytes


def _unread(reading: Reading) -> dict[str, list[tuple[str, DRError]]]:
    """What cannot be read, by its folder: looked up for every copy."""
    found: dict[str, list[tuple[str, DRError]]] = {}
    for unreadable in reading.unreadable:
        folder, _, file = unreadable.path.rpartition("/")
        found.setdefault(folder, []).append((file, unreadable.error))
    return found


def _copy(
    folder: str,
    reading: Reading,
    manifest: Manifest,
    *,
    sealed: bool,
    named: MentionedBackup,
    unread_here: Mapping[str, Sequence[tuple[str, DRError]]],
) -> Copy:
    where = reading.repository
    if where.error is not None:
        return Copy(where.name, where.domain, "unreachable")
    files = reading.files.get(folder, {})
    mine = reading.manifests.get(folder)
    lacks = [] if mine else [layout.MANIFEST.removesuffix(".json")]
    sizes = {name: there.size_bytes for name, there in files.items()}
    parts = [p.file for p in (mine or manifest).parts if not _holds(reading, folder, p)]
    if sealed and folder not in reading.seals:
        lacks.append(layout.SEAL.removesuffix(".json"))
    proofs: list[Proof] = []
    inherited: list[Proof] = []
    for proof in reading.proofs.get(folder, ()):
        of_this_copy = (
            mine is not None
            and proof.repository_id == where.id
            and where.location is not None
            and proof.manifest_sha256 == mine.sha256
            # a failure counts under whatever endpoint it was found; a success only here
            and (one_path if not proof.passed else one_place)(proof.location, where.location)
            # a failure counts whenever it was; of a success, when is half of what it says
            and not (proof.passed and proof.sha256 in reading.ahead)
        )
        (proofs if of_this_copy else inherited).append(proof)
    unreadable = dict(unread_here.get(f"{layout.BACKUPS}/{folder}", ()))
    # what lies in an archive is not broken, whatever a listing says of it
    frozen = {name for name, error in unreadable.items() if isinstance(error, ObjectArchived)}
    # nor is what somebody with another secret can read
    locked = {name for name, error in unreadable.items() if isinstance(error, KeyMissing)}
    data = {_data_file(where, p) for p in (mine or manifest).parts}
    of_it = {layout.MANIFEST, layout.SEAL, *data}
    archived = tuple(
        InArchive(there.path, there.storage)
        for name, there in sorted(files.items())
        if name in frozen or (name in of_it and there.storage.archived)
    )
    away = {name.removesuffix(".json") for name in (*(a.file for a in archived), *locked)}
    archived += tuple(sorted(reading.archived_packs.get(folder, ()), key=lambda a: a.path))
    classes = {t.storage.name for n, t in files.items() if n in of_it}
    classes |= reading.pack_classes.get(folder, set())
    below = f"{layout.PROOFS}/{folder}"
    pardoned = _pardoned(folder, proofs)
    unread = [
        file.removesuffix(".json")
        for file, _ in unread_here.get(below, ())
        if f"{below}/{file}" not in pardoned
    ]
    unread += [gone for gone in hidden_failures(named, reading) if gone not in unread]
    chunked = where.layout == "chunked"
    packs = sum(p.size_bytes for p in reading.packs.get(folder, ())) if chunked else None
    if mine is None and where.name in named.let_go:
        return Copy(
            where.name,
            where.domain,
            "expired",
            ("manifest",),
            stored_bytes=sum(sizes.values()),
            pack_bytes=packs,
            proofs=tuple(proofs),
        )
    if not files:
        return Copy(
            where.name,
            where.domain,
            "missing",
            ("manifest",),
            stored_bytes=0,
            pack_bytes=packs,
            held=where.name in named.holders,
        )
    damaged = unreadable.keys() - frozen - locked or (mine and (parts or open_failures(proofs)))
    behind = set(lacks) - away or parts
    return Copy(
        repository=where.name,
        domain=where.domain,
        state=(
            "damaged" if damaged else "behind" if behind else "archived" if archived else "present"
        ),
        lacks=(*lacks, *parts),
        stored_bytes=sum(sizes.values()),
        pack_bytes=packs,
        proofs=tuple(proofs),
        inherited=tuple(inherited),
        unread=tuple(unread),
        held=where.name in named.holders,
        storage=tuple(sorted(classes - {""})),
        archived=archived,
        restore_time=where.restore_time,
        layout=where.layout,
    )
