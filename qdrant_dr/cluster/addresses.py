"""The addresses of the configured cluster: to whom its keys may go."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack

from qdrant_dr.cluster import Node, node_at, survey
from qdrant_dr.config import Config


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
