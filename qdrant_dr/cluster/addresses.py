"""The addresses of the configured cluster, to which its keys may be sent."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack

from qdrant_dr.cluster import Node, list_nodes, node_at
from qdrant_dr.config import Config


def node_of(config: Config, url: str) -> Node:
    """Return a node of the source, with the cluster's keys and timeouts."""
    return node_at(config.cluster, url)


def known_addresses(config: Config, wanted: Iterable[str]) -> frozenset[str]:
    """Return the addresses of the cluster: the configured ones and, if one is wanted that is not
    among them, those of all peers that answer. Keys are sent to these only. Raise NodeUnreachable,
    AccessDenied."""
    cluster = config.cluster
    named = frozenset((*cluster.nodes, *cluster.peers.values()))
    if named.issuperset(wanted):
        return named
    with ExitStack() as stack:
        nodes = [stack.enter_context(node_of(config, url)) for url in cluster.nodes]
        seen, _ = list_nodes(nodes, cluster.peers)
    return named | {facts.url for facts in seen}
