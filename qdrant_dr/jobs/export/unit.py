"""The unit of `export`: read one backup, write its points, prove and put each file, commit."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from qdrant_dr.config import Config
from qdrant_dr.errors import ContentDiffers, CountDiffers, DRError, Interrupted
from qdrant_dr.jobs.export.destination import Destination, open_destination
from qdrant_dr.jobs.export.salvaged import write_salvaged
from qdrant_dr.jobs.export.shard_files import (
    ShardWriter,
    WrittenShard,
    facts_of,
    unlike_seal,
    whole,
)
from qdrant_dr.jobs.read_points.in_clear import export_in_clear
from qdrant_dr.jobs.read_points.opened_backup import opened_backup
from qdrant_dr.jobs.run.error_facts import error_facts
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.scratch_dir import scratch_folder
from qdrant_dr.jobs.run.units import ExportUnit
from qdrant_dr.proof.engine import engine_version
from qdrant_dr.records import Exported, Outcome
from qdrant_dr.records.export import ExportBegun, ExportedFile, ExportManifest
from qdrant_dr.version import __version__


@dataclass(slots=True)
class Progress:
    """What an export has done so far; kept if it fails half-way."""

    destination: str
    files: list[ExportedFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    sources: tuple[str, ...] = ()
    equal: bool | None = None
    lost: int | None = 0
    manifest: ExportManifest | None = None

    @property
    def points(self) -> int:
        return sum(f.points for f in self.files)

    @property
    def size_bytes(self) -> int:
        return sum(f.size_bytes for f in self.files)


def export_backup(config: Config, unit: ExportUnit, run_id: str) -> Outcome:
    """Export one backup. If it fails, the outcome has failed and says how far it came."""
    started_at = utc_now()
    error: DRError | None = None
    found = Found(config, unit.key, unit.repository)
    done = Progress(unit.out)
    try:
        to = open_destination(config, unit.out, unit.credentials_of)
        done.destination = to.shown
        copies = (copy.repository for copy in found.backup.copies)
        done.notes += export_in_clear(found.opened, copies, to.shown)
        _export(config, unit, found, to, done, run_id)
    except Interrupted as e:
        error = Interrupted(e.message, GO_ON)
    except DRError as e:
        error = e
    degraded = done.equal is not True or bool(done.lost) or done.lost is None
    return Outcome(
        unit="export",
        collection=unit.collection,
        repository=next(iter(done.sources), unit.repository),
        backup_id=unit.key.backup_id,
        verdict="failed" if error else "degraded" if degraded else "ok",
        started_at=started_at,
        ended_at=utc_now(),
        error=error_facts(error, collection=unit.collection, backup=unit.key) if error else None,
        notes=tuple(done.notes),
        detail=Exported(
            destination=done.destination,
            form=unit.form,
            captured_at=found.manifest.captured_at,
            files=len(done.files),
            size_bytes=done.size_bytes,
            points=done.points,
            points_expected=_expected(found),
            fingerprint_equal=done.equal,
            manifest_sha256=done.manifest.sha256 if done.manifest else None,
            sources=done.sources,
            salvaged=unit.salvage,
            lost=done.lost,
        ),
    )


GO_ON = (
    "run the same command again: files that are there already are compared and kept, and "
    "the manifest is written last."
)


def _export(
    config: Config,
    unit: ExportUnit,
    found: Found,
    to: Destination,
    done: Progress,
    run_id: str,
) -> None:
    seal = found.backup.seal
    with scratch_folder(config.capture.spool.path, f"export-{secrets.token_hex(6)}") as folder:
        sealed = seal.shards if seal and not unit.salvage else ()
        writer = ShardWriter.of(found.manifest, unit.form, folder, sealed)
        begun = ExportBegun(
            backup=unit.key,
            backup_manifest_sha256=found.manifest.sha256,
            form=unit.form,
            salvaged=unit.salvage,
            **facts_of(writer.columns),
        )
        if to.begin(begun):
            done.notes.append("continued an export that was interrupted")
        if unit.salvage:
            told = write_salvaged(config, found, writer, lambda w: _put(to, w, done))
            done.sources, done.lost, done.equal = told.sources, told.lost, told.equal
            done.notes += told.notes
            lost_ids = told.put_ids(to, folder)
        else:
            lost_ids = None
            _write(config, found, writer, to, done)
        done.manifest = _manifest(unit, found, begun, done, run_id, lost_ids, utc_now())
        to.commit(done.manifest)


def _write(
    config: Config, found: Found, writer: ShardWriter, to: Destination, done: Progress
) -> None:
    """Write, prove and put every shard. Raise ContentDiffers before a wrong file leaves this
    machine, or if all files together are not what was sealed; CountDiffers if a shard is
    missing."""
    replayed = 0
    with opened_backup(config, found, writer.folder / "opened") as opened:
        for written in writer.write_all(opened):
            _must_be_sealed(found, written.differs, done)
            _put(to, written, done)
            replayed += written.replayed
        done.sources = tuple(opened.used)
        done.notes += opened.notes
    wanted = {s.shard for s in found.manifest.shards}
    if missing := sorted(wanted - {f.shard for f in done.files}):
        raise CountDiffers(f"the archives of {found.backup.key} hold nothing of shards {missing}")
    if (seal := found.backup.seal) is None:
        done.notes.append(
            "it has no seal, so nothing says what should be in it: run `qdrant-dr verify "
            f"{found.backup.key} --depth content`, and export again for a proof"
        )
        return
    _must_be_sealed(found, unlike_seal(seal, done.files, replayed=replayed), done)
    done.equal = True
    if replayed:
        done.notes.append(
            f"the vectors of {replayed} points come out of the write-ahead log: computed on this "
            "machine, they are compared by their number"
        )


def _must_be_sealed(found: Found, differs: Sequence[str], done: Progress) -> None:
    """Raise ContentDiffers if anything differs from the seal."""
    if not differs:
        return
    done.equal = False
    raise ContentDiffers(
        f"what was written of {found.backup.key} is not what was sealed: {'; '.join(differs)}",
        f"run `qdrant-dr verify {found.backup.key} --depth content`: it says whether the copy is "
        "damaged; `--from-salvage` exports what can be read.",
    )


def _put(to: Destination, written: WrittenShard, done: Progress) -> None:
    to.put(written.path, written.file.name, written.file.sha256)
    done.files.append(written.file)


def _expected(found: Found) -> int | None:
    """How many points should be there: as sealed, or as counted if nothing was written."""
    if (seal := found.backup.seal) is not None:
        return seal.points
    counts = [s.count_after for s in found.manifest.shards]
    known = [c for c in counts if c is not None]
    return sum(known) if found.manifest.quiet and len(known) == len(counts) else None


def _manifest(
    unit: ExportUnit,
    found: Found,
    begun: ExportBegun,
    done: Progress,
    run_id: str,
    lost_ids: str | None,
    now: datetime,
) -> ExportManifest:
    manifest, seal = found.manifest, found.backup.seal
    return ExportManifest(
        begun_sha256=begun.sha256,
        backup=unit.key,
        captured_at=manifest.captured_at,
        exported_at=now,
        run_id=run_id,
        tool_version=__version__,
        engine_version=engine_version(),
        server_version=manifest.server_version,
        form=unit.form,
        files=tuple(done.files),
        points=done.points,
        size_bytes=done.size_bytes,
        fingerprint=whole(done.files),
        seal_sha256=seal.sha256 if seal else None,
        equal=done.equal,
        aliases=manifest.aliases,
        collection_info=manifest.collection_info,
        salvaged=unit.salvage,
        lost=done.lost,
        lost_ids=lost_ids,
        notes=tuple(done.notes),
    )
