"""What is there: every configured node reached, every collection seen, all aliases."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from qdrant_dr.cluster.facts import CollectionFacts, collection_facts
from qdrant_dr.cluster.node import Node, open_nodes
from qdrant_dr.config import ClusterConfig
from qdrant_dr.errors import ClusterError, ServerFailed
from qdrant_dr.records.manifest import SourceKind

PARALLEL_QUESTIONS = 4
_DATE_LAG = timedelta(seconds=2)
"""Cut to whole seconds, and made anew only every half second (Qdrant) or second (uvicorn)."""


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """Node's clock minus ours, in milliseconds; the truth lies within +- `uncertainty_ms`."""

    offset_ms: int
    uncertainty_ms: int

    def exceeds(self, limit: timedelta) -> bool:
        """Certainly apart by more than `limit`."""
        return abs(self.offset_ms) - self.uncertainty_ms > limit / timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """One node. `clock` is None if it sends no `Date`; `peer_id` if it runs without a cluster."""

    url: str
    title: str
    version: str
    commit: str | None
    source_kind: SourceKind
    clock: ClockOffset | None
    clustered: bool
    peer_id: int | None
    key_in_clear: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A collection that is listed but cannot be read: it must show as a row, never vanish."""

    collection: str
    error: ClusterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """`aliases` maps alias to collection. Collections are as the first node sees them."""

    taken_at: datetime
    nodes: tuple[NodeFacts, ...]
    collections: tuple[CollectionFacts, ...]
    unreadable: tuple[Unreadable, ...]
    aliases: dict[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Every collection, readable or not, sorted."""
        listed = [c.collection for c in self.collections] + [u.collection for u in self.unreadable]
        return tuple(sorted(listed))

    @property
    def source_kind(self) -> SourceKind:
        """`sandbox` as soon as one node is one."""
        return "sandbox" if any(n.source_kind == "sandbox" for n in self.nodes) else "server"


def take_inventory(config: ClusterConfig) -> Inventory:
    """Reach every node and ask everything. Raise NodeUnreachable or AccessDenied for any node.

    A collection that answers an error (measured: 500 after a server was killed while restoring
    one) is `unreadable`; one that vanishes between list and question is so too.
    """
    nodes = open_nodes(config)
    try:
        return inventory_of(nodes)
    finally:
        for node in nodes:
            node.close()


def inventory_of(nodes: Sequence[Node]) -> Inventory:
    """The same, of nodes that are open already."""
    seen = tuple(node_facts(node) for node in nodes)
    first = nodes[0]
    with first.control("list the collections") as client:
        names = sorted(c.name for c in client.get_collections().collections)
    with first.control("list the aliases") as client:
        aliases = {a.alias_name: a.collection_name for a in client.get_aliases().aliases}
    with ThreadPoolExecutor(PARALLEL_QUESTIONS) as pool:
        found = list(pool.map(lambda name: _facts_or_error(first, name), names))
    return Inventory(
        taken_at=datetime.now(UTC),
        nodes=seen,
        collections=tuple(f for f in found if isinstance(f, CollectionFacts)),
        unreadable=tuple(f for f in found if isinstance(f, Unreadable)),
        aliases=aliases,
    )


def node_facts(node: Node) -> NodeFacts:
    """Title, version, kind and clock of one node. Raise ServerFailed if it is no Qdrant."""
    sent_at = datetime.now(UTC)
    response = node.exchange("GET", "/", "read its version")
    received_at = datetime.now(UTC)
    try:
        root = response.json()
        title, version = str(root["title"]), str(root["version"])
    except (ValueError, KeyError, TypeError):
        raise ServerFailed(
            f"{node.url} does not answer as a Qdrant",
            "is the address in `cluster.nodes` the REST port of a node?",
        ) from None
    sandbox = root.get("sandbox") is True or "sandbox" in title.lower()
    cluster = node.ask("GET", "/cluster", "read the state of the cluster")
    return NodeFacts(
        url=node.url,
        title=title,
        version=version,
        commit=root.get("commit"),
        source_kind="sandbox" if sandbox else "server",
        clock=clock_offset(response.headers, sent_at, received_at),
        clustered=cluster.get("status") == "enabled",
        peer_id=cluster.get("peer_id"),
        key_in_clear=node.key_in_clear,
    )


def clock_offset(
    headers: httpx.Headers, sent_at: datetime, received_at: datetime
) -> ClockOffset | None:
    """From the `Date` header, which is never ahead of the node's clock and up to 2 s behind it.

    The answer was made between sending and receiving: the middle of both spans, with half of both
    as uncertainty.
    """
    try:
        date = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError):
        return None
    if date.tzinfo is None:
        return None
    trip = received_at - sent_at
    offset = (date + _DATE_LAG / 2) - (sent_at + trip / 2)
    uncertainty = (_DATE_LAG + trip) / 2
    ms = timedelta(milliseconds=1)
    return ClockOffset(round(offset / ms), round(uncertainty / ms))


def _facts_or_error(node: Node, collection: str) -> CollectionFacts | Unreadable:
    try:
        return collection_facts(node, collection)
    except ClusterError as e:
        if e.transient:
            raise
        return Unreadable(collection=collection, error=e)
