"""One repository: records and parts of backups, proofs and runs, in layout `plain`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from qdrant_dr import layout
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import (
    BytesDiffer,
    Conflict,
    DRError,
    ManifestConflict,
    ObjectArchived,
    ObjectMissing,
    RecordDamaged,
    RecordError,
    RepositoryMismatch,
    RepositoryMissing,
    SealConflict,
)
from qdrant_dr.records import (
    BackupKey,
    Intent,
    Location,
    Manifest,
    Part,
    Proof,
    Record,
    RunEnd,
    RunStart,
    Seal,
    SnapshotAnswer,
    Watched,
)
from qdrant_dr.records.repository import RepositoryRecord
from qdrant_dr.repository.foreign_objects import Stranger
from qdrant_dr.repository.location import open_place
from qdrant_dr.stores.base import OpenUpload, Sink, Stat, Store
from qdrant_dr.stores.throttle import Throttle, ThrottledSink, shared_throttle
from qdrant_dr.verified_read import VerifiedRead
from qdrant_dr.version import __version__

R = TypeVar("R", bound=Record)
_LOOKS = 5  # read at once to find the last: names tell the second only, and one may be damaged
_AHEAD = timedelta(seconds=60)  # a look by another clock, or while this one began, may be so late
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


def create_repository(
    cfg: RepositoryConfig, now: datetime, *, stall_timeout: timedelta = timedelta(seconds=90)
) -> str:
    """Make an empty place a repository and return its id. Raise Conflict if it is one already."""
    location, store = open_place(cfg, stall_timeout=stall_timeout, make=True)
    if store.stat(layout.REPOSITORY) is not None:
        raise Conflict(
            f"repository {cfg.name}: {location} is a repository already",
            "`qdrant-dr repository show NAME` prints its id; nothing was changed.",
        )
    record = RepositoryRecord(
        id=secrets.token_hex(4), layout="plain", created_at=now, tool_version=__version__
    )
    store.create(layout.REPOSITORY, record.to_bytes())
    return record.id


def open_repository(cfg: RepositoryConfig, *, stall_timeout: timedelta) -> Repository:
    """Open what `repository create` made.

    Raise RepositoryMissing without a repository.json (an unmounted disk must not look like an
    empty repository), RepositoryMismatch if it has another id than configured,
    RepositoryUnreachable or RepositoryDenied if it cannot be read.
    """
    found = read_repository(cfg, stall_timeout=stall_timeout)
    if found.id != cfg.id:
        raise RepositoryMismatch(
            f"repository {cfg.name}: {found.location} has id {found.id}, "
            f"the configuration says {cfg.id or 'nothing'}"
        )
    return found


def read_repository(cfg: RepositoryConfig, *, stall_timeout: timedelta) -> Repository:
    """Open a repository whatever its id; for `repository show` and `repository list`."""
    location, store = open_place(cfg, stall_timeout=stall_timeout)
    try:
        data = store.read(layout.REPOSITORY)
    except ObjectMissing:
        raise RepositoryMissing(
            f"repository {cfg.name}: there is no {layout.REPOSITORY} at {location}"
        ) from None
    record = RepositoryRecord.from_bytes(data, where=f"{cfg.name}/{layout.REPOSITORY}")
    return Repository(
        name=cfg.name,
        record=record,
        domain=cfg.domain,
        location=location,
        bandwidth=cfg.bandwidth,
        store=store,
        append_only=cfg.append_only,
        restore_time=cfg.archive_restore_time,
    )


@dataclass(slots=True)
class Repository:
    """A place where backups lie, opened. Safe to use from several threads."""

    name: str
    record: RepositoryRecord
    domain: str
    location: Location
    bandwidth: int | None
    store: Store
    append_only: bool = False
    restore_time: timedelta | None = None
    """How long it takes to bring a copy back from an archive, as configured."""
    _throttle: Throttle | None = field(init=False)

    def __post_init__(self) -> None:
        self._throttle = (
            shared_throttle(str(self.location), self.bandwidth) if self.bandwidth else None
        )

    @property
    def id(self) -> str:
        return self.record.id

    # capture, in its order

    def write_intent(self, key: BackupKey, intent: Intent, number: int = 1) -> None:
        """Say what is about to be created, before it is; `number` counts the calls of a backup."""
        self.store.create(layout.in_backup(key, layout.intent_file(number)), intent.to_bytes())

    def write_answer(self, key: BackupKey, answer: SnapshotAnswer, number: int = 1) -> None:
        """Keep what the server answered to that call."""
        self.store.create(layout.in_backup(key, layout.answer_file(number)), answer.to_bytes())

    def read_calls(
        self, files: Sequence[Stat]
    ) -> tuple[tuple[tuple[int, Intent, SnapshotAnswer | None], ...], tuple[Unreadable, ...]]:
        """Every create call of one backup, out of all that lies in its folder, with its number, and
        the records of calls that cannot be read. The answer is None where none was written.
        """
        at = {layout.call_of(f.path.rpartition("/")[2]): f.path for f in files}
        found: list[tuple[int, Intent, SnapshotAnswer | None]] = []
        unreadable: list[Unreadable] = []
        for kind, number in sorted(call for call in at if call is not None):
            if kind != "intent":
                continue
            path = at.get(("snapshot", number))
            answers = self.read_records(SnapshotAnswer, [path] if path else [])
            intents = self.read_records(Intent, [at["intent", number]])
            unreadable += [*intents.unreadable, *answers.unreadable]
            if not answers.unreadable:
                answer = next(iter(answers.records), None)
                found += [(number, intent, answer) for intent in intents.records]
        return tuple(found), tuple(unreadable)

    def has_call(
        self, key: BackupKey, number: int, intent: Intent, answer: SnapshotAnswer | None
    ) -> bool:
        """Whether the very same records of a call lie here, and no answer where there is none."""
        wanted: dict[str, bytes | None] = {
            layout.intent_file(number): intent.to_bytes(),
            layout.answer_file(number): answer.to_bytes() if answer else None,
        }
        for file, data in wanted.items():
            try:
                there = self.store.read(layout.in_backup(key, file))
            except ObjectMissing:
                there = None
            if there != data:
                return False
        return True

    def part_sink(self, key: BackupKey, file_name: str, size_hint: int | None = None) -> Sink:
        """Begin a part: nothing is visible before its commit. Raise Conflict if it is there."""
        return self._sink(layout.in_backup(key, file_name), size_hint, replace=False)

    def drop_part(self, key: BackupKey, file_name: str) -> None:
        """Take back a part that no manifest will name. Raise Conflict if there is a manifest."""
        if self.store.stat(layout.in_backup(key, layout.MANIFEST)) is not None:
            raise Conflict(f"repository {self.name}: {key} has a manifest: it is a backup")
        self.store.delete(layout.in_backup(key, file_name))

    def commit(self, manifest: Manifest) -> None:
        """Make the backup exist: the manifest, last, create-only.

        Every part is asked for again first, uncached. Raise ObjectMissing or BytesDiffer if one
        is not there in its size, ManifestConflict if another manifest has this backup id.
        """
        for part in manifest.parts:
            size = self.part_size(manifest.key, part)
            if size is None:
                raise ObjectMissing(f"repository {self.name}: {part.file} of {manifest.key} "
                                    "is gone before its manifest was written")  # fmt: skip
            if size != part.size_bytes:
                raise BytesDiffer(
                    f"repository {self.name}: {part.file} of {manifest.key} has {size} bytes, "
                    f"{part.size_bytes} were written"
                )
        self.put_manifest_bytes(manifest.key, manifest.to_bytes())

    def put_manifest_bytes(self, key: BackupKey, data: bytes) -> None:
        """Write a manifest as another repository has it. Raise ManifestConflict, RecordError."""
        self._parse(Manifest, layout.in_backup(key, layout.MANIFEST), data, key)
        try:
            self.store.create(layout.in_backup(key, layout.MANIFEST), data)
        except Conflict as e:
            raise ManifestConflict(f"{key}: another manifest is there: {e.message}") from None

    def put_seal(self, seal: Seal) -> None:
        """Write a seal, create-only. Raise SealConflict if a different one is there."""
        key = BackupKey(cluster=seal.cluster, collection=seal.collection, backup_id=seal.backup_id)
        try:
            self.store.create(layout.in_backup(key, layout.SEAL), seal.to_bytes())
        except Conflict as e:
            raise SealConflict(f"{key}: another seal is there: {e.message}") from None

    def repair_manifest(self, key: BackupKey, data: bytes) -> None:
        """Put a manifest as another copy has it; one that is cut or edited is replaced.

        Raise ManifestConflict if another one is there that can be believed, or is too new to read.
        """
        self._repair(Manifest, key, layout.MANIFEST, data, ManifestConflict)

    def repair_seal(self, seal: Seal) -> None:
        """The same of a seal. Raise SealConflict."""
        key = BackupKey(cluster=seal.cluster, collection=seal.collection, backup_id=seal.backup_id)
        self._repair(Seal, key, layout.SEAL, seal.to_bytes(), SealConflict)

    def _repair(
        self, kind: type[R], key: BackupKey, file: str, data: bytes, other: type[Conflict]
    ) -> None:
        path = layout.in_backup(key, file)
        self._parse(kind, path, data, key)
        try:
            self.store.create(path, data)
        except Conflict as e:
            try:
                self._parse(kind, path, self.store.read(path), key)
            except RecordDamaged:
                sink = self.store.sink(path, size_hint=len(data), replace=True)
                try:
                    sink.write(data)
                    sink.commit()
                except BaseException:
                    sink.abort()
                    raise
            except RecordError:
                raise other(f"{key}: {e.message}") from None
            else:
                raise other(f"{key}: another one is there: {e.message}") from None

    # reading a backup

    def manifest_bytes(self, key: BackupKey) -> bytes:
        """The manifest as stored. Raise ObjectMissing."""
        return self.store.read(layout.in_backup(key, layout.MANIFEST))

    def read_manifest(self, key: BackupKey) -> Manifest:
        """The manifest. Raise ObjectMissing, RecordDamaged, RecordUnknown."""
        path = layout.in_backup(key, layout.MANIFEST)
        return self._parse(Manifest, path, self.store.read(path), key)

    def read_seal(self, key: BackupKey) -> Seal | None:
        """The seal; None before the first content proof."""
        path = layout.in_backup(key, layout.SEAL)
        try:
            data = self.store.read(path)
        except ObjectMissing:
            return None
        return self._parse(Seal, path, data, key)

    def part_size(self, key: BackupKey, part: Part) -> int | None:
        """Bytes of a part as the store says now; None if it is not there."""
        there = self.store.stat(layout.in_backup(key, part.file))
        return None if there is None else there.size_bytes

    def read_part(
        self, key: BackupKey, part: Part, start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        """Bytes of a part as they are there, for who finds out what is wrong with them; whoever
        needs good ones takes `read_verified`."""
        return self.store.read_range(layout.in_backup(key, part.file), start, end)

    def read_verified(
        self,
        key: BackupKey,
        part: Part,
        passing: Callable[[Iterator[bytes]], Iterator[bytes]] = iter,
    ) -> VerifiedRead:
        """All bytes of a part, which turn out to be the manifest's: BytesDiffer is raised before
        the last of them is given. `passing` sees each block as it comes, to count or stop it."""
        what = f"{part.file} of {key} in {self.name} has"
        return VerifiedRead(passing(self.read_part(key, part)), part, what)

    def presigned(self, key: BackupKey, part: Part, seconds: int) -> str:
        """A URL by which anyone may read the part for so long: a secret, never to be shown.

        Raise CannotSign where the store or its credentials give none.
        """
        return self.store.signed_url(layout.in_backup(key, part.file), seconds)

    def replace_part(self, key: BackupKey, part: Part, blocks: Iterable[bytes]) -> None:
        """Repair: put bytes in the place of a missing or damaged part, in one step.

        Raise BytesDiffer, and leave what is there untouched, unless size and SHA-256 of the
        blocks are the manifest's.
        """
        if not isinstance(blocks, VerifiedRead):
            what, then = f"{part.file} of {key} came with", f". nothing was replaced in {self.name}"
            blocks = VerifiedRead(blocks, part, what, then)
        sink = self._sink(layout.in_backup(key, part.file), part.size_bytes, replace=True)
        try:
            for block in blocks:
                sink.write(block)
            sink.commit()
        except BaseException:
            sink.abort()
            raise

    # proofs and runs

    def add_proof(self, proof: Proof) -> None:
        """Keep a proof of a copy in this repository."""
        key = BackupKey(
            cluster=proof.cluster, collection=proof.collection, backup_id=proof.backup_id
        )
        self.store.create(layout.proof(key, proof.proof_id), proof.to_bytes())

    def read_proofs(
        self, cluster: str, collection: str | None = None, backup_id: str | None = None
    ) -> Read[Proof]:
        """Proofs of a cluster, a collection or a backup, oldest first."""
        found, others = self.sort_out(layout.proofs(cluster, collection, backup_id))
        read = self.read_records(Proof, [s.path for s in found])
        there = {s.path: s for s in found}
        ahead = {
            p.sha256
            for p in read.records
            if self.dated_ahead(p.ended_at, there.get(layout.proof(_key(p), p.proof_id)))
        }
        ordered = sorted(read.records, key=lambda p: p.ended_at)
        return Read(tuple(ordered), read.unreadable, frozenset(ahead), others)

    def write_run_start(self, start: RunStart) -> None:
        """Say that a run began."""
        self.store.create(layout.run_start(start.run_id, start.started_at), start.to_bytes())

    def began(self, start: RunStart) -> Stat | None:
        """The record that a run began, as the store describes it: its clock, read off an object
        that is there anyway."""
        return self.store.stat(layout.run_start(start.run_id, start.started_at))

    def write_run_end(self, end: RunEnd) -> None:
        """Say how it ended. Looks lie apart from the runs that reports are made of."""
        start = end.start
        if start.job == "watch":
            path = layout.watch(start.cluster, start.run_id, start.started_at)
        else:
            path = layout.run_end(start.run_id, start.started_at)
        self.store.create(path, end.to_bytes())

    def last_watch(self, cluster: str, now: datetime) -> tuple[RunEnd, Stat] | None:
        """The newest look of this month or the ones beside it that can be read, and its file.

        The next month, too: a look lies in the month in which it began by its own clock, which may
        have been ahead. One that ends in the future is none, and one that was written before the
        time it gives stands behind those that were not: their clock knew better.
        """
        months = [layout.watches(cluster, month) for month in layout.months_around(now)]
        files = {layout.stem(s.path): s for month in months for s in self.find(month)}
        newest_first = sorted(files, reverse=True)
        for at in range(0, len(files), _LOOKS):
            paths = [files[run_id].path for run_id in newest_first[at : at + _LOOKS]]
            looks = [
                (end, there)
                for end in self.read_records(RunEnd, paths).records
                if end.ended_at <= now + _AHEAD
                and any(isinstance(o.detail, Watched) for o in end.outcomes)
                and (there := files.get(end.start.run_id))
            ]
            in_time = [(e, there) for e, there in looks if e.ended_at <= there.modified_at + _AHEAD]
            if looks:
                return max(in_time or looks, key=lambda look: look[0].ended_at)
        return None

    def read_runs(self, since: datetime, until: datetime) -> tuple[Read[RunStart], Read[RunEnd]]:
        """Runs that began within the period: their starts, and their ends where there are."""
        months = [self.sort_out(m) for m in layout.run_months(since, until)]
        paths = [s.path for ours, _ in months for s in ours]
        starts = self.read_records(RunStart, [p for p in paths if p.endswith(".start.json")])
        ends = self.read_records(RunEnd, [p for p in paths if p.endswith(".end.json")])
        return (
            Read(
                tuple(s for s in starts.records if since <= s.started_at <= until),
                starts.unreadable,
                strangers=tuple(s for _, others in months for s in others),
            ),
            Read(
                tuple(e for e in ends.records if since <= e.start.started_at <= until),
                ends.unreadable,
            ),
        )

    def read_end(self, run_id: str) -> Read[RunEnd]:
        """The end record of one run, if it is here."""
        path = layout.run_end(run_id, layout.time_of(run_id))
        return self.read_records(RunEnd, [path] if self.store.stat(path) else [])

    def read_records(self, kind: type[R], paths: Sequence[str]) -> Read[R]:
        """Records of one kind; what is damaged, unknown, in an archive or just vanished is told,
        not dropped."""

        def read(path: str) -> R | Unreadable:
            try:
                return self._parse(kind, path, self.store.read(path))
            except (RecordError, ObjectMissing, ObjectArchived) as e:
                return Unreadable(self.name, path, e)

        with ThreadPoolExecutor(_READERS) as pool:
            found = list(pool.map(read, paths))
        return Read(
            tuple(r for r in found if not isinstance(r, Unreadable)),
            tuple(r for r in found if isinstance(r, Unreadable)),
        )

    # what the catalog and the sweep need

    def find_backups(
        self, cluster: str, collection: str | None = None, backup_id: str | None = None
    ) -> list[Stat]:
        """Everything below the backups of a cluster, a collection or of one backup."""
        return self.find(layout.backups(cluster, collection, backup_id))

    def open_uploads(self, cluster: str) -> list[OpenUpload]:
        """Uploads of a cluster that were begun and never finished, where the store can tell."""
        return self.store.open_uploads(layout.backups(cluster))

    def discard_upload(self, upload: OpenUpload) -> None:
        """Free what an open upload holds."""
        self.store.discard_upload(upload)

    def delete_unfinished(self, folder: str, files: Sequence[Stat]) -> None:
        """Remove what a dead capture left below `backups/<folder>`: the intents last.

        Raise Conflict if there is a manifest or a seal by now: then it is a backup.
        """
        for record in (layout.MANIFEST, layout.SEAL):
            if self.store.stat(f"{layout.BACKUPS}/{folder}/{record}") is not None:
                what = record.removesuffix(".json")
                raise Conflict(f"repository {self.name}: {folder} has a {what}: it is a backup")
        for file in sorted(files, key=lambda f: f.path.rpartition("/")[2].startswith("intent")):
            if not file.path.startswith(f"{layout.BACKUPS}/{folder}/"):
                raise ValueError(f"{file.path} is not below {folder}")
            self.store.delete(file.path)

    def dated_ahead(self, at: datetime, there: Stat | None) -> bool:
        """Whether a record says that it is of later than the store had when it took it: what such a
        clock says is not true once that time has come.

        A time of before this repository was made is none: it came with a copy of the files.
        """
        if there is None:
            return False
        return self.record.created_at <= there.modified_at < at - _AFTER_ALL

    def find(self, folder: str) -> list[Stat]:
        """Every object of ours below a folder. Raise RepositoryMissing if it is gone."""
        return self.sort_out(folder)[0]

    def sort_out(self, folder: str) -> tuple[list[Stat], tuple[Stranger, ...]]:
        """The same, and what else lies there. Raise RepositoryMissing."""
        found = self.store.find(folder)
        if not found and self.store.stat(layout.REPOSITORY) is None:
            # some stores list a bucket that is gone as an empty one
            raise RepositoryMissing(
                f"repository {self.name}: {layout.REPOSITORY} is gone from {self.location}"
            )
        ours = [there for there in found if layout.in_our_place(there.path)]
        others = [there for there in found if not layout.in_our_place(there.path)]
        return ours, tuple(Stranger(self.name, s.path, s.size_bytes) for s in others)

    def _sink(self, path: str, size_hint: int | None, *, replace: bool) -> Sink:
        sink = self.store.sink(path, size_hint=size_hint, replace=replace)
        return ThrottledSink(sink, self._throttle) if self._throttle else sink

    def _parse(self, kind: type[R], path: str, data: bytes, key: BackupKey | None = None) -> R:
        """Parse a record and compare it with the place it lies in."""
        record = kind.from_bytes(data, where=f"{self.name}/{path}")
        if isinstance(record, Manifest | Seal | Proof | Intent):
            of = _key(record)
            if f"/{of.folder}/" not in f"/{path}":
                raise RecordDamaged(f"{self.name}/{path} is the {kind.KIND} of {of}: misplaced")
            if key is not None and of != key:
                raise RecordDamaged(f"{self.name}/{path} is the {kind.KIND} of {of}, not {key}")
        return record


def _key(record: Manifest | Seal | Proof | Intent) -> BackupKey:
    return BackupKey(
        cluster=record.cluster, collection=record.collection, backup_id=record.backup_id
    )
