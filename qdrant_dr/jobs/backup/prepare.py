"""The nodes that one capture asks: who answers, who holds what, and the facts before it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster import (
    CollectionFacts,
    PeerShards,
    Preflight,
    choose_replicas,
    collection_facts,
    joint,
    preflight,
)
from qdrant_dr.cluster.names import WAY_OUT
from qdrant_dr.cluster.replica_counts import PATIENCE, Counting
from qdrant_dr.cluster.source_nodes import AnsweringNode, SourceNodes
from qdrant_dr.cluster.topology import peer_of
from qdrant_dr.errors import Interrupted, PlanRefused
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.jobs.run.units import CaptureUnit
from qdrant_dr.records.manifest import ReplicaCount


@dataclass(frozen=True, slots=True)
class Prepared:
    """What will be taken from whom, and the facts before it, by peer.

    `captured_at` is a moment before the facts: all that was acknowledged until then is within
    their operation numbers. `apart` are replicas that differ though nobody writes.
    """

    captured_at: datetime
    takes: tuple[PeerShards, ...]
    sources: Mapping[int, AnsweringNode]
    facts: Mapping[int, CollectionFacts]
    doubts: tuple[str, ...]
    apart: tuple[ReplicaCount, ...] = ()


def prepare(
    sources: SourceNodes,
    unit: CaptureUnit,
    *,
    load: Mapping[str, int],
    shards: Collection[int] | None = None,
) -> Prepared:
    """Choose who gives which of the shards (None: all), and ask them for the facts before it.

    All full replicas of a shard are counted until they agree or nothing moves: of those that differ
    the fullest gives it, and that they differ is said of the source, not of the backup.
    What is only doubtful is waited for, then captured and marked; what makes an archive without a
    log wrong is waited for, then refused. Raise PlanRefused with every reason, Interrupted,
    NodeUnreachable.
    """
    deadline = time.monotonic() + PATIENCE.total_seconds()
    counting = Counting(unit.collection)
    while True:
        captured_at = utc_now()
        placed = sources.placements(unit.collection)
        view = joint([said for _, said in placed.values()])
        gone = sorted(set(shards or ()) - {r.shard for r in view.replicas})
        nothing = (f"shards {gone} have no replica any more",) if gone else ()
        _refuse(sources, unit, (*view.refusals, *nothing))
        counting.ask(view.replicas, {p: s.node for p, (s, _) in placed.items()}, shards)
        patient = time.monotonic() < deadline
        if counting.undecided and patient:
            _wait(unit)
            continue
        cover = choose_replicas(
            [
                r
                for r in view.replicas
                if (shards is None or r.shard in shards)
                and (r.shard, peer_of(r)) not in counting.behind
            ],
            reached=placed,
            load={peer: load.get(source.node.url, 0) for peer, (source, _) in placed.items()},
            listeners=True,
        )
        nothing = () if cover.takes or cover.refusals else ("it has no shard",)
        _refuse(sources, unit, (*cover.refusals, *nothing))
        peers = {t.peer: placed[t.peer][0] for t in cover.takes}
        chosen = {peers[t.peer].node.url: t for t in cover.takes}
        answers = sources.ask(
            list(peers.values()),
            partial(_facts_of, unit.collection, chosen),
        )
        if len(answers) < len(cover.takes):
            continue  # one more is lost: its shards are looked for elsewhere
        facts = {chosen[s.node.url].peer: f for s, f in answers}
        judged = {peer: preflight(f, method=unit.method) for peer, f in facts.items()}
        _refuse(sources, unit, _said(judged, peers, "refusals"))
        unsettled = _said(judged, peers, "unsettled")
        differ = [words for (_, peer), words in view.differ.items() if peer in placed]
        passing = bool(view.transfers)
        passing |= any(f.status == "red" or f.deferred_points > 0 for f in facts.values())
        if not (passing or unsettled or differ) or not patient:
            _refuse(sources, unit, unsettled)
            doubts = (*_said(judged, peers, "doubts"), *differ, *counting.doubts)
            return Prepared(captured_at, cover.takes, peers, facts, doubts, counting.apart)
        _wait(unit)


def _wait(unit: CaptureUnit) -> None:
    if stopping.wait(1.0):
        raise Interrupted(f"asked to stop while {unit.collection!r} was settling")


def _facts_of(
    collection: str, chosen: Mapping[str, PeerShards], source: AnsweringNode
) -> CollectionFacts:
    return collection_facts(source.node, collection, chosen[source.node.url].shards)


def _said(
    judged: Mapping[int, Preflight], peers: Mapping[int, AnsweringNode], which: str
) -> tuple[str, ...]:
    """Each thing once; where there are several nodes, with the one it is about."""
    where = {p: f"{peers[p].node.url}: " if len(judged) > 1 else "" for p in judged}
    return tuple(where[p] + words for p in sorted(judged) for words in getattr(judged[p], which))


def _refuse(sources: SourceNodes, unit: CaptureUnit, reasons: Sequence[str]) -> None:
    if not reasons:
        return
    away = [f"{url} does not answer: {e.message}" for url, e in sources.lost.items()]
    lasting = any(WAY_OUT in reason for reason in reasons)
    raise PlanRefused(
        f"{unit.collection!r} cannot be captured: {'; '.join([*reasons, *away])}",
        None
        if lasting  # waiting changes no name
        else "wait until the shards are Active, settled and no transfer runs, then back up again.",
    )
