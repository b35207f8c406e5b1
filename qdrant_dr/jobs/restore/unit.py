"""The unit of `restore`: create, recover every part, prove it there, aliases last."""

from __future__ import annotations

import time
from contextlib import ExitStack
from uuid import uuid4

from qdrant_dr.cancel import stoppable, stopping
from qdrant_dr.cluster.aliases import plan_aliases, set_aliases
from qdrant_dr.cluster.ready import wait_restored
from qdrant_dr.cluster.target import TargetFacts, target_facts
from qdrant_dr.config import Config
from qdrant_dr.errors import (
    ClusterError,
    ContentDiffers,
    DRError,
    NothingChecked,
    PlanRefused,
    RepositoryError,
)
from qdrant_dr.jobs.restore.clean_up_after_failure import clean_up
from qdrant_dr.jobs.restore.journal import journal_of
from qdrant_dr.jobs.restore.next_copy import Meter, Sources
from qdrant_dr.jobs.restore.ownership import operations_of, since_proven
from qdrant_dr.jobs.restore.refusals import how_to_remove, versions_reasons
from qdrant_dr.jobs.restore.state import Result, Work
from qdrant_dr.jobs.restore.take_over import create_collection, take_over
from qdrant_dr.jobs.restore.transfer_parts import PartSender
from qdrant_dr.jobs.run.error_facts import error_facts
from qdrant_dr.jobs.run.examine import CopyReader
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.progress import watcher
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.scratch_dir import scratch_folder
from qdrant_dr.jobs.run.stopwatch import Stopwatch
from qdrant_dr.jobs.run.units import RestoreUnit
from qdrant_dr.jobs.target.node_for_shard import TargetNodes, target_nodes
from qdrant_dr.jobs.target.open_target import facts_of, open_target
from qdrant_dr.jobs.target.restored_content import Reference, compare_content, unlike
from qdrant_dr.records import Outcome, Restored
from qdrant_dr.repository.repository import Repository, Spool
from qdrant_dr.stores.bandwidth import BandwidthLimit


def restore_backup(config: Config, unit: RestoreUnit, run_id: str) -> Outcome:
    """Restore one backup. One that fails is a failed outcome that says what it left there."""
    started_at, begun = utc_now(), time.perf_counter()
    watch, result = Stopwatch(), Result()
    with watch.phase("look"):
        found = _found(config, unit)
    manifest = found.manifest
    bandwidth_limit = BandwidthLimit(unit.bandwidth) if unit.bandwidth else None
    meter = Meter(manifest.size_bytes, watcher.get(), bandwidth_limit)
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
            sources.spool = Spool(
                folder,
                lambda said: sources.told.update({said: None}),
                stoppable,
                config.capture.spool.max,
            )
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
        notes=(*doubts, *unit.remarks, *sources.told, *result.notes, *filter(None, [unit.note])),
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
    """Look the backup up; the first of its repositories that can be opened will do."""
    for name in unit.repositories[:-1]:
        try:
            return Found(config, unit.key, name)
        except RepositoryError:
            continue  # it is in `failed` of the next one, and left out there
    return Found(config, unit.key, unit.repositories[-1])


class Restoration(Work):
    """The steps, in order."""

    __slots__ = ()

    def run(self) -> None:
        """Do every step in order. If one fails, clean up what was ours and raise."""
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
                take_over(self, target, nodes)
            self.result.doubts += [
                f"peer {peer} of the target does not answer: what it holds was not counted"
                for peer in nodes.silent
            ]
            try:
                if (was := self.begun.proven) is None:
                    self._restore(target, nodes)
                else:
                    self._proven(was, nodes)
                with self.watch.phase("aliases"):
                    self._aliases()
            except DRError as e:
                clean_up(self, e, nodes)
                raise
        self.journal.drop()

    def _restore(self, target: TargetFacts, nodes: TargetNodes) -> None:
        name = self.unit.name
        if self.unit.route == "salvage":
            with self.watch.phase("salvage", self.manifest.size_bytes):
                self._salvage(target)
        else:
            with self.watch.phase("create"):
                create_collection(self, target)
            with self.watch.phase("recover", self.manifest.size_bytes):
                PartSender(
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
        doubt = since_proven(self.begun.operations, operations_of(nodes, self.unit.name))
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

    # the bytes

    def _salvage(self, target: TargetFacts) -> None:
        """Point by point, out of all copies together. It compares what it wrote by itself."""
        from qdrant_dr.jobs.restore.salvage import salvage

        self.found.repository = self._reader()
        saved = salvage(
            self.config, self.found, self.node, self.unit.name, self.folder,
            body=self.body(target) if target.clustered else None,
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
