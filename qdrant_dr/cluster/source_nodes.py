"""The nodes of a source that answer, and what each reports about itself and a collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from qdrant_dr.cluster import Node, NodeFacts, Placement, node_facts, placement
from qdrant_dr.cluster.addresses import node_of
from qdrant_dr.config import Config
from qdrant_dr.errors import ClusterError, NodeUnreachable, ServerFailed

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AnsweringNode:
    """A node that answers, with its facts."""

    node: Node
    about: NodeFacts


@dataclass(slots=True)
class SourceNodes:
    """The nodes of one capture. `lost` are those that do not answer, by URL, and why."""

    answering: list[AnsweringNode]
    lost: dict[str, ClusterError] = field(default_factory=dict)

    @property
    def silent(self) -> tuple[str, ...]:
        """Return doubts about nodes that do not answer: they may know of an incomplete replica."""
        return tuple(
            f"{url} does not answer, so its view of the replicas is unknown: {e.message}"
            for url, e in self.lost.items()
        )

    @property
    def clustered(self) -> bool:
        return any(s.about.clustered for s in self.answering)

    def lose(self, source: AnsweringNode, error: ClusterError) -> None:
        """Drop a source; what it has given so far stays."""
        self.lost.setdefault(source.node.url, error)

    @property
    def at_hand(self) -> list[AnsweringNode]:
        return [s for s in self.answering if s.node.url not in self.lost]

    def placements(self, collection: str) -> dict[int, tuple[AnsweringNode, Placement]]:
        """Return each node's placement of the collection, by peer id; silent nodes are dropped.

        Raise NodeUnreachable if none answers, ServerFailed if a node is no longer the same peer.
        """
        found: dict[int, tuple[AnsweringNode, Placement]] = {}
        for source, said in self.ask(self.at_hand, lambda s: placement(s.node, collection)):
            mine = source.about.peer_id
            if mine is not None and said.peer_id != mine:
                raise ServerFailed(
                    f"{source.node.url} answered as peer {mine} and now as {said.peer_id}",
                    "if it is the address of a load balancer, configure each node's own address.",
                )
            found[said.peer_id or 0] = source, said
        return found

    def ask(
        self, sources: Sequence[AnsweringNode], question: Callable[[AnsweringNode], T]
    ) -> list[tuple[AnsweringNode, T]]:
        """Return the answers of all that answer; silent nodes are dropped. Raise if none
        answers."""

        def one(source: AnsweringNode) -> tuple[AnsweringNode, T] | None:
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
def open_sources(config: Config, urls: Sequence[str]) -> Iterator[SourceNodes]:
    """Open the nodes and read their facts. Raise NodeUnreachable if none of them answers."""
    with ExitStack() as stack:
        nodes = [stack.enter_context(node_of(config, url)) for url in urls]
        found, lost = [], {}
        for node in nodes:
            try:
                found.append(AnsweringNode(node, node_facts(node)))
            except NodeUnreachable as e:
                lost[node.url] = e
        if not found:
            raise lost[nodes[0].url]
        yield SourceNodes(found, dict(lost))
