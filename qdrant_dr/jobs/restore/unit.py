"""The unit of `restore`: create, recover every part, prove it there, aliases last."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from qdrant_dr.cluster import Node
from qdrant_dr.cluster.aliases import plan_aliases, set_aliases
from qdrant_dr.cluster.collection_config import creation_body, shard_key_order
from qdrant_dr.cluster.ready import wait_restored
from qdrant_dr.cluster.recover import wait_unoccupied
from qdrant_dr.cluster.target import (
    TargetFacts,
    clean_failed,
    create_payload_indexes,
    create_target,
    target_facts,
)
from qdrant_dr.config import Config
from qdrant_dr.errors import (
    ClusterError,
    ContentDiffers,
    DRError,
    NothingChecked,
    PlanRefused,
    RecoverUnanswered,
    RepositoryError,
)
from qdrant_dr.jobs.restore.failover import Meter, Sources
from qdrant_dr.jobs.restore.journal import Journal, OpenJournal, journal_of
from qdrant_dr.jobs.restore.options import continues, goes_on
from qdrant_dr.jobs.restore.ownership import (
    holds,
    must_be_unused,
    operations_of,
    since_proven,
    vectors_of,
    why_kept,
)
from qdrant_dr.jobs.restore.refusals import how_to_remove, left_whole, versions_reasons
from qdrant_dr.jobs.restore.send import Recovery
from qdrant_dr.jobs.run.cancel import stopping
from qdrant_dr.jobs.run.lookup import Found
from qdrant_dr.jobs.run.progress import watcher
from qdrant_dr.jobs.run.prove import CopyReader
from qdrant_dr.jobs.run.run import error_facts, utc_now
from qdrant_dr.jobs.run.scratch_dir import scratch_folder
from qdrant_dr.jobs.run.stopwatch import Stopwatch
from qdrant_dr.jobs.run.units import RestoreUnit
from qdrant_dr.jobs.target.nodes import TargetNodes, facts_of, open_target, target_nodes
from qdrant_dr.jobs.target.restored_content import Reference, compare_content, unlike
from qdrant_dr.records import Manifest, Outcome, Restored
from qdrant_dr.records.manifest import SourceKind
from qdrant_dr.repository import Repository
from qdrant_dr.stores.throttle import Throttle

NOTED_SECONDS = 1.0
"""A wait this long is told, and what was seen before it is looked at again."""


@dataclass(slots=True)
class Result:
    """What a restore has come to so far; kept if it fails half-way. `whole`: every point is there,
    equal to the seal, or after a salvage, which is never called equal, to what was read."""

    target_kind: SourceKind | None = None
    server_version: str | None = None
    points_restored: int | None = None
    fingerprint_equal: bool | None = None
    whole: bool = False
    lost_ids: tuple[int | str, ...] = ()
    aliases_set: tuple[str, ...] = ()
    aliases_left: tuple[str, ...] = ()
    created: bool = False
    stays: bool = False
    removed: list[str] = field(default_factory=list)
    resumed: bool = False
    doubts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def restore_backup(config: Config, unit: RestoreUnit, run_id: str) -> Outcome:
    """Restore one backup. One that fails is a failed outcome that says what it left there."""
    started_at, begun = utc_now(), time.perf_counter()
    watch, result = Stopwatch(), Result()
    with watch.phase("look"):
        found = _found(config, unit)
    manifest = found.manifest
    throttle = Throttle(unit.bandwidth) if unit.bandwidth else None
    meter = Meter(manifest.size_bytes, watcher.get(), throttle)
    sources = Sources(found, unit.repositories, run_id, meter)
    restore_id = f"{run_id}-{uuid4().hex[:6]}"
    error: DRError | None = None
    try:
        spool = config.capture.spool.path
        with ExitStack() as stack:
            node = stack.enter_context(open_target(config, unit.target, unit.target_key))
            journal = stack.enter_context(journal_of(spool, node.url, unit.name))
            name = f"restore-{restore_id.lower()}"
            folder = stack.enter_context(scratch_folder(spool, name))
            work = Restoration(
                config, unit, restore_id, found, sources, node, journal, folder, watch, result
            )
            work.run()
    except DRError as e:
        error = e
    doubts = [*result.doubts, *sources.notes]
    return Outcome(
        unit="restore",
        collection=unit.collection,
        repository=next(iter(sources.used), None),
        backup_id=unit.key.backup_id,
        verdict="failed" if error else "degraded" if doubts else "ok",
        started_at=started_at,
        ended_at=utc_now(),
        error=error_facts(error, collection=unit.collection, backup=unit.key) if error else None,
        notes=(*doubts, *unit.remarks, *result.notes, *filter(None, [unit.note])),
        detail=Restored(
            restore_id=restore_id,
            target=unit.target,
            target_kind=result.target_kind,
            server_version=result.server_version,
            name=unit.name,
            route=unit.route,
            way=unit.way,
            sources=tuple(sources.used),
            captured_at=manifest.captured_at,
            size_bytes=manifest.size_bytes,
            sent_bytes=meter.sent,
            points_expected=found.backup.seal.points if found.backup.seal else None,
            points_restored=result.points_restored,
            fingerprint_equal=result.fingerprint_equal,
            lost_ids=result.lost_ids,
            aliases_set=result.aliases_set,
            aliases_left=result.aliases_left,
            created=result.created,
            removed=tuple(result.removed),
            stays=result.stays,
            resumed=result.resumed,
            phases=tuple(watch.phases),
            total_us=round((time.perf_counter() - begun) * 1e6),
            ticket=unit.ticket,
            approved_by=unit.approved_by,
        ),
    )


def _found(config: Config, unit: RestoreUnit) -> Found:
    """The backup, looked up; the first of its repositories that can be opened will do."""
    for name in unit.repositories[:-1]:
        try:
            return Found(config, unit.key, name)
        except RepositoryError:
            continue  # it is in `failed` of the next one, and left out there
    return Found(config, unit.key, unit.repositories[-1])


@dataclass(slots=True)
class Restoration:
    """One restore at work; the journal is locked, so there is no other into this name."""

    config: Config
    unit: RestoreUnit
    restore_id: str
    found: Found
    sources: Sources
    node: Node
    journal: OpenJournal
    folder: Path
    watch: Stopwatch
    result: Result

    @property
    def manifest(self) -> Manifest:
        return self.found.manifest

    def run(self) -> None:
        """Every step in order. What fails is cleaned up, if it was ours, and raised."""
        if self.found.backup.seal is None and not self.unit.allow_unproven:
            raise NothingChecked(
                f"{self.unit.key} has no seal to compare a restore with",
                f"run `qdrant-dr verify {self.unit.key} --depth content` first.",
            )
        seal = self.found.backup.seal
        if seal is not None:
            self.result.notes += seal.remarks
        if seal is not None and seal.suspect and not self.unit.accepted:
            self.result.doubts.append(f"the backup is suspect: {'; '.join(seal.suspect)}")
        with self.watch.phase("start"):
            target = self._look()
        with target_nodes(self.config, self.node, target) as nodes:
            with self.watch.phase("take over"):
                self._take_over(target, nodes)
            self.result.doubts += [
                f"peer {peer} of the target does not answer: what it holds was not counted"
                for peer in nodes.silent
            ]
            try:
                if (was := self._begun.proven) is None:
                    self._restore(target, nodes)
                else:
                    self._proven(was, nodes)
                with self.watch.phase("aliases"):
                    self._aliases()
            except DRError as e:
                self._failed(e, nodes)
                raise
        self.journal.drop()

    @property
    def _begun(self) -> Journal:
        assert self.journal.now is not None
        return self.journal.now

    def _restore(self, target: TargetFacts, nodes: TargetNodes) -> None:
        name = self.unit.name
        if self.unit.route == "salvage":
            with self.watch.phase("salvage", self.manifest.size_bytes):
                self._salvage(target)
        else:
            with self.watch.phase("create"):
                self._create(target)
            with self.watch.phase("recover", self.manifest.size_bytes):
                Recovery(
                    self.unit, self.config, self.sources, self.node, self.journal, self.folder
                ).run(nodes)
                self.journal.complete()
            with self.watch.phase("ready"):
                wait_restored(nodes.by_peer, name, stop=stopping)
            with self.watch.phase("prove"):
                before = operations_of(nodes, name)
                self._prove(nodes)
                if before != operations_of(nodes, name):
                    self.result.doubts.append(f"{name!r} was written to while it was compared")
        self._compare_settings()
        if self.result.whole:
            assert self.result.points_restored is not None
            self.journal.prove(self.result.points_restored, operations_of(nodes, name))

    def _proven(self, points: int, nodes: TargetNodes) -> None:
        """Only aliases were left to set. If it was written to since, that is no fault of ours, but
        then it is not known any more what an alias would lead to."""
        self.result.points_restored = points
        doubt = since_proven(self._begun.operations, operations_of(nodes, self.unit.name))
        if doubt is not None:
            self.result.doubts.append(doubt)
            return
        self.result.whole = True
        self.result.fingerprint_equal = None if self.unit.route == "salvage" else True
        self.result.notes.append("its content was proven before it was interrupted")

    def _look(self) -> TargetFacts:
        """The target as it is now, which may be long after the plan was approved."""
        target = facts_of(self.config, self.node)
        self.result.target_kind, self.result.server_version = target.source_kind, target.version
        salvage = self.unit.route == "salvage"
        if reasons := versions_reasons(self.manifest, target, salvage=salvage):
            raise PlanRefused("; ".join(reasons))
        return target

    # before

    def _take_over(self, target: TargetFacts, nodes: TargetNodes) -> None:
        """Go on where a restore of this backup ended, or remove what another made there."""
        name, left = self.unit.name, self.journal.found
        there, asked = name in target.collections, False
        if left is not None and goes_on(left, self.unit.key, self.unit.route):
            waited = wait_unoccupied(nodes.by_peer.values(), name, stop=stopping)
            if waited >= NOTED_SECONDS:
                self.result.notes.append(
                    f"waited {waited:.0f} s for a recovery that an earlier run had begun"
                )
                target = target_facts(self.node)
                there = name in target.collections
            if there and left.created:
                must_be_unused(left, target, nodes)
            self.result.resumed = continues(left, self.unit.key, self.unit.route)
            sound = there and name not in target.broken
            begun = bool(left.recovered) or left.proven is not None
            ready = begun if left.created else self.unit.into_existing
            if self.result.resumed and sound and ready:
                self.journal.begin(left)
                self.result.created = left.created
                self.result.removed += clean_failed(
                    self.node, name, created=False, uploads=left.uploads
                )
                return
            self.result.removed += clean_failed(
                self.node, name, created=left.created, uploads=left.uploads
            )
            # a create call that nobody has seen the effect of may take effect yet
            asked = left.asked and not there
            there = there and not left.created
        elif left is not None and there and not self.unit.into_existing:
            raise PlanRefused(left_whole(left), how_to_remove(self.node.url, name) + ".")
        self.journal.drop()
        if name in target.aliases:
            raise PlanRefused(f"{name!r} on {self.node.url} is an alias meanwhile", "plan again.")
        if there and not self.unit.into_existing:
            raise PlanRefused(f"{name!r} exists on {self.node.url} meanwhile", "plan again.")
        self.result.created, seal = not there, self.found.backup.seal
        self.journal.begin(
            Journal(
                restore_id=self.restore_id,
                target=self.node.url,
                name=name,
                backup=str(self.unit.key),
                route=self.unit.route,
                began_at=utc_now(),
                created=not there,
                asked=asked,
                vectors=vectors_of(self.manifest),
                holds={} if self.unit.route == "salvage" else holds(self.manifest, seal),
            )
        )

    def _create(self, target: TargetFacts) -> None:
        """Make the collection, unless it is there, or will come out of the archive."""
        fresh = self._begun.created and not self._begun.recovered
        if self.unit.route != "shards" or not fresh:
            return
        info = self.manifest.info
        keys = (
            shard_key_order(self.manifest.shards_of_cluster, json.loads(self.manifest.shard_keys))
            if self.manifest.custom_sharding
            else ()
        )
        before = self._begun.asked
        self.journal.note(asked=True)
        create_target(
            self.node, self.unit.name, self._body(target), keys=keys, asked=before, stop=stopping
        )
        create_payload_indexes(self.node, self.unit.name, info.get("payload_schema") or {})

    def _body(self, target: TargetFacts) -> dict[str, object]:
        return creation_body(
            self.manifest.info,
            replication_factor=self.unit.replication_factor,
            clustered=target.clustered,
        )

    # the bytes

    def _salvage(self, target: TargetFacts) -> None:
        """Point by point, out of all copies together. It compares what it wrote by itself."""
        from qdrant_dr.jobs.restore.salvage import salvage

        self.found.repository = self._reader()
        saved = salvage(
            self.config, self.found, self.node, self.unit.name, self.folder,
            body=self._body(target) if target.clustered else None,
        )  # fmt: skip
        result = self.result
        result.points_restored, result.lost_ids = saved.points, saved.lost_ids
        result.whole = saved.whole
        self.sources.used |= dict.fromkeys(saved.sources)
        result.notes += saved.notes
        if saved.changed_ids:
            result.doubts.append(
                f"{len(saved.changed_ids)} points are not what was written: "
                f"{', '.join(map(str, saved.changed_ids[:8]))}"
            )
        if not saved.whole:
            lost = f"{len(saved.lost_ids)} points are known to be lost"
            more = "an unknown number" if saved.lost_unknown is None else str(saved.lost_unknown)
            result.doubts.append(f"not all is back: {lost}, {more} more without their ids")
            result.doubts += saved.differs

    # after

    def _prove(self, nodes: TargetNodes) -> None:
        """Content first: what differs is not restored, whatever the server answered."""
        reader = CopyReader(self._reader(), self.found.backup)
        seal = self.found.backup.seal
        reference = Reference(self.config, self.manifest, seal, reader, self.folder)
        comparison = compare_content(reference, nodes.by_peer, self.unit.name)
        self.result.points_restored = comparison.points
        self.result.fingerprint_equal = comparison.verdict
        self.result.whole = comparison.equal
        where = f"{self.unit.key} restored on {self.node.url}"
        if fault := comparison.fault(where, self._whats_next()):
            raise fault
        if self.found.backup.seal is None:
            self.result.doubts.append("compared with an engine reading: the backup has no seal")

    def _compare_settings(self) -> None:
        """A lost payload index is a failure, a setting that is not as it was a doubt."""
        indexes, settings = unlike(
            self.manifest, self.node, self.unit.name,
            replication_factor=self.unit.replication_factor,
        )  # fmt: skip
        if indexes and not self.unit.into_existing and self.unit.route != "salvage":
            raise ContentDiffers(
                f"{self.unit.name!r} on {self.node.url}: {'; '.join(indexes)}", self._whats_next()
            )
        self.result.doubts += [f"configuration: {d}" for d in [*indexes, *settings]]

    def _whats_next(self) -> str:
        """About a collection that is there in whole, and is not what was backed up."""
        next_ = how_to_remove(self.node.url, self.unit.name)
        return f"it stays there, and no alias was moved: {next_}; other backups: `qdrant-dr list`."

    def _reader(self) -> Repository:
        """The copy that this machine reads again, if it has to."""
        names = [*self.sources.used, *self.unit.repositories]
        return next(self.found.opened[n] for n in names if n in self.found.opened)

    def _aliases(self) -> None:
        """Last, for they are what applications follow; a proven restore does not fail by them."""
        proven = self.result.whole
        try:
            target = target_facts(self.node)
            plan = plan_aliases(
                self.manifest.aliases, target.aliases, self.unit.name,
                self.unit.aliases if proven else "keep", target.collections,
            )  # fmt: skip
            set_aliases(self.node, plan)
        except (PlanRefused, ClusterError) as e:
            if e.transient:
                raise
            self.result.doubts.append(f"aliases were not set: {e.message}")
            self.result.aliases_left = tuple(self.manifest.aliases)
            return
        there = tuple(a for a, _ in plan.left if target.aliases.get(a) == self.unit.name)
        self.result.aliases_set = (*plan.set, *(a for a, _ in plan.move), *there)
        left = [(a, why) for a, why in plan.left if a not in there]
        self.result.aliases_left = tuple(a for a, _ in left)
        if left and not proven:
            left = [(a, f"the content of {self.unit.name!r} is not proven") for a, _ in left]
        self.result.notes += [f"alias {a!r} is left alone: {why}" for a, why in left]

    def _failed(self, error: DRError, nodes: TargetNodes) -> None:
        """Take back what is half-made and ours, for it can keep a server from starting, or say why
        it stays. What was restored in whole always does, whatever was found of it."""
        name, now = self.unit.name, self._begun
        where = f"{name!r} on {self.node.url}"
        if not now.created and not now.whole:
            self.result.notes.append(
                f"{where} was there before and is not removed; it may be half overwritten"
            )
        if now.proven is not None and isinstance(error, PlanRefused):
            self.journal.drop()
            return
        if now.complete and now.proven is None and error.blames_copy:
            self._stays(error, where)
            return
        try:
            later = error.transient or isinstance(error, RecoverUnanswered)
            if stopping.is_set() or later or now.whole:
                self.result.notes.append(self._unfinished(where))
                return
            kept = None
            if now.created:
                asked = "as asked: it is NOT what was backed up" if self.unit.keep_failed else None
                kept = why_kept(now, nodes, error, resumed=self.result.resumed) or asked
            ours = now.created and kept is None
            removed = clean_failed(self.node, name, created=ours, uploads=now.uploads)
        except DRError as e:
            self.result.notes.append(
                f"what was made of {where} could not be removed now ({e.message}): the same "
                "command does it, and begins again"
            )
            return
        self.result.removed += removed
        if removed:
            self.result.notes.append(f"removed from {self.node.url}: {', '.join(removed)}")
        if kept is not None:
            self.result.notes.append(f"{where} is kept: {kept}")
        self.journal.drop()

    def _stays(self, error: DRError, where: str) -> None:
        """It came back in whole and is something else: the journal tells whoever comes next."""
        since = " (it was begun by an earlier run and may be in use since)"
        self.result.stays = True
        self.result.notes.append(
            f"{where} stays{since * self.result.resumed}: it was "
            f"{'restored' if self._begun.created else 'there before, and overwritten'} in whole, "
            f"and is NOT what was backed up: {how_to_remove(self.node.url, self.unit.name)}"
        )
        try:
            self.journal.differ(error.message)
            self.result.removed += clean_failed(
                self.node, self.unit.name, created=False, uploads=self._begun.uploads
            )
        except DRError as e:
            self.result.notes.append(f"a file that was uploaded may be left there: {e.message}")

    def _unfinished(self, where: str) -> str:
        if self._begun.complete:
            return f"{where} is there in whole, and is not compared: the same command does it"
        if self.unit.route != "salvage":
            return f"{where} is unfinished: the same command continues it"
        return (
            f"{where} may hold half a salvage, which is neither continued nor removed: delete it, "
            "then the same command begins again, or give another name with `--as`"
        )
