"""Capture one collection: facts, intent, create, answer, one read, N writes, gates, manifests."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from qdrant_dr.cluster import (
    CollectionFacts,
    Node,
    NodeFacts,
    another_life,
    check_gates,
    collection_facts,
    create_snapshot,
    delete_own_snapshot,
    download,
    incarnation,
    list_snapshots,
    node_facts,
    preflight,
)
from qdrant_dr.config import Config
from qdrant_dr.errors import (
    ClusterError,
    CollectionChanged,
    Interrupted,
    PlanRefused,
    QuorumMissed,
)
from qdrant_dr.jobs.catalogs import open_all
from qdrant_dr.jobs.conclude import copies_missing
from qdrant_dr.jobs.copies import newest_manifest
from qdrant_dr.jobs.progress import watched
from qdrant_dr.jobs.run import error_facts, seen_repositories, utc_now, versions
from qdrant_dr.jobs.scratch import scratch_folder
from qdrant_dr.jobs.stop import stopping
from qdrant_dr.jobs.taking_part import TakingPart
from qdrant_dr.jobs.units import CaptureUnit
from qdrant_dr.proof import BlockDigests
from qdrant_dr.records import (
    BackupKey,
    Captured,
    Intent,
    ListedSnapshot,
    Manifest,
    Outcome,
    Part,
    ShardFacts,
    SnapshotAnswer,
)
from qdrant_dr.repository import fan_out, new_id, refuse_late_commit
from qdrant_dr.version import __version__

log = logging.getLogger(__name__)

PATIENCE = timedelta(seconds=30)
"""How long a doubtful state is waited for before the capture goes on and reports it."""
PART = "collection"


def node_of(config: Config, url: str) -> Node:
    """A configured node, with the cluster's keys and time-outs."""
    cluster = config.cluster
    return Node(url, cluster.api_key, cluster.read_api_key, cluster.timeouts)


@dataclass(slots=True)
class Facts:
    """What is known of one capture, in the order in which it becomes known."""

    node: NodeFacts
    before: CollectionFacts
    doubts: tuple[str, ...]
    captured_at: datetime
    incarnation: str
    listed_before: tuple[ListedSnapshot, ...]
    answered_at: datetime
    answer: ListedSnapshot
    transferred_at: datetime
    sha256: str
    blocks: tuple[str, ...]
    after: CollectionFacts


def capture(config: Config, unit: CaptureUnit, run_id: str) -> Outcome:
    """Make one backup of one collection in every repository of the unit.

    The manifest is the commit; it is written only where every part was found durable, after the
    gates held. Below quorum what there is stays (one copy beats none) and the unit fails.
    Raise PlanRefused, CollectionChanged, SnapshotUnanswered, QuorumMissed or what the layers raise.
    """
    started_at = utc_now()
    opened, failed = open_all(config, unit.repositories)
    targets = TakingPart(opened, {name: error_facts(e) for name, e in failed.items()})
    targets.each(lambda _: None)
    with node_of(config, unit.node) as node:
        about = node_facts(node)
        captured_at, before, doubts = _settled_facts(node, unit)
        doubts += _clock_doubts(config, about)
        key = BackupKey(
            cluster=config.cluster.name,
            collection=unit.collection,
            backup_id=new_id(captured_at),
        )
        with scratch_folder(config.capture.spool.path, f"capture-{key.backup_id}"):
            facts = _transfer(
                config, unit, run_id, key, node, targets,
                about=about, before=before, doubts=doubts, captured_at=captured_at,
            )  # fmt: skip
            manifest = manifest_of(config, unit, run_id, key, facts)
            committed = targets.commit(manifest)
            kept = _clean_up(config, node, key, facts, committed)
    missing = copies_missing(committed, seen_repositories(config, opened, failed), config.copies)
    notes = [f"{n} left behind: {e.message}" for n, e in targets.left_behind.items()]
    notes += facts.doubts
    notes += [f"server snapshot {kept}"] if kept != "deleted" else []
    return Outcome(
        unit="capture",
        collection=unit.collection,
        backup_id=key.backup_id,
        verdict="failed" if missing else "degraded" if notes else "ok",
        started_at=started_at,
        ended_at=utc_now(),
        error=error_facts(QuorumMissed(f"{key}: {missing}")) if missing else None,
        notes=tuple(notes),
        detail=Captured(
            size_bytes=manifest.size_bytes,
            points_count=facts.after.exact_points,
            committed=committed,
            left_behind=targets.left_behind,
            captured_at=captured_at,
            capture_us=_us(facts.answered_at - captured_at),
            transfer_us=_us(facts.transferred_at - facts.answered_at),
            server_snapshot=kept,
        ),
    )


def _clock_doubts(config: Config, about: NodeFacts) -> tuple[str, ...]:
    """A node whose clock is off: times of its records cannot be laid beside ours."""
    limit = config.cluster.clock_skew_limit
    if about.clock is None:
        return ("the node does not tell its time: its clock could not be compared",)
    if not about.clock.exceeds(limit):
        return ()
    apart = f"the node's clock is {about.clock.offset_ms / 1000:+.0f} s from ours"
    return (f"{apart}, {limit.total_seconds():.0f} s are allowed: synchronise them (NTP)",)


def _settled_facts(
    node: Node, unit: CaptureUnit
) -> tuple[datetime, CollectionFacts, tuple[str, ...]]:
    """Facts before the capture, and a moment before them: all that was acknowledged until then is
    within their operation numbers. What is only doubtful is waited for, then captured and marked.
    """
    deadline = time.monotonic() + PATIENCE.total_seconds()
    while True:
        captured_at = utc_now()
        facts = collection_facts(node, unit.collection)
        judged = preflight(facts, method=unit.method)
        if judged.refusals:
            raise PlanRefused(
                f"{unit.collection!r} on {node.url} cannot be captured: "
                + "; ".join(judged.refusals),
                "wait until the shards are Active and no transfer runs, then back up again.",
            )
        passing = facts.status == "red" or facts.deferred_points > 0
        if not passing or time.monotonic() >= deadline:
            return captured_at, facts, judged.doubts
        if stopping.wait(1.0):
            raise Interrupted(f"asked to stop while {unit.collection!r} was settling")


def _transfer(
    config: Config,
    unit: CaptureUnit,
    run_id: str,
    key: BackupKey,
    node: Node,
    targets: TakingPart,
    *,
    about: NodeFacts,
    before: CollectionFacts,
    doubts: tuple[str, ...],
    captured_at: datetime,
) -> Facts:
    """Intent, create, answer, one read and N writes, facts and gates after it."""
    previous, history = _history(config, targets, before, captured_at)
    intent = Intent(
        run_id=run_id,
        backup_id=key.backup_id,
        cluster=key.cluster,
        collection=key.collection,
        node=node.url,
        started_at=captured_at,
        listed_before=list_snapshots(node, unit.collection),
        tool_version=__version__,
    )
    targets.each(lambda repository: repository.write_intent(key, intent))
    answer = create_snapshot(node, unit.collection, stop=stopping)
    answered_at = utc_now()
    answered = SnapshotAnswer(
        backup_id=key.backup_id, node=node.url, answered_at=answered_at, snapshot=answer
    )
    targets.each(lambda repository: repository.write_answer(key, answered))
    digests = BlockDigests()
    written = fan_out(
        digests.watch(
            watched(download(node, unit.collection, answer, stop=stopping), answer.size_bytes)
        ),
        {
            name: partial(r.part_sink, key, f"{PART}.snapshot", answer.size_bytes)
            for name, r in targets.taking_part.items()
        },
        stall_timeout=config.copies.stall_timeout,
    )
    transferred_at = utc_now()
    for name, error in written.left_behind.items():
        targets.leave(name, error)
    targets.each(lambda _: None)
    receipt = next(iter(written.receipts.values()))
    after = collection_facts(node, unit.collection)
    if broken := check_gates(before, after):
        raise CollectionChanged(
            f"{unit.collection!r} changed while it was captured: {'; '.join(broken)}"
        )
    refuse_late_commit(intent, now=utc_now())
    return Facts(
        node=about,
        before=before,
        doubts=(*doubts, *history),
        captured_at=captured_at,
        incarnation=incarnation(before, previous, fresh=key.backup_id),
        listed_before=intent.listed_before,
        answered_at=answered_at,
        answer=answer,
        transferred_at=transferred_at,
        sha256=receipt.sha256,
        blocks=digests.digests,
        after=after,
    )


def _history(
    config: Config, targets: TakingPart, before: CollectionFacts, now: datetime
) -> tuple[Manifest | None, tuple[str, ...]]:
    """The backup before this one, and what is strange about it: a name that began a new life."""
    previous = newest_manifest(config, targets.taking_part, before.collection, now=now)
    if previous is None:
        away = ", ".join(targets.left_behind)
        lost = f"no earlier backup is known, and {away}, which may know one, could not be asked"
        return None, (lost,) if away else ()
    reasons = another_life(before, previous)
    return previous, tuple(f"a new life of this name since the last backup: {r}" for r in reasons)


def manifest_of(
    config: Config, unit: CaptureUnit, run_id: str, key: BackupKey, facts: Facts
) -> Manifest:
    """The record of one capture. Pure."""
    before, after = facts.before, facts.after
    return Manifest(
        backup_id=key.backup_id,
        run_id=run_id,
        cluster=key.cluster,
        collection=key.collection,
        incarnation=facts.incarnation,
        source_kind=facts.node.source_kind,
        method=unit.method,
        method_reason=unit.method_reason,
        captured_at=facts.captured_at,
        answered_at=facts.answered_at,
        transferred_at=facts.transferred_at,
        clock_offset_ms=facts.node.clock.offset_ms if facts.node.clock else None,
        server_version=facts.node.version,
        server_commit=facts.node.commit,
        engine_version=versions()["qdrant-edge-py"],
        tool_version=__version__,
        config_sha256=config.sha256,
        parts=(
            Part(
                name=PART,
                kind="collection",
                shards=tuple(s.shard for s in before.shards),
                wal=True,
                size_bytes=facts.answer.size_bytes,
                sha256=facts.sha256,
                blocks=facts.blocks,
                node=unit.node,
                server_name=facts.answer.name,
                server_size_bytes=facts.answer.size_bytes,
                server_checksum=facts.answer.checksum,
            ),
        ),
        shards=tuple(
            ShardFacts(
                shard=s.shard,
                shard_key=s.shard_key,
                operation_before=s.operation,
                operation_after=after.operations.get(s.shard),
                count_before=s.count,
                count_after=after.counts.get(s.shard),
            )
            for s in before.shards
        ),
        aliases=before.aliases,
        status=before.status,
        doubts=facts.doubts,
        note=unit.note,
        collection_info=json.dumps(before.info, ensure_ascii=False, separators=(",", ":")),
        collection_cluster=before.cluster_json,
        shard_keys=before.shard_keys_json,
    )


def _clean_up(
    config: Config, node: Node, key: BackupKey, facts: Facts, committed: tuple[str, ...]
) -> str:
    """Delete the snapshot on the server once enough manifests were read back, if it is ours."""
    if len(committed) < config.copies.quorum:
        return f"kept: only {len(committed)} of {config.copies.quorum} copies hold it"
    try:
        return delete_own_snapshot(node, key.collection, facts.answer, facts.listed_before)
    except ClusterError as e:
        return f"kept: {e.message}"


def _us(span: timedelta) -> int:
    return max(0, span // timedelta(microseconds=1))
