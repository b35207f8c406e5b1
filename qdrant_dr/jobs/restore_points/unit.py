"""The unit of `restore --points`: keep what is there, write, prove, and say what was left alone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import groupby
from operator import itemgetter

from qdrant_dr.cluster import points_by_id
from qdrant_dr.cluster.point_writes import PointWrites
from qdrant_dr.cluster.scroll import ShardKey
from qdrant_dr.config import Config
from qdrant_dr.errors import AccessDenied, ContentDiffers, DRError, PlanRefused, RecoverFailed
from qdrant_dr.jobs.read_points.in_clear import undo_in_clear
from qdrant_dr.jobs.restore_points.change_file import ChangeFile
from qdrant_dr.jobs.restore_points.compare_with_live import compare_with_live
from qdrant_dr.jobs.restore_points.decide_change import Change, Place, PointId, decide
from qdrant_dr.jobs.restore_points.journal import (
    OpenPointsJournal,
    PointsJournal,
    points_journal,
)
from qdrant_dr.jobs.restore_points.look import (
    look_at,
    params_text,
    target_then,
    unlike_backup,
    unlike_then,
    without_the_run,
)
from qdrant_dr.jobs.restore_points.others import (
    judge_others,
    look_again,
    look_around,
    wrote_besides,
)
from qdrant_dr.jobs.restore_points.point_states import digest_of
from qdrant_dr.jobs.restore_points.result import (
    Result,
    detail_of,
    how_to_go_on,
    named_ids,
    settle_doubts,
)
from qdrant_dr.jobs.restore_points.sources import OfBackup, in_batches
from qdrant_dr.jobs.restore_points.state import PointsWork, asked, found_backup
from qdrant_dr.jobs.restore_points.undo import StoredUndo, UndoWriter, formers, stored_undo
from qdrant_dr.jobs.restore_points.write_if_unchanged import Writer
from qdrant_dr.jobs.run.catalogs import catalog_of, open_all
from qdrant_dr.jobs.run.error_facts import error_facts
from qdrant_dr.jobs.run.progress import points_told
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.scratch_dir import scratch_folder
from qdrant_dr.jobs.run.stopwatch import Stopwatch
from qdrant_dr.jobs.run.units import RestorePointsUnit
from qdrant_dr.jobs.target.open_target import open_target
from qdrant_dr.records import Outcome
from qdrant_dr.repository import Repository
from qdrant_dr.repository.undo_records import UNDO_KEPT
from qdrant_dr.stores.bandwidth import BandwidthLimit

_SHOWN = 8


def restore_points(config: Config, unit: RestorePointsUnit, run_id: str) -> Outcome:
    """Restore the points. What fails is a failed outcome that says what was written, and where
    the former state is."""
    started_at, begun = utc_now(), time.perf_counter()
    watch, result = Stopwatch(), Result()
    error: DRError | None = None
    work: Restoration | None = None
    try:
        spool = config.capture.spool.path
        with ExitStack() as stack:
            node = stack.enter_context(open_target(config, unit.target, unit.target_key))
            journal = stack.enter_context(points_journal(spool, node.url, unit.name))
            name = f"points-{run_id.lower()}"
            folder = stack.enter_context(scratch_folder(spool, name))
            opened, failed = open_all(config)
            live = look_at(config, node, unit.name)
            result.target, result.version = live.target.source_kind, live.target.version
            plain = PointsWork(config, unit, node, folder, live)
            work = Restoration(plain, journal, opened, failed, run_id, watch, result)
            work.run()
    except DRError as e:
        error = e
        if result.began:
            result.notes.append(how_to_go_on(result))
    found = work.work.found if work else None
    detail = detail_of(
        unit, watch, result, only=work.work.only if work else unit.only,
        captured_at=found.manifest.captured_at if found else None,
        total_us=round((time.perf_counter() - begun) * 1e6),
    )  # fmt: skip
    doubts = result.doubts
    return Outcome(
        unit="restore-points",
        collection=unit.collection,
        backup_id=unit.key.backup_id if unit.key else None,
        verdict="failed" if error else "degraded" if doubts else "ok",
        started_at=started_at,
        ended_at=utc_now(),
        error=error_facts(error, collection=unit.collection, backup=unit.key) if error else None,
        notes=(*doubts, *unit.remarks, *result.notes, *filter(None, [unit.note])),
        detail=detail,
    )


class Restoration:
    """The steps, in order."""

    def __init__(
        self,
        work: PointsWork,
        journal: OpenPointsJournal,
        opened: dict[str, Repository],
        failed: dict[str, DRError],
        run_id: str,
        watch: Stopwatch,
        result: Result,
    ) -> None:
        self.work, self.journal, self.run_id = work, journal, run_id
        self.opened, self.failed = opened, failed
        self.watch, self.result = watch, result
        self.unit, self.node, self.name = work.unit, work.node, work.unit.name
        self.limit = work.live.facts.max_query_limit

    def run(self) -> None:
        """Do every step in order. Raise what makes it stop: the journal then stays."""
        with self.watch.phase("look"):
            self._find()
            left = self._continued()
        with ChangeFile(self.work.folder / "changes") as changes:
            with self.watch.phase("compare and keep"):
                if left is not None:
                    self._take_up(left, changes)
                else:
                    self._survey(changes)
            if changes.count:
                self._write(changes)
            else:
                self.result.proven = True
                self.journal.drop()
        self.result.notes += [*self.work.live.warnings, *self.work.notes]
        settle_doubts(self.unit, self.result)

    def _find(self) -> None:
        """Find where the points come from, and see that they fit."""
        unit, work = self.unit, self.work
        cluster = work.config.cluster.name
        if unit.undoes is not None:
            work.stored = stored_undo(self.opened, cluster, unit.undoes)
            reasons = unlike_then(
                work.live, work.stored.record, another_incarnation=unit.another_incarnation
            )
            if work.stored.record.collection != unit.name:
                reasons = [f"{unit.undoes} wrote into {work.stored.record.collection!r}"]
        else:
            assert unit.key is not None
            catalog = catalog_of(
                work.config, self.opened, self.failed, collection=unit.key.collection,
                backup_id=unit.key.backup_id,
            )  # fmt: skip
            backup = catalog.find(unit.key)
            if backup is None:
                raise PlanRefused(f"{unit.key} is gone", "`qdrant-dr list` has what is there.")
            work.found = found_backup(work.config, backup, unit.repositories)
            reasons = unlike_backup(
                work.live, backup.manifest, another_incarnation=unit.another_incarnation
            )
        if reasons:
            raise PlanRefused("; ".join(reasons))

    def _continued(self) -> StoredUndo | None:
        """Return the undo record of a run of the same that did not end; None to begin. Raise
        PlanRefused if another one did not end."""
        found = self.journal.found
        if found is None or found.undo_id == self.unit.undoes:
            return None
        if found.asked == asked(self.unit) and self.unit.undoes is not None:
            return None  # what is taken back already is equal, and needs no second undo record
        if found.asked != asked(self.unit):
            raise PlanRefused(
                f"a restore of points into {self.name!r} that began "
                f"{found.began_at:%Y-%m-%d %H:%M:%S} UTC did not end",
                "run that command again to continue it, or take it back: "
                f"`qdrant-dr restore --undo {found.undo_id} --execute`.",
            )
        left = stored_undo(self.opened, self.work.config.cluster.name, found.undo_id)
        another = self.unit.another_incarnation
        if reasons := unlike_then(self.work.live, left.record, another_incarnation=another):
            raise PlanRefused("; ".join(reasons))
        return left

    def _survey(self, changes: ChangeFile) -> None:
        """Compare, and keep the present state of what is to change, in every repository."""
        work, result = self.work, self.result
        writer = UndoWriter(
            dict(self.opened), self.run_id, work.config.cluster.name, self.name, dict(self.failed)
        )

        def take(change: Change, there: dict[str, object] | None) -> None:
            changes.add(change)
            writer.add(change, there)

        with work.opened() as source:
            result.surveyed = compare_with_live(
                self.node, self.name, source, only=work.only, missing=self.unit.missing,
                cosine=work.live.cosine, limit=self.limit, keys=work.live.facts.shard_keys,
                take=take,
            )  # fmt: skip
        if changes.count:
            self._must_be_of_this_life()
            record = writer.complete(
                now=utc_now(), target=self.node.url, source=work.source_name, only=work.only,
                params=params_text(work.live), then=target_then(work.live),
            )  # fmt: skip
            self.writer, result.undo_id = writer, self.run_id
            result.undo_in = tuple(writer.repositories)
            result.undo_until = record.made_at + UNDO_KEPT
            result.notes += undo_in_clear(writer.repositories)
            result.doubts += [
                f"the undo record is not in {name}: {e.message}"
                for name, e in writer.failed.items()
            ]

    def _must_be_of_this_life(self) -> None:
        """Raise PlanRefused if what an undo finds was not written by its run."""
        stored = self.work.stored
        if stored is None or self.unit.another_incarnation:
            return
        if (why := without_the_run(self.work.live, stored.record)) is not None:
            raise PlanRefused(why)

    def _take_up(self, left: StoredUndo, changes: ChangeFile) -> None:
        """Go on with what an earlier run had begun: its undo record says which points, and what
        they were."""
        work, result = self.work, self.result
        result.resumed, result.began = True, True
        result.undo_id, result.undo_in = left.record.run_id, tuple(left.places)
        result.undo_until = left.record.made_at + UNDO_KEPT
        self.writer = UndoWriter(
            dict(left.places), left.record.run_id, left.record.cluster, self.name
        )
        settled = left.settled()
        with work.opened() as source:
            assert isinstance(source, OfBackup)
            for shard in source.opened.shards():
                for part in left.parts():
                    if part.shard != shard.shard:
                        continue
                    for some in in_batches(formers(part, settled)):
                        given = {p["id"]: p for p in shard.retrieve([f.id for f in some])}
                        if gone := [f.id for f in some if f.id not in given]:
                            raise ContentDiffers(
                                f"{len(gone)} points that this restore had selected are not in the "
                                f"backup as it is read now: {', '.join(map(str, gone[:_SHOWN]))}",
                                f"take it back: `qdrant-dr restore --undo {result.undo_id} "
                                "--execute`.",
                            )
                        for former in some:
                            what, change = decide(
                                former.id, given.get(former.id), former.before, only=work.only,
                                missing=False, cosine=work.live.cosine, shard=part.shard,
                                shard_key=part.shard_key,
                            )  # fmt: skip
                            result.surveyed.counts[what] += 1
                            if change is not None:
                                changes.add(change)

    def _write(self, changes: ChangeFile) -> None:
        unit, result = self.unit, self.result
        limit = BandwidthLimit(unit.bandwidth) if unit.bandwidth else None
        writes = PointWrites(self.node, self.name, limit)
        with self.watch.phase("look around"):
            before = look_around(
                self.node, self.name, seed=self.run_id, limit=self.limit,
                keys=self.work.live.facts.shard_keys, ours=changes.places(),
            )  # fmt: skip
        if not result.resumed:
            self.journal.begin(
                PointsJournal(
                    undo_id=self.run_id, target=self.node.url, name=self.name, asked=asked(unit),
                    began_at=utc_now(),
                )
            )  # fmt: skip
        result.began = True
        confirmed_file = self.work.folder / "confirmed"
        told, done = points_told(), 0

        def tell(many: int) -> None:
            nonlocal done
            done += many
            if told is not None:
                told(done, changes.count)

        with self.watch.phase("write"), writes, confirmed_file.open("x") as out:

            def confirm(place: Place, digest: str) -> None:
                out.write(json.dumps([*place, digest]) + "\n")

            writer = Writer(
                self.node, self.name, self.work.only, writes, self.limit, self.work.live.most,
                cosine=self.work.live.cosine, confirmed=confirm, written=result.written,
            )  # fmt: skip
            try:
                writer.write(changes.batches(), tell)
            except AccessDenied:
                if not result.resumed and not any(result.written.done.values()):
                    self.journal.drop()  # the very first write was forbidden
                    result.began = False
                raise
            finally:
                result.sent_bytes = writes.sent_bytes
        with self.watch.phase("prove"), confirmed_file.open() as rows:
            self._prove(json.loads(row) for row in rows)
            after = look_again(self.node, self.name, before, limit=self.limit)
        settled = result.written.settled
        if settled:
            result.doubts += self.writer.settle(tuple(settled))
        done_now = result.written.done
        result.others = judge_others(
            before, after, operations=writes.operations,
            created=done_now["create"], deleted=done_now["delete"],
        )  # fmt: skip
        self._judge(wrote_besides(before, after, writes.operations))
        self.journal.drop()

    def _prove(self, confirmed: Iterable[tuple[ShardKey | None, PointId, str]]) -> None:
        """Read every point that was written once more: is it still what it was then?"""
        for key, rows in groupby(confirmed, key=itemgetter(0)):
            for some in in_batches(rows):
                ids = [point_id for _, point_id, _ in some]
                points = points_by_id(self.node, self.name, ids, limit=self.limit, shard_key=key)
                live = {p["id"]: p for p in points}
                for _, point_id, digest in some:
                    if digest_of(live.get(point_id), self.work.only) != digest:
                        self.result.changed_since.add(point_id)

    def _judge(self, others: int | None) -> None:
        """Raise ContentDiffers or RecoverFailed for what only we can have done."""
        result = self.result
        differing, since = result.written.differing, result.changed_since
        if others == 0:
            wrong = [*result.others.faults]
            if differing.count:
                wrong.append(
                    f"{differing.count} points are not what was written: {named_ids(differing)}"
                )
            if since.count:
                wrong.append(f"{since.count} changed by themselves: {named_ids(since)}")
            if wrong:
                raise ContentDiffers(
                    f"{self.name!r} on {self.node.url}, where nobody else wrote: "
                    f"{'; '.join(wrong)}",
                    f"take it back: `qdrant-dr restore --undo {result.undo_id} --execute`.",
                )
        if differing.count:
            result.doubts.append(
                f"{differing.count} points are not what was written: somebody wrote them in the "
                f"same moment, or the server keeps them otherwise: {named_ids(differing)}"
            )
        result.notes += result.others.notes
        result.doubts += result.others.doubts
        if result.written.refused.count:
            raise RecoverFailed(
                f"{self.node.url} refused {result.written.refused.count} points of {self.name!r}: "
                f"{'; '.join(list(result.written.whys)[:_SHOWN])}",
                "mend what it says (strict mode, sizes) and run the same command again; all others "
                f"are written. `qdrant-dr restore --undo {result.undo_id} --execute` takes them "
                "back.",
            )
        result.proven = not differing.count
