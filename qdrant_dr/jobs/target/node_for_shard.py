"""To which node of the target each shard goes: the nodes that answer, by peer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from qdrant_dr.cluster import Node
from qdrant_dr.cluster.addresses import node_of
from qdrant_dr.cluster.target import TargetFacts
from qdrant_dr.cluster.topology import cluster_view, node_map
from qdrant_dr.config import Config
from qdrant_dr.errors import ClusterError, RecoverFailed


@dataclass(frozen=True, slots=True)
class TargetNodes:
    """Every node of the target that answers. `silent` are peers that do not, or at no address
    that is known; what their replicas hold is known by the others only."""

    first: Node
    by_peer: Mapping[int | None, Node]
    silent: tuple[int, ...] = ()

    def for_shard(self, shard: int, peers: Sequence[int]) -> Node:
        """Return the node that takes a shard. Raise RecoverFailed if none of its peers answers."""
        if len(self.by_peer) == 1 and not self.silent:
            return self.first
        for peer in peers:
            if peer in self.by_peer:
                return self.by_peer[peer]
        raise RecoverFailed(
            f"none of the peers {list(peers)}, which hold shard {shard}, answers",
            "name their addresses in `cluster.peers`.",
        )


@contextmanager
def target_nodes(config: Config, node: Node, facts: TargetFacts) -> Iterator[TargetNodes]:
    """Yield the nodes of the target by peer id; without a cluster there is one.

    Addresses come from the target itself, or are named in the configuration; each is believed once
    the peer answers there. They get the key that the target has got.
    """
    if not facts.clustered:
        yield TargetNodes(node, {facts.peer_id: node})
        return
    ours = node.url in {*config.cluster.nodes, *config.cluster.peers.values()}
    known = [url for url in config.cluster.nodes if ours and url != node.url]
    with ExitStack() as stack:
        nodes: dict[int | None, Node] = {facts.peer_id: node}
        views = [cluster_view(node)]
        for url in known:
            with suppress(ClusterError), node_of(config, url) as other:
                views.append(cluster_view(other))
        for peer, url in sorted(node_map(views, config.cluster.peers).items()):
            if peer in nodes:
                continue
            key = node.key_reference(write=True)
            timeouts = config.cluster.timeouts
            other = stack.enter_context(Node(url, key, None, timeouts, node.tls, node.read_share))
            with suppress(ClusterError):
                if cluster_view(other).peer_id == peer:
                    nodes[peer] = other
        yield TargetNodes(node, nodes, tuple(p for p in facts.peers if p not in nodes))
