"""The server that is restored to: opened with the right key, and asked what it is."""

from __future__ import annotations

from urllib.parse import urlsplit

from qdrant_dr.cluster import Node
from qdrant_dr.cluster.addresses import node_of
from qdrant_dr.cluster.target import TargetFacts, target_facts
from qdrant_dr.config import Config
from qdrant_dr.errors import (
    AccessDenied,
    NodeUnreachable,
    NodeUntrusted,
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
