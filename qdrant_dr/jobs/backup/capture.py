"""Capture one collection: facts, intents, create calls, one read, N writes, gates, manifests."""

from __future__ import annotations

from collections.abc import Sequence

from qdrant_dr.cluster import another_uuid
from qdrant_dr.cluster.replica_counts import apart_words
from qdrant_dr.cluster.source_nodes import open_sources
from qdrant_dr.config import Config
from qdrant_dr.errors import CollectionChanged
from qdrant_dr.jobs.backup.capture_engine import CaptureEngine
from qdrant_dr.jobs.backup.created_snapshots import all_kept, delete_created
from qdrant_dr.jobs.backup.destinations import Destinations
from qdrant_dr.jobs.backup.manifest import Taken
from qdrant_dr.jobs.backup.space import judge_capture
from qdrant_dr.jobs.backup.transfer import Transfer
from qdrant_dr.jobs.backup.uncommitted_backup import begin, clock_doubts, new_life
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.scratch_dir import scratch_folder
from qdrant_dr.jobs.run.units import CaptureUnit
from qdrant_dr.records import KeptSnapshot, Outcome


def capture(config: Config, unit: CaptureUnit, run_id: str) -> Outcome:
    """Make one backup of one collection in every repository of the unit.

    The manifest is the commit; it is written only where every part was found durable, after the
    gates held. Below quorum what there is stays (one copy beats none) and the unit fails.
    Raise PlanRefused, CollectionChanged, SnapshotUnanswered, QuorumMissed or what the layers raise.
    """
    started_at = utc_now()
    destinations = Destinations.of(*open_all(config, unit.repositories))
    with open_sources(config, unit.nodes) as sources:
        draft = begin(config, unit, run_id, sources, destinations, started_at)
        space = judge_capture(config, [draft], destinations.taking_part)
        spool, backup_id = config.capture.spool.path, draft.key.backup_id
        engine = CaptureEngine(config, what=str(draft.key))

        def delete() -> tuple[str, tuple[KeptSnapshot, ...]]:
            peers = config.cluster.peers
            return delete_created(engine.created, peers, draft.journal, backup_id)

        with scratch_folder(spool, f"capture-{backup_id}") as folder:
            transfer = Transfer(engine, draft, sources, folder)
            label = f"{draft.key}: server snapshot"
            with engine.deleting_if_interrupted(label, lambda: delete()[0]):
                taken = transfer.all()
            uuid = _one_uuid(unit.collection, taken)
            apart = tuple(dict.fromkeys(transfer.apart))
            manifest = draft.commit(
                taken,
                doubts=(
                    *draft.seen.doubts,
                    *space.doubts,
                    *clock_doubts(config, [t.source.about for t in taken]),
                    *draft.strange,
                    *new_life(another_uuid(uuid, draft.previous)),
                    *transfer.doubts,
                    *sources.silent,
                    *apart_words(apart, _peers_of(taken)),
                ),
                uuid=uuid,
                apart=apart,
            )
            copies, quorum = len(draft.committed), config.copies.quorum
            if copies < quorum:
                said = f"kept: only {copies} of {quorum} copies hold it"
                kept = all_kept(engine.created)
            else:
                said, kept = delete()
    return draft.outcome(manifest, said, kept=kept, remarks=space.remarks)


def _peers_of(taken: Sequence[Taken]) -> dict[int, int | None]:
    """Which peer gave each shard."""
    return {shard: p.peer_id for t in taken for p in t.parts for shard in p.shards}


def _one_uuid(collection: str, taken: Sequence[Taken]) -> str | None:
    """The life that all archives are of. Raise CollectionChanged if they are of several."""
    found = {t.uuid for t in taken}
    if len(found) > 1:
        raise CollectionChanged(
            f"{collection!r} was replaced while it was captured: its archives are of "
            + ", ".join(sorted(map(str, found)))
        )
    return found.pop()
