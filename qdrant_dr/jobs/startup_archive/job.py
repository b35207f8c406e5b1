"""A start-up archive: proven backups as one full snapshot, and proof that a server starts with it.

`qdrant --storage-snapshot FILE` is the one way back that needs no REST call: an empty server comes
up with every collection and alias.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster import Node, aliases_of, collection_names, node_facts, wait_ready
from qdrant_dr.config import Config
from qdrant_dr.errors import (
    BytesDiffer,
    ContentDiffers,
    DRError,
    Interrupted,
    ObjectArchived,
    ObjectMissing,
    PlanRefused,
)
from qdrant_dr.jobs.run.acknowledgements import acknowledgements_of
from qdrant_dr.jobs.run.backup_selector import LATEST_PROVEN, doubted_before, skipped, split
from qdrant_dr.jobs.run.error_facts import error_facts
from qdrant_dr.jobs.run.examine import CopyReader
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.new_file import new_file
from qdrant_dr.jobs.run.progress import in_transit
from qdrant_dr.jobs.run.prove import bytes_proof
from qdrant_dr.jobs.run.run import Run, utc_now
from qdrant_dr.jobs.run.scope import selected_backups
from qdrant_dr.jobs.run.scratch_dir import scratch_folder
from qdrant_dr.jobs.run.stopwatch import Stopwatch
from qdrant_dr.jobs.run.units import Perform
from qdrant_dr.jobs.startup_archive.archive import (
    StartupPlan,
    add_member,
    finish,
    member_name,
    plan_startup,
)
from qdrant_dr.jobs.target.restored_content import Reference, compare_content, unlike
from qdrant_dr.jobs.target.scratch import START_SECONDS, child_server
from qdrant_dr.records import Acknowledgement, BackupKey, Drilled, Outcome, RunEnd
from qdrant_dr.records.base import Frozen
from qdrant_dr.records.manifest import SourceKind
from qdrant_dr.repository import (
    Backup,
    Catalog,
    Copy,
    accepts,
    newest_proven,
    proven_copies,
    rank_sources,
    sound,
)

SLOWEST = 10 * 2**20
"""Bytes per second that a starting server is given at least; it unpacks before its port opens."""


class StartupRequest(Frozen):
    """Which backups; None = the newest proven one of every collection. `out` is a new file."""

    backups: tuple[str, ...] | None = None
    out: str
    prove: bool = False


@dataclass(slots=True)
class Put:
    """One backup on its way into the archive."""

    backup: Backup
    repository: str
    watch: Stopwatch
    started_at: datetime
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    error: DRError | None = None
    points: int | None = None
    equal: bool | None = None


@dataclass(slots=True)
class Server:
    """What was found out about the scratch server, once there was one."""

    kind: SourceKind | None = None
    version: str | None = None
    watch: Stopwatch = field(default_factory=Stopwatch)


def startup(config: Config, request: StartupRequest, run: Run, _perform: Perform) -> RunEnd:
    """Write the archive, start a server with it if asked to, conclude. Always an end record."""
    outcomes: list[Outcome] = []
    remarks: tuple[str, ...] = ()
    try:
        now = utc_now()
        catalog = run.read_catalog(config)
        chosen = choose(config, catalog, request.backups, now=now)
        run.note_source(chosen)
        plan = plan_startup(chosen)
        known = acknowledgements_of(config, run.repositories, now=now, lost=run.unreachable)
        remarks = (*plan.remarks, *suspects(chosen, known))
        older = noted(config, catalog, request.backups, chosen, known, now=now)
        path = Path(request.out).expanduser().absolute()
        with new_file(path, plan.size_bytes) as out:
            puts = [_put(config, out, backup, run.run_id, now) for backup in plan.backups]
            for put in puts:
                put.remarks = older[put.backup.key]
            finish(out, plan, now)
        server = _prove(config, plan, puts, path) if request.prove else None
        outcomes = [_outcome(config, p, server, path, run.run_id) for p in puts]
    except DRError as e:
        return run.finish(config, outcomes=outcomes, error=e)
    return run.finish(config, outcomes=outcomes, doubts=remarks)


def choose(
    config: Config, catalog: Catalog, selectors: Sequence[str] | None, *, now: datetime
) -> tuple[Backup, ...]:
    """Choose the backups that are meant, all of them proven. Pure; raise PlanRefused naming the
    others."""
    proven = config.objectives.proven
    if selectors is not None:
        chosen = selected_backups(catalog, config, selectors, None, now=now)
        bare = [str(b.key) for b in chosen if not _proven(config, b, now)]
    else:
        newest = {
            name: newest_proven(
                catalog.of(name), depth=proven.depth, max_age=proven.max_age, now=now
            )
            for name in catalog.collections
        }
        chosen = tuple(b for b in newest.values() if b is not None)
        bare = [name for name, b in newest.items() if b is None]
    if bare:
        raise PlanRefused(
            f"no proven copy of {', '.join(bare)}",
            "run `qdrant-dr verify` first, or name the backups that shall go in.",
        )
    return chosen


def suspects(chosen: Sequence[Backup], known: Sequence[Acknowledgement]) -> tuple[str, ...]:
    """Return the suspect backups that nobody has accepted, and why each is suspect. Pure."""
    return tuple(
        f"{b.key} is suspect: {'; '.join(b.seal.suspect)}"
        for b in chosen
        if b.seal is not None and b.seal.suspect and not any(accepts(a, b) for a in known)
    )


def noted(
    config: Config,
    catalog: Catalog,
    selectors: Sequence[str] | None,
    chosen: Sequence[Backup],
    known: Sequence[Acknowledgement],
    *,
    now: datetime,
) -> dict[BackupKey, list[str]]:
    """Return the remarks on each choice: which newer ones it skipped, and what it follows. Pure."""
    by_age = (
        [split(s)[1] == LATEST_PROVEN for s in selectors] if selectors else [True] * len(chosen)
    )
    proven = config.objectives.proven
    return {
        b.key: [
            *(skipped(b, catalog, proven=proven, now=now) if newest else ()),
            *doubted_before(b, catalog, known),
        ]
        for b, newest in zip(chosen, by_age, strict=True)
    }


def _proven(config: Config, backup: Backup, now: datetime) -> tuple[Copy, ...]:
    proven = config.objectives.proven
    return proven_copies(backup, depth=proven.depth, max_age=proven.max_age, now=now)


def _put(config: Config, out: BinaryIO, backup: Backup, run_id: str, now: datetime) -> Put:
    """Bring one archive in, from the first sound copy whose bytes are the manifest's.

    What the transfer saw of each copy is a proof of its bytes, good or bad. Raise ObjectMissing
    if no copy is good, ObjectArchived if all of them lie in an archive.
    """
    (part,) = backup.manifest.parts
    notes: list[str] = []
    ranked = rank_sources(backup, now=now, promise=config.objectives.proven)
    copies = [s.copy for s in ranked if sound(backup, s.copy)]
    for copy in copies:
        if copy.archived:
            notes.append(f"{copy.repository} cannot give it: {copy.archive}")
            continue
        put = Put(backup, copy.repository, Stopwatch(), utc_now(), notes)
        try:
            found = Found(config, backup.key, copy.repository)
            with put.watch.phase("fetch", part.size_bytes):
                read = found.repository.read_verified(backup.key, part, in_transit(part))
                add_member(out, backup.manifest, part, read)
        except BytesDiffer as e:
            notes.append(e.message)
            _record(found, e, put, run_id)
        except Interrupted:
            raise
        except DRError as e:
            notes.append(f"{copy.repository} could not give it: {e.message}")
        else:
            _record(found, None, put, run_id)
            return put
    if all(c.archived for c in copies):
        raise ObjectArchived(
            f"no copy of {backup.key} can be read: {'; '.join(notes)}",
            f"`qdrant-dr show {backup.key}` prints the commands that bring it back.",
        )
    raise ObjectMissing(f"no copy of {backup.key} could be read: {'; '.join(notes)}")


def _record(found: Found, error: DRError | None, put: Put, run_id: str) -> None:
    """Keep what was seen of this copy; the archive is as good without the record."""
    proof = bytes_proof(
        found.backup, found.repository, error,
        bytes_checked=found.manifest.size_bytes, run_id=run_id, made_by="restore",
        started_at=put.started_at, ended_at=utc_now(),
    )  # fmt: skip
    try:
        found.repository.add_proof(proof)
    except DRError as e:
        put.notes.append(f"no proof was kept: {e.message}")


def _prove(config: Config, plan: StartupPlan, puts: Sequence[Put], path: Path) -> Server:
    """Start a scratch server with the file, and compare all that it then holds."""
    server = Server()
    size = path.stat().st_size
    with scratch_folder(config.capture.spool.path, f"startup-{secrets.token_hex(6)}") as folder:
        try:
            with ExitStack() as stack:
                with server.watch.phase("start", size):
                    url = stack.enter_context(
                        child_server(
                            folder / "server", "--storage-snapshot", str(path),
                            patience=START_SECONDS + size / SLOWEST,
                        )
                    )  # fmt: skip
                node = stack.enter_context(Node(url, timeouts=config.cluster.timeouts))
                about = node_facts(node)
                server.kind, server.version = about.source_kind, about.version
                _whole(node, plan)
                for put in puts:
                    _compare(config, node, put, folder / put.backup.manifest.backup_id)
        except DRError as e:
            for put in puts:
                put.error = put.error or e
    return server


def _whole(node: Node, plan: StartupPlan) -> None:
    """The very collections and aliases that were put in. Raise ContentDiffers."""
    wanted = {b.manifest.collection for b in plan.backups}
    if (there := set(collection_names(node))) != wanted:
        raise ContentDiffers(
            f"the server has {sorted(there)}, the archive {sorted(wanted)}: "
            f"{len(wanted - there)} are missing"
        )
    if (aliases := aliases_of(node)) != plan.aliases:
        raise ContentDiffers(f"the server has the aliases {aliases}, the archive {plan.aliases}")


def _compare(config: Config, node: Node, put: Put, folder: Path) -> None:
    """Every point and setting of one collection. What is wrong is the error of this one alone."""
    name = put.backup.manifest.collection
    try:
        with put.watch.phase("ready"):
            wait_ready(node, name, stop=stopping)
        with put.watch.phase("prove"):
            found = Found(config, put.backup.key, put.repository)
            folder.mkdir()
            reader = CopyReader(found.repository, found.backup)
            reference = Reference(config, found.manifest, found.backup.seal, reader, folder)
            comparison = compare_content(reference, {None: node}, name)
            indexes, settings = unlike(found.manifest, node, name, replication_factor=None)
        put.points, put.equal = comparison.points, comparison.equal and not indexes
        put.notes += settings
        if faults := [*(f.message for f in comparison.faults), *indexes]:
            raise ContentDiffers(f"{put.backup.key} at start-up: {'; '.join(faults)}")
    except Interrupted:
        raise
    except DRError as e:
        put.error = e


def _outcome(config: Config, put: Put, server: Server | None, path: Path, run_id: str) -> Outcome:
    """Of one collection: put in, or put in and proven by a start."""
    manifest, seal = put.backup.manifest, put.backup.seal
    detail = None
    if server is not None:
        phases = (*put.watch.phases[:1], *server.watch.phases, *put.watch.phases[1:])
        detail = Drilled(
            drill_id=f"{run_id}-{secrets.token_hex(3)}",
            engine="server",
            target_kind=server.kind,
            server_version=server.version,
            pick="startup",
            seed=None,
            captured_at=manifest.captured_at,
            size_bytes=manifest.size_bytes,
            points_expected=seal.points if seal else None,
            points_restored=put.points,
            fingerprint_equal=put.equal,
            phases=phases,
            total_us=sum(p.duration_us for p in phases),
            isolation=config.drill.isolation,
            teardown="removed",
        )
    return Outcome(
        unit="restore" if detail is None else "drill",
        collection=manifest.collection,
        repository=put.repository,
        backup_id=manifest.backup_id,
        verdict="failed" if put.error else "degraded" if put.notes else "ok",
        started_at=put.started_at,
        ended_at=utc_now(),
        error=error_facts(put.error) if put.error else None,
        notes=(*put.notes, *put.remarks, f"in {path.name} as {member_name(manifest)}"),
        detail=detail,
    )
