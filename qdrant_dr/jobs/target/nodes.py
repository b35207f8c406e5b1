"""The server that is restored to, and the other nodes of its cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from qdrant_dr.cluster import Node
from qdrant_dr.cluster.addresses import node_of
from qdrant_dr.cluster.target import TargetFacts, target_facts
from qdrant_dr.cluster.topology import cluster_view, node_map
from qdrant_dr.config import Config
from qdrant_dr.errors import (
    AccessDenied,
    ClusterError,
    NodeUnreachable,
    NodeUntrusted,
    RecoverFailed,
    UsageError,
)
from qdrant_dr.secrets import SecretRef


def open_target(config: Config, url: str, key: SecretRef | None) -> Node:
    """Open the target, with `key` if one is given.

    A key of the configuration goes to the address that it is configured for, and nowhere else.
    Raise UsageError for what is no address, or carries a user: it would be written everywhere.
    """
    url = url.rstrip("/")
    if not url.startswith(("http://", "https://")):
        raise UsageError(
            "the target's address starts with http:// or https://",
            "write it like `--to http://localhost:6333`.",
        )
    if "@" in urlsplit(url).netloc:
        raise UsageError("the target's address must not carry a user", "give `--to-key REF`.")
    if key is None and url in {*config.cluster.nodes, *config.cluster.peers.values()}:
        return node_of(config, url)
    cluster, scratch = config.cluster, config.drill.scratch
    tls = cluster.tls
    if scratch is not None and is_scratch(config, url):
        key, tls = key or scratch.api_key, scratch.tls
    off = 0 if cluster.grpc_port == 0 else None  # another port is that of the cluster's nodes
    return Node(url, key, None, cluster.timeouts, tls, cluster.read_share, off)


def facts_of(config: Config, node: Node) -> TargetFacts:
    """Read `target_facts`; errors name the next step for an address or a key that came with
    `--to`."""
    try:
        return target_facts(node)
    except NodeUntrusted:
        raise
    except NodeUnreachable as e:
        hint = "check the address given with `--to`: the REST port of a server that is up?"
        raise NodeUnreachable(e.message, _unless_ours(config, node, hint)) from None
    except AccessDenied as e:
        hint = "give the target's own key by reference: `--to-key REF`; it must let us manage."
        raise AccessDenied(e.message, _unless_ours(config, node, hint)) from None


def _unless_ours(config: Config, node: Node, hint: str) -> str | None:
    ours = node.url in {*config.cluster.nodes, *config.cluster.peers.values()}
    return None if ours else hint


def is_scratch(config: Config, url: str) -> bool:
    """Say whether this is the configured scratch, on which everything may be lost."""
    scratch = config.drill.scratch
    return scratch is not None and scratch.disposable and scratch.url == url.rstrip("/")


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
