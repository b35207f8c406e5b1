"""Records of a repository: found, read, compared with where they lie; nothing odd is dropped."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Generic, TypeVar

from qdrant_dr import layout
from qdrant_dr.errors import (
    DRError,
    KeyMissing,
    ObjectArchived,
    ObjectMissing,
    RecordDamaged,
    RecordError,
    RepositoryMissing,
)
from qdrant_dr.records import (
    BackupKey,
    Expired,
    Hold,
    Intent,
    Location,
    Manifest,
    Proof,
    Record,
    Seal,
)
from qdrant_dr.records.repository import RepositoryRecord
from qdrant_dr.repository.changes import note_removed, note_written
from qdrant_dr.repository.foreign_objects import Stranger
from qdrant_dr.stores.base import Stat, Store, fill

if TYPE_CHECKING:  # ciphers are loaded where there is something to open
    from qdrant_dr.vault.master_key import Keyring

R = TypeVar("R", bound=Record)
_AFTER_ALL = timedelta(minutes=5)
"""How far a record may be dated ahead of the time that the store gave to it: two clocks are never
equal."""
_READERS = 16  # records are small: reading them is waiting


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that is there and cannot be believed."""

    repository: str
    path: str
    error: DRError


@dataclass(frozen=True, slots=True)
class Read(Generic[R]):
    """Records that were asked for, and those that could not be read: never dropped."""

    records: tuple[R, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    ahead: frozenset[str] = frozenset()
    """Digests of records that were dated in the future when they were written."""
    strangers: tuple[Stranger, ...] = ()
    """What lies among them and is not ours."""


@dataclass(slots=True)
class RecordFiles:
    """The records in one store, whatever they are of. Safe to use from several threads."""

    name: str
    record: RepositoryRecord
    location: Location
    store: Store
    keys: Keyring | None = field(default=None, kw_only=True)
    """Of an encrypted repository: its seals are boxes."""

    @property
    def id(self) -> str:
        return self.record.id

    def read_records(self, kind: type[R], paths: Sequence[str]) -> Read[R]:
        """Read the records of one kind; one that is damaged, unknown, in an archive or just
        vanished is reported, not dropped."""

        def read(path: str) -> R | Unreadable:
            try:
                return self._parse(kind, path, self.store.read(path))
            except (RecordError, ObjectMissing, ObjectArchived, KeyMissing) as e:
                return Unreadable(self.name, path, e)

        with ThreadPoolExecutor(_READERS) as pool:
            found = list(pool.map(read, paths))
        return Read(
            tuple(r for r in found if not isinstance(r, Unreadable)),
            tuple(r for r in found if isinstance(r, Unreadable)),
        )

    def read_record(self, kind: type[R], path: str) -> R:
        """Read one record. Raise ObjectMissing, RecordDamaged, RecordUnknown, KeyMissing."""
        return self._parse(kind, path, self.store.read(path))

    def write_record(self, path: str, record: Record) -> None:
        """Write one record. Raise Conflict if something else is there."""
        self.create_record(path, self._stored(record, path))

    def dated_ahead(self, at: datetime, there: Stat | None) -> bool:
        """Say whether a record claims a later time than the store had when it took it: what such a
        clock says does not become true once that time has come.

        A time of before this repository was made is none: it came with a copy of the files.
        """
        if there is None:
            return False
        return self.record.created_at <= there.modified_at < at - _AFTER_ALL

    def find(self, folder: str) -> list[Stat]:
        """List every object of ours below a folder. Raise RepositoryMissing if it is gone."""
        return self.sort_out(folder)[0]

    def sort_out(self, folder: str) -> tuple[list[Stat], tuple[Stranger, ...]]:
        """List every object of ours below a folder, and what else lies there. Raise
        RepositoryMissing."""
        return self.sort_out_all([folder])

    def sort_out_all(self, folders: Sequence[str]) -> tuple[list[Stat], tuple[Stranger, ...]]:
        """List the same of several folders, one after the other. Raise RepositoryMissing."""
        each = [self.store.find(folder) for folder in folders]
        if not all(each) and self.store.stat(layout.REPOSITORY) is None:
            # some stores list a bucket that is gone as an empty one
            raise RepositoryMissing(
                f"repository {self.name}: {layout.REPOSITORY} is gone from {self.location}"
            )
        found = [there for some in each for there in some]
        ours = [there for there in found if layout.in_our_place(there.path)]
        others = [there for there in found if not layout.in_our_place(there.path)]
        return ours, tuple(Stranger(self.name, s.path, s.size_bytes) for s in others)

    def _parse(self, kind: type[R], path: str, data: bytes, key: BackupKey | None = None) -> R:
        """Parse a record and compare it with the place it lies in."""
        if self.keys is not None and layout.is_boxed(path):
            from qdrant_dr.vault.box import open_bytes

            try:
                data = open_bytes(path, data, self.keys)
            except (RecordError, KeyMissing) as e:
                raise type(e)(f"{self.name}/{e.message}", e.hint) from None
        record = kind.from_bytes(data, where=f"{self.name}/{path}")
        if isinstance(record, Manifest | Seal | Proof | Intent):
            of = key_of(record)
            if f"/{of.folder}/" not in f"/{path}":
                raise RecordDamaged(f"{self.name}/{path} is the {kind.KIND} of {of}: misplaced")
            if key is not None and of != key:
                raise RecordDamaged(f"{self.name}/{path} is the {kind.KIND} of {of}, not {key}")
        return record

    # every record is written and removed here, so that the ledger can name it

    def create_record(self, path: str, data: bytes) -> None:
        """Create a record. Raise Conflict if it is there with other content."""
        self.store.create(path, data)
        note_written(self.id, path, data)

    def replace_record(self, path: str, data: bytes) -> None:
        """Put a record in the place of another: of a damaged one, say."""
        was = self.store.stat(path)
        fill(self.store.sink(path, size_hint=len(data), replace=True), [data])
        if was is not None:
            note_removed(self.id, path, was.size_bytes)
        note_written(self.id, path, data)

    def delete(self, path: str, size_bytes: int | None = None) -> None:
        """Delete a record, or any other object; of a record whose size is not given, the store is
        asked."""
        if size_bytes is None and layout.in_ledger(path):
            was = self.store.stat(path)
            size_bytes = None if was is None else was.size_bytes
        self.store.delete(path)
        if size_bytes is not None:
            note_removed(self.id, path, size_bytes)

    def read_clear(self, path: str) -> bytes:
        """Return the bytes of a record as it was written, out of its box if it lies in one. One
        that cannot be opened is given as it is: whoever judges it finds that it is no record."""
        data = self.store.read(path)
        if self.keys is None or not layout.is_boxed(path):
            return data
        from qdrant_dr.vault.box import open_bytes

        try:
            return open_bytes(path, data, self.keys)
        except RecordError:
            return data

    def _stored(self, record: Record, path: str) -> bytes:
        """The bytes to store: seals and undo records hold values and ids of points, so an encrypted
        repository has them in boxes; all others any auditor may read without a key."""
        data = record.to_bytes()
        if self.keys is not None and layout.is_boxed(path):
            from qdrant_dr.vault.box import seal_bytes

            return seal_bytes(path, data, self.keys)
        return data


def key_of(record: Manifest | Seal | Proof | Intent | Hold | Expired) -> BackupKey:
    """Return the backup that a record is of."""
    return BackupKey(
        cluster=record.cluster, collection=record.collection, backup_id=record.backup_id
    )
