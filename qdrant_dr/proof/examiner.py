"""Examines one copy, depth by depth, as far as it is asked to."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

from qdrant_dr.digests import SAMPLE_BLOCK
from qdrant_dr.errors import (
    ArchiveError,
    BytesDiffer,
    DRError,
    EngineCrashed,
    Interrupted,
    NothingChecked,
    ObjectMissing,
    ProofError,
    StorageFull,
)
from qdrant_dr.proof.blocks import SampleRequest
from qdrant_dr.proof.compare import compare_counts, compare_with_seal
from qdrant_dr.proof.engine import Engine, engine_version
from qdrant_dr.proof.findings import finding
from qdrant_dr.proof.proof_result import Examination, ProofLimits, Reader
from qdrant_dr.proof.questions import Questions
from qdrant_dr.proof.readback import (
    ReadBack,
    ShardCount,
    ShardReading,
    Told,
    count_shards,
    merge,
    read_shards,
)
from qdrant_dr.proof.search import Judged, judge
from qdrant_dr.proof.structure import inspect
from qdrant_dr.proof.unpack import LaidOut, Limits, lay_out
from qdrant_dr.records import DEPTHS, Depth, Finding, Manifest, Part, Sample, Seal
from qdrant_dr.records.proof import depth_rank, reaches
from qdrant_dr.verified_read import Tally

_SEVERAL_FROM = 64 << 20
_ENGINES = 4
log = logging.getLogger(__name__)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


class Examiner:
    """Reads the parts of a copy, all of them or a sample, and keeps what is found."""

    sampled_ids: Sequence[int | str] = ()
    keep_replayed = False
    alone = False
    told: Told | None = None

    def __init__(
        self,
        manifest: Manifest,
        reader: Reader,
        depth: Depth,
        seal: Seal | None,
        limits: ProofLimits,
        scratch: Path,
    ) -> None:
        self.manifest, self.reader, self.depth, self.seal = manifest, reader, depth, seal
        self.limits, self.scratch = limits, scratch
        self.findings: list[Finding] = []
        self.failed: set[Depth] = set()
        self.hindrance: DRError | None = None
        self.bytes_checked = 0
        self.counts: list[ShardCount] = []
        self.readings: list[list[ShardReading]] = []
        self.within = 0
        self.uuid: str | None = None
        self.judged: Judged | None = None
        self.engines: list[Engine] = []
        self.defects: list[str] = []
        # a seal is made of what the engine alone reads: the rest is compared with that
        self.seed = secrets.randbelow(2**31) if seal else None

    def wants(self, depth: Depth) -> bool:
        """Say whether the examination goes to `depth` or deeper."""
        return reaches(self.depth, depth)

    def engines_wanted(self) -> int:
        """Return several if there is much to read, and a core and disk space for each."""
        if not self.wants("content"):
            return int(self.wants("load"))
        size = self.manifest.size_bytes
        if size < _SEVERAL_FROM:
            return 1
        room = self.free() // size - 1  # the archive's bytes once more, beside a tree for each
        return max(1, min(_cores(), _ENGINES, room))

    def free(self) -> int:
        """Return how many bytes may be unpacked here."""
        return min(shutil.disk_usage(self.scratch).free, self.limits.spool_bytes)

    def full(self) -> Examination:
        try:
            for part in self.manifest.parts:
                if self.hindrance is None and self.present(part) and self.wants("bytes"):
                    self.examine(part)
        except Interrupted:
            raise
        except DRError as e:  # an object that vanished meanwhile, a bad block, another obstacle
            depth: Depth = "bytes" if isinstance(e, BytesDiffer) else "presence"
            self.note(self.depth if self.alone else depth, None, [e])
        if self.wants("load") and not self.failed and self.hindrance is None:
            self.note("load", None, compare_counts(self.counts, self.manifest, self.seal))
        read = None
        if self.wants("content") and len(self.readings) == len(self.manifest.parts):
            read = merge(self.readings, engine_version())
            if self.seal and not self.failed:
                read = self.compare(read, self.seal)
            if self.wants("search") and not self.failed:
                self.judged = judge(read.asked, self.seal)
                if self.seal:  # without one the source is judged, by `plan_seal`
                    self.note("search", None, self.judged.faults)
        return self.result(read)

    def compare(self, read: ReadBack, seal: Seal) -> ReadBack:
        """Check `content`; what differs is read once more by the engine alone, if it was not.

        Return the reading that counts."""
        for where in read.disagreed:
            self.defect(where)
        compared = compare_with_seal(read, seal, self.manifest)
        if compared.faults and read.stored:
            log.warning("%s differs from its seal; the engine reads it alone", self.manifest.key)
            self.seed, self.bytes_checked, self.counts, self.readings = None, 0, [], []
            for part in self.manifest.parts:
                self.examine(part)
            if self.failed or self.hindrance:
                return read
            if len(self.readings) < len(self.manifest.parts):
                self.note("content", None, compared.faults)
                return read
            read = merge(self.readings, engine_version())
            compared = compare_with_seal(read, seal, self.manifest)
            if not compared.faults:
                self.defect("only their fingerprint differs")
        self.within = compared.within_tolerance
        self.note("content", None, compared.faults)
        return read

    def defect(self, words: str) -> None:
        """Say loudly that vectors were not read rightly from files: no fault of the copy."""
        text = (
            f"defect of qdrant-dr: of {self.manifest.key} the files give other vectors than the "
            f"engine, whose reading counts: {words}. Please report this."
        )
        log.error("%s", text)
        self.defects.append(text)

    def questions(self) -> Questions | None:
        """Return questions for the indexes: those of the seal, or new ones if there is no seal."""
        if self.seal and not self.wants("search"):
            return None
        return Questions(self.manifest, self.seal)

    def present(self, part: Part) -> bool:
        """Check `presence`: the object exists with its size."""
        try:
            size = self.reader.sizes(part)
        except BytesDiffer as e:
            self.note("presence", part, [e])
            return False
        if size == part.size_bytes:
            return True
        fault: DRError
        if size is None:
            fault = ObjectMissing(f"{part.file} is missing")
        else:
            fault = BytesDiffer(
                f"{part.file} has {size} bytes, its manifest says {part.size_bytes}"
            )
        self.note("presence", part, [fault])
        return False

    def examine(self, part: Part) -> None:
        """Check `bytes`, and in the same pass whatever else is wanted. One read; one more after a
        crash."""
        checked = self.bytes_checked
        try:
            self.look(part)
        except EngineCrashed as e:
            log.warning("%s: %s; it is read once more", part.file, e.message)
            self.bytes_checked = checked
            for engine in self.engines:
                engine.restart()
            try:
                self.look(part)
            except EngineCrashed as again:
                self.note_engine(part, again)

    def look(self, part: Part) -> None:
        """Read once. Raise EngineCrashed if the engine died over it without a reason."""
        tally = Tally(part.size_bytes, part.sha256)
        stream = tally.watch(self.reader.blocks(part))
        if not self.wants("structure"):
            for _ in stream:
                pass
            self.compare_bytes(part, tally)
            return
        free = self.free()
        if part.size_bytes > free:
            raise StorageFull(
                f"{part.file} has {part.size_bytes} bytes, but {free} may be used below "
                f"{self.scratch}",
                "free space there, raise `capture.spool.max`, or prove to depth `bytes` only.",
            )
        place = self.scratch / part.name
        place.mkdir()
        try:
            laid = lay_out(
                stream,
                place,
                kind=part.kind,
                shard=part.shards[0],
                limits=Limits.of_part(part.size_bytes, free),
                name=part.name,
            )
            for _ in stream:
                pass  # after a fault: the digest still needs all bytes
            whole = self.compare_bytes(part, tally)
            sound = self.check_structure(part, laid) and whole
            if self.engines and (sound or self.alone):
                self.check_engine(part, laid)
        finally:  # an abandoned engine may still be working here: the rest is removed at the end
            shutil.rmtree(place, ignore_errors=True)

    def compare_bytes(self, part: Part, tally: Tally) -> bool:
        self.bytes_checked += min(tally.size_bytes, part.size_bytes)
        if tally.whole:
            return True
        if tally.size_bytes != part.size_bytes:
            longer = "more than " if tally.size_bytes > part.size_bytes else ""
            words = f"{longer}{min(tally.size_bytes, part.size_bytes)} bytes"
            fault = BytesDiffer(f"{part.file} has {words}, its manifest says {part.size_bytes}")
        else:
            fault = BytesDiffer(
                f"SHA-256 of {part.file} is {tally.sha256[:16]}, its manifest says "
                f"{part.sha256[:16]}: its {part.size_bytes} bytes are damaged or replaced"
            )
        self.note("bytes", part, [fault])
        return False

    def check_structure(self, part: Part, laid: LaidOut) -> bool:
        """Check `structure`: what was unpacked is complete."""
        faults = inspect(laid, part, self.manifest)
        self.uuid = self.uuid or laid.uuid
        self.note("structure", part, faults)
        return not faults

    def check_engine(self, part: Part, laid: LaidOut) -> None:
        """Check `load`, and read for `content`, one part."""
        try:
            if self.wants("content"):
                readings = read_shards(
                    laid,
                    self.engines,
                    self.scratch,
                    sampled_ids=self.sampled_ids,
                    keep_replayed=self.keep_replayed,
                    questions=self.questions(),
                    seed=self.seed,
                    told=self.told,
                )
                self.readings.append(readings)
                self.counts += [r.count for r in readings]
            else:
                self.counts += count_shards(laid, self.engines[0])
        except EngineCrashed:
            raise
        except (ProofError, ArchiveError) as e:
            self.note_engine(part, e)

    def note_engine(self, part: Part, fault: DRError) -> None:
        self.note(self.depth if self.alone else "load", part, [fault])

    def sampled(self, sample: SampleRequest) -> Examination:
        """Check `bytes` of the chosen blocks only."""
        for part in self.manifest.parts:
            if not self.present(part):
                continue
            blocks = -(-part.size_bytes // SAMPLE_BLOCK)
            if len(part.blocks) != blocks:
                fault = NothingChecked(
                    f"the manifest has no digests of the blocks of {part.file}, with which a "
                    "sample "
                    "could be compared",
                    "run `qdrant-dr verify --depth bytes` without `--sample`.",
                )
                self.note("bytes", part, [fault])
                continue
            for number in sample.choose(part):
                self.check_block(part, number)
        return self.result(None, sample.record(self.manifest.parts))

    def check_block(self, part: Part, number: int) -> None:
        start = number * SAMPLE_BLOCK
        end = min(start + SAMPLE_BLOCK, part.size_bytes)
        tally = Tally(end - start, part.blocks[number])
        try:
            for _ in tally.watch(self.reader.blocks(part, start, end)):
                pass
        except (BytesDiffer, ObjectMissing) as e:
            self.note("bytes", part, [e])
            return
        self.bytes_checked += min(tally.size_bytes, end - start)
        if not tally.whole:
            fault = BytesDiffer(f"bytes {start} to {end} of {part.file} are damaged or replaced")
            self.note("bytes", part, [fault])

    def note(self, depth: Depth, part: Part | None, faults: Sequence[DRError]) -> None:
        """Record faults with their depth; separately record what prevented the check, which says
        nothing about the copy."""
        if self.alone and depth != self.depth:
            return
        for fault in faults:
            if fault.blames_copy:
                self.failed.add(depth)
                self.findings.append(finding(fault, part.name if part else None))
            else:
                self.hindrance = self.hindrance or fault

    def result(self, read: ReadBack | None, sample: Sample | None = None) -> Examination:
        if not self.failed and self.hindrance is None:
            evidence: tuple[tuple[Depth, object, str], ...] = (
                ("bytes", self.bytes_checked, "not a single byte was read"),
                ("load", self.counts, "no shard was opened"),
                ("content", read, "no shard was read"),
            )
            for wanted, seen, words in evidence:
                if self.wants(wanted) and not seen:
                    self.note(self.depth, None, [NothingChecked(words)])
                    break
        if self.hindrance is not None and not self.findings:
            raise self.hindrance
        judged = self.judged
        failed = min((depth_rank(d) for d in self.failed), default=depth_rank(self.depth) + 1)
        if judged and judged.unasked:
            failed = min(failed, depth_rank("search"))
        points = sum(c.points for c in self.counts) if self.counts else None
        return Examination(
            depth=self.depth,
            reached=DEPTHS[failed - 1] if failed else None,
            findings=tuple(self.findings),
            bytes_expected=self.manifest.size_bytes,
            bytes_checked=self.bytes_checked,
            points_expected=self.seal.points if self.seal and self.wants("load") else None,
            points_checked=points,
            within_tolerance=self.within,
            sample=sample,
            engine=engine_version(),
            read_back=read,
            archive_uuid=self.uuid,
            searched=judged.searched if judged else None,
            remarks=judged.remarks if judged else (),
            unasked=judged.unasked if judged else (),
            defects=tuple(self.defects),
        )
