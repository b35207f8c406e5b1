"""The unit of `drill`: fetch one copy, restore it, prove it there, tear down; each phase timed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from qdrant_dr.cancel import stoppable, stopping
from qdrant_dr.cluster import DRILL_PREFIX, Node, drop_target, node_facts, wait_restored
from qdrant_dr.config import Config
from qdrant_dr.errors import ContentDiffers, DRError, NothingChecked, SearchDiffers
from qdrant_dr.jobs.run.error_facts import error_facts
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.progress import watched
from qdrant_dr.jobs.run.prove import bytes_proof, prove_copy
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.scratch_dir import PREFIX, dead_folders, remove_scratch, scratch_folder
from qdrant_dr.jobs.run.stopwatch import Stopwatch
from qdrant_dr.jobs.run.units import DrillUnit, VerifyUnit
from qdrant_dr.jobs.target.restore_to_scratch import recover_onto, scratch_nodes
from qdrant_dr.jobs.target.restored_content import Reference, compare_content, lost_indexes
from qdrant_dr.jobs.target.scratch import drill_target
from qdrant_dr.jobs.target.search import prove_served
from qdrant_dr.proof import Comparison
from qdrant_dr.records import Drilled, Outcome, Part
from qdrant_dr.records.manifest import SourceKind
from qdrant_dr.verified_read import VerifiedRead

FOLDER = f"{PREFIX}drill-"
KEPT_PREFIX = "qdr-kept-"
"""Targets that `--keep` leaves behind: no later drill takes them for its own to delete."""


@dataclass(frozen=True, slots=True)
class FileReader:
    """The bytes of a backup that was fetched into a folder, for the proof layer."""

    archives: Path

    def sizes(self, part: Part) -> int | None:
        return (self.archives / part.file).stat().st_size

    def blocks(self, part: Part, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        with (self.archives / part.file).open("rb") as data:
            data.seek(start)
            left = (end if end is not None else part.size_bytes) - start
            while left > 0 and (block := data.read(min(left, 2**20))):
                left -= len(block)
                yield block


@dataclass(slots=True)
class Result:
    """What a drill has found out so far; kept if it fails half-way."""

    target_kind: SourceKind | None = None
    server_version: str | None = None
    points_restored: int | None = None
    fingerprint_equal: bool | None = None
    proof_id: str | None = None
    teardown: str = "nothing to tear down"


def drill_copy(config: Config, unit: DrillUnit, run_id: str) -> Outcome:
    """Drill one copy. If the drill fails, the outcome has failed and lists the phases that were
    reached."""
    started_at, begun = utc_now(), time.perf_counter()
    watch, result = Stopwatch(), Result()
    drill_id = f"{run_id}-{secrets.token_hex(3)}"
    with watch.phase("pick"):
        found = Found(config, unit.key, unit.repository)
    error: DRError | None = None
    try:
        if found.backup.seal is None:
            raise NothingChecked(
                f"{unit.key} has no seal to compare a restore with",
                f"run `qdrant-dr verify {unit.key} --depth content` first.",
            )
        if unit.engine == "edge":
            _drill_edge(config, found, unit, run_id, watch, result)
        else:
            spool = config.capture.spool.path
            dead = dead_folders(spool, "drill")
            with scratch_folder(spool, f"drill-{drill_id.lower()}") as folder:
                _drill_server(config, found, unit, run_id, folder, dead, watch, result)
            for name in dead:
                remove_scratch(spool, name)
    except DRError as e:
        error = e
    return Outcome(
        unit="drill",
        collection=unit.collection,
        repository=unit.repository,
        backup_id=unit.key.backup_id,
        verdict="failed" if error else "ok",
        started_at=started_at,
        ended_at=utc_now(),
        error=error_facts(
            error, repository=unit.repository, collection=unit.collection, backup=unit.key
        )
        if error
        else None,
        notes=(unit.note,) if unit.note else (),
        detail=Drilled(
            drill_id=drill_id,
            engine=unit.engine,
            target_kind=result.target_kind,
            server_version=result.server_version,
            pick=unit.pick,
            seed=unit.seed,
            captured_at=found.manifest.captured_at,
            size_bytes=found.manifest.size_bytes,
            points_expected=found.backup.seal.points if found.backup.seal else None,
            points_restored=result.points_restored,
            fingerprint_equal=result.fingerprint_equal,
            phases=tuple(watch.phases),
            total_us=round((time.perf_counter() - begun) * 1e6),
            isolation=config.drill.isolation,
            teardown=result.teardown,
            proof_id=result.proof_id,
        ),
    )


def _drill_server(
    config: Config,
    found: Found,
    unit: DrillUnit,
    run_id: str,
    folder: Path,
    dead: Sequence[str],
    watch: Stopwatch,
    result: Result,
) -> None:
    """Fetch, start, recover, ready, prove, tear down. Raise what a phase raises, torn down."""
    manifest = found.manifest
    name = (KEPT_PREFIX if unit.keep else DRILL_PREFIX) + folder.name.removeprefix(FOLDER)
    gone = [d.removeprefix("drill-") for d in dead]
    archives = folder / "archives"
    archives.mkdir()
    with watch.phase("fetch", manifest.size_bytes):
        result.proof_id = _fetch(found, archives, run_id)
    with ExitStack() as stack:
        with watch.phase("start"):
            server = drill_target(config, folder / "server", gone, manifest=manifest)
            target = stack.enter_context(server)
            about = node_facts(target)
            result.target_kind, result.server_version = about.source_kind, about.version
            nodes = stack.enter_context(scratch_nodes(config, target))
        try:
            with watch.phase("recover", manifest.size_bytes):
                recover_onto(
                    nodes, name, manifest, FileReader(archives).blocks, folder,
                    limit=config.capture.spool.max,
                )  # fmt: skip
            with watch.phase("ready"):
                wait_restored(nodes.by_peer, name, stop=stopping)
            with watch.phase("prove"):
                reader = FileReader(archives)
                reference = Reference(config, manifest, found.backup.seal, reader, folder)
                comparison = compare_content(reference, nodes.by_peer, name).with_faults(
                    lost_indexes(manifest, target, name)
                )
                result.points_restored = comparison.points
                result.fingerprint_equal = comparison.verdict
                if fault := comparison.fault(f"{unit.key} restored on {target.url}"):
                    raise fault
                _search(found, target, name, comparison, run_id, result)
        finally:
            with watch.phase("tear down"):
                result.teardown = _tear_down(target, name, keep=unit.keep)


def _search(
    found: Found, target: Node, name: str, comparison: Comparison, run_id: str, result: Result
) -> None:
    """Put the seal's questions to the restored indexes: a proof of depth `restore`, where this
    server can give one. Raise SearchDiffers."""
    assert found.backup.seal is not None
    proof = prove_served(
        found, found.backup.seal, target, name, comparison,
        reached="bytes", run_id=run_id, made_by="drill", started_at=utc_now(),
    )  # fmt: skip
    if proof is None:
        return
    found.repository.add_proof(proof)
    result.proof_id = proof.proof_id
    if not proof.passed:
        raise SearchDiffers("; ".join(finding.message for finding in proof.findings))


def _fetch(found: Found, archives: Path, run_id: str) -> str:
    """Bring the bytes here, proven in passing; a copy with other bytes gets a failed proof."""
    started_at, reads = utc_now(), list[VerifiedRead]()

    def laid_down() -> Iterator[bytes]:
        for part in found.manifest.parts:
            reads.append(found.repository.read_verified(found.backup.key, part))
            with (archives / part.file).open("wb") as out:
                for block in reads[-1]:
                    out.write(block)
                    yield block

    error: DRError | None = None
    try:
        for _ in stoppable(watched(laid_down(), found.manifest.size_bytes)):
            pass
    except DRError as e:
        if not e.blames_copy:
            raise
        error = e
    proof = bytes_proof(
        found.backup, found.repository, error,
        bytes_checked=sum(read.size_bytes for read in reads), run_id=run_id,
        made_by="drill", started_at=started_at, ended_at=utc_now(),
    )  # fmt: skip
    found.repository.add_proof(proof)
    if error:
        raise error
    return proof.proof_id


def _tear_down(target: Node, name: str, *, keep: bool) -> str:
    if keep:
        return f"kept as asked: {name} on {target.url}"
    try:
        return "removed" if drop_target(target, name) else "nothing was left"
    except DRError as e:
        return f"left behind, the next drill removes it: {e.message}"


def _drill_edge(
    config: Config, found: Found, unit: DrillUnit, run_id: str, watch: Stopwatch, result: Result
) -> None:
    """Lay out, load and read back with Qdrant's storage engine: read-back time, never RTO."""
    size = found.manifest.size_bytes
    verify_unit = VerifyUnit(key=unit.key, repository=unit.repository, depth="content")
    with watch.phase("read back", size):
        proved = prove_copy(config, found, verify_unit, run_id, made_by="drill")
    found.repository.add_proof(proved.proof)
    result.proof_id = proved.proof.proof_id
    result.points_restored = proved.proof.points_checked
    result.fingerprint_equal = proved.proof.passed
    result.teardown = "removed"
    if proved.error is not None:
        raise ContentDiffers(proved.error.message, proved.error.hint)
