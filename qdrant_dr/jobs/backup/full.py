"""One full snapshot of a node, split in passing into one backup of each collection.

Every backup is the collection's own archive, log included, with its own intent, gates, facts and
manifest: what verifies, drills, restores and reports needs to know nothing of where it came from.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from qdrant_dr.cluster import NodeFacts
from qdrant_dr.cluster.source_nodes import open_sources
from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, NothingChecked, PlanRefused, QuorumMissed
from qdrant_dr.jobs.backup.capture import us
from qdrant_dr.jobs.backup.full_split import Share, Work, begin, transfer
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.conclude import copies_missing
from qdrant_dr.jobs.run.run import error_facts, seen_repositories, utc_now
from qdrant_dr.jobs.run.units import CaptureUnit, FullUnit
from qdrant_dr.records import BackupKey, Captured, CapturedFull, Outcome
from qdrant_dr.records.run import Verdict


def plan_full(config: Config, captures: Sequence[CaptureUnit]) -> tuple[FullUnit, ...]:
    """The captures of a run as one full snapshot. Pure; raise PlanRefused for several nodes."""
    if not captures:
        return ()
    if len(config.cluster.nodes) > 1:
        raise PlanRefused(
            f"a full snapshot is of one node without a cluster, {len(config.cluster.nodes)} are "
            "configured: each would answer 200 and give its own shards only",
            "use `--method collection`, or `auto`: each shard once, wherever it lies.",
        )
    first = captures[0]
    return (
        FullUnit(
            node=first.nodes[0],
            collections=tuple(c.collection for c in captures),
            repositories=first.repositories,
            method_reason=first.method_reason,
            note=first.note,
        ),
    )


def flatten(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes of captures, those of a full snapshot each on its own."""
    flat: list[Outcome] = []
    for outcome in outcomes:
        detail = outcome.detail
        flat += detail.outcomes if isinstance(detail, CapturedFull) else [outcome]
    return flat


def refuse_cluster(about: NodeFacts) -> None:
    """Raise PlanRefused for a node of a cluster: its full snapshot lacks what others hold."""
    if about.clustered:
        raise PlanRefused(
            f"{about.url} is a node of a cluster: asked for a full snapshot it answers 200 and "
            "gives its own shards only",
            "use `--method collection`, or `auto`: each shard once, wherever it lies.",
        )


def capture_full(config: Config, unit: FullUnit, run_id: str) -> Outcome:
    """Make one full snapshot and a backup of each collection of the unit.

    A collection that cannot be captured fails alone; what concerns the snapshot fails them all.
    Manifests are written when the whole of it was read and is what the server said, the snapshot
    on the server is deleted when every collection has its quorum. Raise PlanRefused in a cluster.
    """
    started_at = utc_now()
    opened, failed = open_all(config, unit.repositories)
    outcomes: list[Outcome] = []
    with open_sources(config, (unit.node,)) as sources:
        work = Work(config, unit, run_id, sources, opened, failed)
        refuse_cluster(work.source.about)
        for name in unit.collections:
            at = utc_now()
            try:
                work.shares[name] = begin(work, name, at)
            except DRError as e:
                outcomes.append(_failure(name, e, at))
        kept = "nothing was made"
        if work.shares:
            try:
                kept = transfer(work)
            except DRError as e:
                for share in work.living:
                    share.error = e
    outcomes += [_outcome(work, share, kept) for share in work.shares.values()]
    worst = {o.verdict for o in outcomes}
    return Outcome(
        unit="capture-full",
        collection="*",
        verdict="failed" if "failed" in worst else "degraded" if "degraded" in worst else "ok",
        started_at=started_at,
        ended_at=utc_now(),
        detail=CapturedFull(outcomes=tuple(sorted(outcomes, key=lambda o: o.collection))),
    )


def _outcome(work: Work, share: Share, kept: str) -> Outcome:
    """One collection's outcome, worded as that of a capture of its own."""
    facts, config, left = share.facts, work.config, share.targets.left_behind
    if share.error is not None or facts is None or share.part is None:
        error = share.error or NothingChecked(f"{share.key} was not captured")
        return _failure(share.key.collection, error, share.started_at, share.key)
    seen = seen_repositories(config, work.opened, work.failed)
    missing = copies_missing(share.committed, seen, config.copies)
    notes = [f"{n} left behind: {e.message}" for n, e in left.items()]
    notes += facts.doubts
    notes += [f"server snapshot {kept}"] if kept != "deleted" else []
    verdict: Verdict = "failed" if missing else "degraded" if notes else "ok"
    notes += work.remarks
    if work.checksum:
        # known of the server's code, and out of reach of its interface: said, and no reason to act
        notes.append(
            f"a small orphan stays on the node: {work.files[share.key.collection].name}.checksum"
        )
    return Outcome(
        unit="capture",
        collection=share.key.collection,
        backup_id=share.key.backup_id,
        verdict=verdict,
        started_at=share.started_at,
        ended_at=utc_now(),
        error=error_facts(QuorumMissed(f"{share.key}: {missing}")) if missing else None,
        notes=tuple(notes),
        detail=Captured(
            size_bytes=share.part.size_bytes,
            points_count=facts.points,
            committed=share.committed,
            left_behind=left,
            captured_at=share.captured_at,
            capture_us=us(facts.answered_at - share.captured_at),
            transfer_us=us(facts.transferred_at - facts.answered_at),
            server_snapshot=kept,
            manifest_sha256=share.manifest_sha256,
        ),
    )


def _failure(name: str, error: DRError, at: datetime, key: BackupKey | None = None) -> Outcome:
    return Outcome(
        unit="capture",
        collection=name,
        backup_id=key.backup_id if key else None,
        verdict="failed",
        started_at=at,
        ended_at=utc_now(),
        error=error_facts(error),
    )
