"""One repository, in layout `plain`: what a capture writes, and what is read of it again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

from qdrant_dr import layout
from qdrant_dr.digests import StreamDigest
from qdrant_dr.errors import (
    BytesDiffer,
    Conflict,
    DRError,
    ManifestConflict,
    ObjectMissing,
    RecordDamaged,
    RecordError,
    SealConflict,
)
from qdrant_dr.records import BackupKey, Intent, Manifest, Part, Proof, Seal, SnapshotAnswer
from qdrant_dr.repository.record_files import Read, Unreadable, key_of
from qdrant_dr.repository.run_records import RunRecords
from qdrant_dr.stores.bandwidth import BandwidthLimit, LimitedSink, shared_bandwidth_limit
from qdrant_dr.stores.base import OpenUpload, Sink, Stat, fill
from qdrant_dr.verified_read import VerifiedRead

if TYPE_CHECKING:
    from qdrant_dr.repository.chunked import ChunkedRepository
    from qdrant_dr.vault.cut_once import CutOnce


@dataclass(frozen=True, slots=True)
class Spool:
    """A folder of this run alone, in which parts may be put together; `told` hears what is done
    there, `waiting` is given what takes long, to stop it."""

    folder: Path
    told: Callable[[str], None]
    waiting: Callable[[Iterator[bytes]], Iterator[bytes]] = iter
    most_bytes: int | None = None


@dataclass(slots=True)
class Repository(RunRecords):
    """A place where backups lie, opened. Safe to use from several threads."""

    domain: str
    bandwidth: int | None
    append_only: bool = False
    restore_time: timedelta | None = None
    """How long it takes to bring a copy back from an archive, as configured."""
    decline: float = 0.05
    """The share of a night that is stored anew at most, where blocks are stored once."""
    price: float | None = None
    """Of a GiB a month, as configured."""
    _bandwidth_limit: BandwidthLimit | None = field(init=False)

    def __post_init__(self) -> None:
        self._bandwidth_limit = (
            shared_bandwidth_limit(str(self.location), self.bandwidth) if self.bandwidth else None
        )

    @property
    def only_read(self) -> DRError | None:
        """Return why nothing is written or deleted here, though everything is read; None if that is
        not so."""
        return self.keys.only_read if self.keys is not None else None

    # capture, in its order

    def write_intent(self, key: BackupKey, intent: Intent, number: int = 1) -> None:
        """Say what is about to be created, before it is; `number` counts the calls of a backup."""
        self.create_record(layout.in_backup(key, layout.intent_file(number)), intent.to_bytes())

    def write_answer(self, key: BackupKey, answer: SnapshotAnswer, number: int = 1) -> None:
        """Keep what the server answered to that call."""
        self.create_record(layout.in_backup(key, layout.answer_file(number)), answer.to_bytes())

    def read_calls(
        self, files: Sequence[Stat]
    ) -> tuple[tuple[tuple[int, Intent, SnapshotAnswer | None], ...], tuple[Unreadable, ...]]:
        """Read every create call of one backup, out of all that lies in its folder, with its
        number, and the records of calls that cannot be read. The answer is None where none was
        written."""
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
        """Say whether the very same records of a call lie here; without an answer, there must be
        none."""
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

    def part_sink(
        self,
        key: BackupKey,
        file_name: str,
        size_hint: int | None = None,
        stream: CutOnce | None = None,  # noqa: ARG002 -- bytes are stored as they come
        digest: StreamDigest | None = None,
    ) -> Sink:
        """Begin a part: nothing is visible before its commit. Raise Conflict if it is there.

        `stream` cuts what is written into blocks, once for all repositories that store blocks;
        `digest` as in `Store.sink`.
        """
        path = self._part_path(key, file_name)
        return self._sink(path, size_hint, replace=False, digest=digest)

    def _part_path(self, key: BackupKey, file_name: str) -> str:
        """The object without which a part is not there."""
        return layout.in_backup(key, file_name)

    def drop_part(self, key: BackupKey, file_name: str) -> None:
        """Take back a part that no manifest will name. Raise Conflict if there is a manifest."""
        if self.store.stat(layout.in_backup(key, layout.MANIFEST)) is not None:
            raise Conflict(f"repository {self.name}: {key} has a manifest: it is a backup")
        self.delete(self._part_path(key, file_name))

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
            self.create_record(layout.in_backup(key, layout.MANIFEST), data)
        except Conflict as e:
            raise ManifestConflict(f"{key}: another manifest is there: {e.message}") from None

    def put_seal(self, seal: Seal) -> None:
        """Write a seal, create-only. Raise SealConflict if a different one is there."""
        key = key_of(seal)
        path = layout.in_backup(key, layout.SEAL)
        try:
            self.create_record(path, self._stored(seal, path))
        except Conflict as e:
            if self._boxed_already(seal, path):
                return
            raise SealConflict(f"{key}: another seal is there: {e.message}") from None

    def _boxed_already(self, seal: Seal, path: str) -> bool:
        """Say whether a box of this very seal is there: two of them differ in every byte."""
        if self.keys is None:
            return False
        try:
            return self._parse(Seal, path, self.store.read(path)).sha256 == seal.sha256
        except RecordError:
            return False

    def repair_manifest(self, key: BackupKey, data: bytes) -> None:
        """Put a manifest as another copy has it; one that is cut or edited is replaced.

        Raise ManifestConflict if another one is there that can be believed, or is too new to read.
        """
        path = layout.in_backup(key, layout.MANIFEST)
        self._repair(self._parse(Manifest, path, data, key), key, path, ManifestConflict)

    def repair_seal(self, seal: Seal) -> None:
        """Put a seal as another copy has it; one that is cut or edited is replaced. Raise
        SealConflict."""
        key = key_of(seal)
        self._repair(seal, key, layout.in_backup(key, layout.SEAL), SealConflict)

    def _repair(
        self, record: Manifest | Seal, key: BackupKey, path: str, other: type[Conflict]
    ) -> None:
        data = self._stored(record, path)
        try:
            self.create_record(path, data)
        except Conflict as e:
            try:
                there = self._parse(type(record), path, self.store.read(path), key)
            except RecordDamaged:
                self.replace_record(path, data)
            except RecordError:
                raise other(f"{key}: {e.message}") from None
            else:
                if there.sha256 != record.sha256:  # boxes of one seal differ
                    raise other(f"{key}: another one is there: {e.message}") from None

    # reading a backup

    def manifest_bytes(self, key: BackupKey) -> bytes:
        """Return the manifest as stored. Raise ObjectMissing."""
        return self.store.read(layout.in_backup(key, layout.MANIFEST))

    def read_manifest(self, key: BackupKey) -> Manifest:
        """Read the manifest. Raise ObjectMissing, RecordDamaged, RecordUnknown."""
        path = layout.in_backup(key, layout.MANIFEST)
        return self._parse(Manifest, path, self.store.read(path), key)

    def read_seal(self, key: BackupKey) -> Seal | None:
        """Read the seal; None before the first content proof."""
        path = layout.in_backup(key, layout.SEAL)
        try:
            data = self.store.read(path)
        except ObjectMissing:
            return None
        return self._parse(Seal, path, data, key)

    def part_size(self, key: BackupKey, part: Part) -> int | None:
        """Return the bytes of a part as the store reports them now; None if it is not there. Raise
        BytesDiffer where parts are put together, and this one cannot be."""
        there = self.store.stat(layout.in_backup(key, part.file))
        return None if there is None else there.size_bytes

    def read_part(
        self, key: BackupKey, part: Part, start: int = 0, end: int | None = None
    ) -> Iterator[bytes]:
        """Yield the bytes of a part as they are, to find out what is wrong with them; whoever needs
        good ones takes `read_verified`."""
        return self.store.read_range(layout.in_backup(key, part.file), start, end)

    def read_damaged(
        self,
        key: BackupKey,
        part: Part,
        lost: Callable[[DRError, int], None],  # noqa: ARG002 -- here a bad byte looks like any other
    ) -> Iterator[bytes]:
        """Yield the bytes of a part as far as they can be had, to save what is left of it; `lost`
        is told of those that zeros stand for, and how many they are."""
        return self.read_part(key, part)

    def read_verified(
        self,
        key: BackupKey,
        part: Part,
        passing: Callable[[Iterator[bytes]], Iterator[bytes]] = iter,
        spool: Spool | None = None,
    ) -> VerifiedRead:
        """Yield all bytes of a part and compare them with the manifest: BytesDiffer is raised
        before the last of them is given. `passing` sees each block as it comes, to count or stop
        it. With a `spool` a part that lies scattered may be put together there first, before this
        returns."""
        what = f"{part.file} of {key} in {self.name} has"
        return VerifiedRead(passing(self.read_whole(key, part, spool)), part, what)

    def read_whole(
        self,
        key: BackupKey,
        part: Part,
        spool: Spool | None,  # noqa: ARG002 -- here it lies in one piece
    ) -> Iterator[bytes]:
        """Yield all bytes of a part, in whichever way is best."""
        return self.read_part(key, part)

    def presigned(self, key: BackupKey, part: Part, seconds: int) -> str:
        """Return a URL by which anyone may read the part for this long: a secret, never to be
        shown.

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
        path = layout.in_backup(key, part.file)
        fill(self._sink(path, part.size_bytes, replace=True), blocks)

    # proofs

    def add_proof(self, proof: Proof) -> None:
        """Keep a proof of a copy in this repository."""
        self.create_record(layout.proof(key_of(proof), proof.proof_id), proof.to_bytes())

    def read_proofs(
        self, cluster: str, collection: str | None = None, backup_id: str | None = None
    ) -> Read[Proof]:
        """Read the proofs of a cluster, a collection or a backup, oldest first."""
        found, others = self.sort_out(layout.proofs(cluster, collection, backup_id))
        read = self.read_records(Proof, [s.path for s in found])
        there = {s.path: s for s in found}
        ahead = {
            p.sha256
            for p in read.records
            if self.dated_ahead(p.ended_at, there.get(layout.proof(key_of(p), p.proof_id)))
        }
        ordered = sorted(read.records, key=lambda p: p.ended_at)
        return Read(tuple(ordered), read.unreadable, frozenset(ahead), others)

    # what the catalog and the sweep need

    def find_backups(
        self, cluster: str, collection: str | None = None, backup_id: str | None = None
    ) -> list[Stat]:
        """List everything below the backups of a cluster, a collection or one backup."""
        return self.find(layout.backups(cluster, collection, backup_id))

    def open_uploads(self, cluster: str) -> list[OpenUpload]:
        """List uploads of a cluster that were begun and never finished, if the store can tell."""
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
            self.delete(file.path, file.size_bytes)

    def _sink(
        self,
        path: str,
        size_hint: int | None,
        *,
        replace: bool,
        digest: StreamDigest | None = None,
    ) -> Sink:
        sink = self.store.sink(path, size_hint=size_hint, replace=replace, digest=digest)
        return LimitedSink(sink, self._bandwidth_limit) if self._bandwidth_limit else sink


def is_chunked(repository: Repository | None) -> TypeGuard[ChunkedRepository]:
    """Say whether blocks are stored once there. Asks the record, so that who never meets such a
    repository does not load numpy and ciphers."""
    return repository is not None and repository.record.layout == "chunked"
