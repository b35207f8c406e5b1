"""A unit that may be begun a second time: a Dask scheduler gives the work of a lost worker to
another one, and a worker that is cut off works on.

What reads, or writes what is the same each time, may simply run twice. A capture may not: it would
ask the node for a second snapshot and leave the first. What an earlier start came to is in the
records that it wrote before and after its create call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from qdrant_dr.cluster.addresses import node_of
from qdrant_dr.config import Config
from qdrant_dr.dispatch.execute import execute
from qdrant_dr.errors import ClusterError, SnapshotUnanswered
from qdrant_dr.jobs.run.begun_calls import Begun, begun_calls
from qdrant_dr.jobs.run.call_journal import CallJournal
from qdrant_dr.jobs.run.catalogs import catalog_of, open_all
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.units import CaptureUnit, FullUnit, Unit
from qdrant_dr.jobs.sweep.left_snapshots import NodeSnapshots, NodeSweep
from qdrant_dr.records import Outcome
from qdrant_dr.repository import Catalog, Repository


def execute_again(config: Config, unit: Unit, run_id: str) -> Outcome:
    """Do one unit that may have been begun before in this run, by a worker that is gone.

    Raise what `execute` raises, or SnapshotUnanswered if a create call is open.
    """
    if not isinstance(unit, CaptureUnit | FullUnit):
        return execute(config, unit, run_id)
    before = _earlier_start(config, unit, run_id)
    outcome = execute(config, unit, run_id)
    if not before:
        return outcome
    verdict = "degraded" if outcome.verdict == "ok" else outcome.verdict
    return outcome.model_copy(update={"verdict": verdict, "notes": (*before, *outcome.notes)})


def _earlier_start(config: Config, unit: CaptureUnit | FullUnit, run_id: str) -> tuple[str, ...]:
    """What an earlier start of this unit left, once its snapshots are deleted; empty if none.

    Should it still be at work, on a machine that is cut off, then its download fails or it is
    another whole backup. Raise SnapshotUnanswered if the node may still be at its snapshot: that
    call is not repeated blindly.
    """
    names = unit.collections if isinstance(unit, FullUnit) else (unit.collection,)
    opened, failed = open_all(config, unit.repositories)
    # of a full snapshot all at once: it is as safe as the least safe of its backups
    one = None if isinstance(unit, FullUnit) else unit.collection
    catalog = catalog_of(config, opened, failed, collection=one)
    journal, now = CallJournal(config.capture.spool.path), utc_now()
    calls, unread = begun_calls(opened, catalog, now, journal=journal)
    every = [c for c in calls if c.intent.run_id == run_id and c.intent.collection in names]
    open_calls = [c for c in every if not (c.answer or c.committed or c.intent.streamed)]
    if open_calls:
        raise _unanswered(open_calls[0])
    notes = [f"begun before as {c}, by a worker that was lost" for c in _ids(every)]
    notes += [f"whether it was begun before is not certain: {words}" for words in unread]
    for call in every:
        if call.answer is not None:
            notes += _cleaned(config, call, opened, catalog, journal)
    return tuple(notes)


def _unanswered(call: Begun) -> SnapshotUnanswered:
    intent = call.intent
    return SnapshotUnanswered(
        f"a worker that was lost had asked {intent.node} for a snapshot of {call.scope} at "
        f"{intent.started_at:%H:%M:%S} UTC (as {intent.backup_id}), and no answer is on record",
        "run `qdrant-dr backup COLLECTION`: it looks first at what was left on the node.",
    )


def _cleaned(
    config: Config,
    call: Begun,
    opened: Mapping[str, Repository],
    catalog: Catalog,
    journal: CallJournal,
) -> Sequence[str]:
    try:
        with node_of(config, call.intent.node) as node:
            done = NodeSweep(config, opened, catalog, journal, NodeSnapshots(node), utc_now())
            done.clean(call)
    except ClusterError as error:
        return [f"its snapshot stays on {call.intent.node}: {error.message}"]
    return done.kept


def _ids(every: Sequence[Begun]) -> list[str]:
    return sorted({c.intent.backup_id for c in every})
