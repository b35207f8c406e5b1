"""The nodes that one capture asks: who answers, who holds what, and the facts before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from qdrant_dr.cluster import (
    CollectionFacts,
    Node,
    NodeFacts,
    Placement,
    Preflight,
    Take,
    collection_facts,
    joint,
    node_at,
    node_facts,
    placement,
    plan_cover,
    preflight,
    survey,
)
from qdrant_dr.cluster.names import WAY_OUT
from qdrant_dr.cluster.topology import peer_of
from qdrant_dr.config import Config
from qdrant_dr.errors import ClusterError, Interrupted, NodeUnreachable, PlanRefused, ServerFailed
from qdrant_dr.jobs.replica_counts import Counting
from qdrant_dr.jobs.run import utc_now
from qdrant_dr.jobs.stop import stopping
from qdrant_dr.jobs.units import CaptureUnit
from qdrant_dr.records.manifest import ReplicaCount

T = TypeVar("T")
PATIENCE = timedelta(seconds=30)
"""How long a doubtful state is waited for before the capture goes on and reports it."""


def node_of(config: Config, url: str) -> Node:
    """A node of the source, with the cluster's keys and time-outs."""
    return node_at(config.cluster, url)


def known_addresses(config: Config, wanted: Iterable[str]) -> frozenset[str]:
    """Addresses of the cluster: as configured, else, if one is wanted that is not among them, of
    all peers that answer. A key goes to these only. Raise NodeUnreachable, AccessDenied."""
    cluster = config.cluster
    named = frozenset((*cluster.nodes, *cluster.peers.values()))
    if named.issuperset(wanted):
        return named
    with ExitStack() as stack:
        nodes = [stack.enter_context(node_of(config, url)) for url in cluster.nodes]
        seen, _ = survey(nodes, cluster.peers)
    return named | {facts.url for facts in seen}


@dataclass(frozen=True, slots=True)
class Source:
    """A node that answers, and what it says of itself."""

    node: Node
    about: NodeFacts


@dataclass(slots=True)
class Sources:
    """The nodes of one capture. `lost` are those that do not answer, by URL, and why."""

    answering: list[Source]
    lost: dict[str, ClusterError] = field(default_factory=dict)

    @property
    def silent(self) -> tuple[str, ...]:
        """Whom nobody could ask: they might have said that a replica is not full any more."""
        return tuple(
            f"{url} does not answer, what it knows of the replicas was not asked: {e.message}"
            for url, e in self.lost.items()
        )

    @property
    def clustered(self) -> bool:
        return any(s.about.clustered for s in self.answering)

    def lose(self, source: Source, error: ClusterError) -> None:
        """One source less; what it has given so far stays."""
        self.lost.setdefault(source.node.url, error)

    @property
    def at_hand(self) -> list[Source]:
        return [s for s in self.answering if s.node.url not in self.lost]

    def placements(self, collection: str) -> dict[int, tuple[Source, Placement]]:
        """What each says of the collection, by its peer id; who does not answer is lost.

        Raise NodeUnreachable if nobody answers, ServerFailed if one is not who it said it is.
        """
        found: dict[int, tuple[Source, Placement]] = {}
        for source, said in self.ask(self.at_hand, lambda s: placement(s.node, collection)):
            mine = source.about.peer_id
            if mine is not None and said.peer_id != mine:
                raise ServerFailed(
                    f"{source.node.url} answered as peer {mine} and now as {said.peer_id}",
                    "is it the address of a load balancer? name every node by its own.",
                )
            found[said.peer_id or 0] = source, said
        return found

    def ask(
        self, sources: Sequence[Source], question: Callable[[Source], T]
    ) -> list[tuple[Source, T]]:
        """The answers of all that answer; who does not is lost. Raise its error if nobody does."""

        def one(source: Source) -> tuple[Source, T] | None:
            try:
                return source, question(source)
            except NodeUnreachable as e:
                self.lose(source, e)
                return None

        if not sources:
            raise NodeUnreachable("; ".join(e.message for e in self.lost.values()))
        with ThreadPoolExecutor(len(sources)) as pool:
            answers = [a for a in pool.map(one, sources) if a is not None]
        if not answers:
            raise self.lost[sources[0].node.url]
        return answers


@contextmanager
def open_sources(config: Config, urls: Sequence[str]) -> Iterator[Sources]:
    """Open the nodes and learn who they are. Raise NodeUnreachable if none of them answers."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(node_of(config, url)) for url in urls]
        found, lost = [], {}
        for node in nodes:
            try:
                found.append(Source(node, node_facts(node)))
            except NodeUnreachable as e:
                lost[node.url] = e
        if not found:
            raise lost[nodes[0].url]
        yield Sources(found, dict(lost))


@dataclass(frozen=True, slots=True)
class Look:
    """What will be taken from whom, and the facts before it, by peer.

    `captured_at` is a moment before the facts: all that was acknowledged until then is within
    their operation numbers. `apart` are replicas that differ though nobody writes.
    """

    captured_at: datetime
    takes: tuple[Take, ...]
    sources: Mapping[int, Source]
    facts: Mapping[int, CollectionFacts]
    doubts: tuple[str, ...]
    apart: tuple[ReplicaCount, ...] = ()


def look(
    sources: Sources,
    unit: CaptureUnit,
    *,
    load: Mapping[str, int],
    shards: Collection[int] | None = None,
) -> Look:
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
        cover = plan_cover(
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
            return Look(captured_at, cover.takes, peers, facts, doubts, counting.apart)
        _wait(unit)


def _wait(unit: CaptureUnit) -> None:
    if stopping.wait(1.0):
        raise Interrupted(f"asked to stop while {unit.collection!r} was settling")


def _facts_of(collection: str, chosen: Mapping[str, Take], source: Source) -> CollectionFacts:
    return collection_facts(source.node, collection, chosen[source.node.url].shards)


def _said(
    judged: Mapping[int, Preflight], peers: Mapping[int, Source], which: str
) -> tuple[str, ...]:
    """Each thing once; where there are several nodes, with the one it is about."""
    where = {p: f"{peers[p].node.url}: " if len(judged) > 1 else "" for p in judged}
    return tuple(where[p] + words for p in sorted(judged) for words in getattr(judged[p], which))


def _refuse(sources: Sources, unit: CaptureUnit, reasons: Sequence[str]) -> None:
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
