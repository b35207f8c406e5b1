"""Write the shards of a backup into files, one after the other: each by the engine's child, which
reads back what it wrote."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qdrant_dr.cancel import stopping
from qdrant_dr.errors import ContentDiffers, Interrupted
from qdrant_dr.jobs.read_points.opened_backup import OpenedBackup
from qdrant_dr.jobs.run.progress import points_told
from qdrant_dr.proof import add, differences
from qdrant_dr.proof.compare import without_vectors
from qdrant_dr.proof.engine import Engine
from qdrant_dr.proof.export.columns import PointColumns
from qdrant_dr.records import BackupKey, Fingerprint, Manifest, Seal, SealedShard
from qdrant_dr.records.export import ExportedFile, Form

Told = Callable[[int], None]


@dataclass(frozen=True)
class WrittenShard:
    """A file of points in scratch space. `differs` says where it is not what was sealed; `replayed`
    how many vectors this machine has computed from the log, which are compared by number alone."""

    path: Path
    file: ExportedFile
    differs: tuple[str, ...] = ()
    replayed: int = 0


@dataclass(frozen=True)
class ShardWriter:
    """Writes shards of one backup into `folder`, in one form."""

    key: BackupKey
    columns: PointColumns
    form: Form
    folder: Path
    sealed: Mapping[int, SealedShard] = field(default_factory=dict)
    keys: Mapping[int, int | str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        form: Form,
        folder: Path,
        sealed: Sequence[SealedShard] = (),
    ) -> ShardWriter:
        key = BackupKey(
            cluster=manifest.cluster,
            collection=manifest.collection,
            backup_id=manifest.backup_id,
        )
        columns = PointColumns.of_collection(manifest.info)
        return cls(
            key, columns, form, folder, {s.shard: s for s in sealed}, manifest.keys_of_shards
        )

    def write_all(self, opened: OpenedBackup) -> Iterator[WrittenShard]:
        """Write every shard; the file of one is removed when the next is asked for.

        Vectors come from the files of the segments only where a seal says what must come out.
        Raise what `OpenedBackup.shards` raises, Interrupted."""
        for shard in opened.shards():
            sealed = self.sealed.get(shard.shard)
            name = f"shard-{shard.shard}.{self.form}"
            seed = secrets.randbelow(2**31) if sealed else None
            written = self.write(shard.engine, shard.shard, name, shard.points, seed=seed)
            if written.differs and seed is not None:  # is it the shard, or how its files were read?
                written.path.unlink()
                written = self.write(shard.engine, shard.shard, name, shard.points)
            yield written
            written.path.unlink()

    def write(
        self,
        engine: Engine,
        shard: int,
        name: str,
        points: int,
        *,
        seed: int | None = None,
        but: Sequence[int | str] = (),
    ) -> WrittenShard:
        """Write the shard that an engine holds open, without the points `but`, and compare it with
        its seal, if there is one. Raise ContentDiffers if a vector has no column, Interrupted, and
        what an engine's `wait` raises."""
        path, sealed = self.folder / name, self.sealed.get(shard)
        engine.ask(
            "export",
            path=str(path),
            form=self.form,
            columns=self.columns.facts(),
            about={"qdrant_dr.backup": str(self.key), "qdrant_dr.shard": str(shard)},
            apart=sealed.replayed_ids if sealed else (),
            but=list(but),
            seed=seed,
        )
        answer = engine.wait(_telling(points))
        if "unknown" in answer:
            raise ContentDiffers(
                f"shard {shard} of {self.key}: {answer['unknown']}",
                "add `--format ndjson`, which needs no column for it.",
            )
        settled = Fingerprint.model_validate(answer["settled"])
        apart = answer["apart"] and Fingerprint.model_validate(answer["apart"])
        return WrittenShard(
            path,
            ExportedFile(
                name=name,
                shard=shard,
                points=answer["points"],
                size_bytes=answer["size_bytes"],
                sha256=answer["sha256"],
                fingerprint=add(settled, apart) if apart else settled,
                unlike=answer.get("unlike", {}),
                shard_key=self.keys.get(shard),
            ),
            tuple(_apart_from(sealed, settled, apart)) if sealed else (),
            apart.points if apart else 0,
        )


def _telling(points: int) -> Told:
    """Return what passes progress on, and stops when asked to."""
    told = points_told()

    def tell(done: int) -> None:
        if stopping.is_set():
            raise Interrupted("asked to stop while points were written")
        if told:
            told(min(done, points), points)

    return tell


def _apart_from(
    sealed: SealedShard, settled: Fingerprint, replayed: Fingerprint | None
) -> Iterator[str]:
    """Say where the points in a file are not those of the seal: bit by bit, but for vectors that
    this machine has just computed from the log."""
    for words in differences(sealed.settled, settled):
        yield f"shard {sealed.shard}: {words}"
    if sealed.replayed is not None and replayed is not None:
        both = without_vectors(sealed.replayed), without_vectors(replayed)
        for words in differences(*both):
            yield f"shard {sealed.shard}: of the points that its log brings {words}"


def unlike_seal(seal: Seal, files: Sequence[ExportedFile], *, replayed: int) -> list[str]:
    """Say where all files together are not what was sealed: its shards, and the sum of its points,
    without the vectors of those that are `replayed`. Pure."""
    sealed, read = {s.shard for s in seal.shards}, {f.shard for f in files}
    words = [f"nothing was read of shard {shard}, which was sealed" for shard in sealed - read]
    words += [f"shard {shard} is not in the seal" for shard in read - sealed]
    total, found = seal.total, whole(files)
    if replayed:
        total, found = without_vectors(total), without_vectors(found)
    return [*sorted(words), *(f"all shards: {what}" for what in differences(total, found))]


def whole(files: Sequence[ExportedFile]) -> Fingerprint:
    """Return the fingerprint of all files together."""
    return add(*(f.fingerprint for f in files))


def facts_of(columns: PointColumns) -> dict[str, Any]:
    """Return which vector and which field of the payload each column holds."""
    return {
        "vectors": {v.column: v.name for v in columns.vectors},
        "fields": {f.column: f.field for f in columns.fields},
    }
