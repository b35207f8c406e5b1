"""Take the inventory: every node of the cluster, every collection, all aliases, and who is
missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
import orjson

from qdrant_dr.cluster.aliases import aliases_of
from qdrant_dr.cluster.answers import parse_optional, parse_text, understood
from qdrant_dr.cluster.facts import CollectionFacts, collection_facts
from qdrant_dr.cluster.node import Node, open_nodes
from qdrant_dr.cluster.recover import collection_names
from qdrant_dr.cluster.topology import ClusterView, cluster_view, node_map, one_cluster
from qdrant_dr.config import ClusterConfig
from qdrant_dr.errors import ClusterError, NodeUnreachable, NodeUntrusted, ServerFailed
from qdrant_dr.records.manifest import SourceKind

PARALLEL_QUESTIONS = 4
_DATE_LAG = timedelta(seconds=2)
"""The header is in whole seconds, renewed every half second (Qdrant) or second (uvicorn)."""


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """Node's clock minus ours, in milliseconds, exact within +- `uncertainty_ms`."""

    offset_ms: int
    uncertainty_ms: int

    def exceeds(self, limit: timedelta) -> bool:
        """Say whether the clocks certainly differ by more than `limit`."""
        return abs(self.offset_ms) - self.uncertainty_ms > limit / timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts:
    """One node. `clock` is None if it sends no `Date`; `view` is its view of its cluster."""

    url: str
    title: str
    version: str
    commit: str | None
    source_kind: SourceKind
    clock: ClockOffset | None
    view: ClusterView
    key_in_clear: bool

    @property
    def peer_id(self) -> int | None:
        """Return its peer id; None if it runs without a cluster."""
        return self.view.peer_id

    @property
    def clustered(self) -> bool:
        """Say whether it runs in cluster mode, alone or not."""
        return self.view.peer_id is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreached:
    """A node or peer that belongs to the cluster but could not be reached."""

    what: str
    error: ClusterError

    def __str__(self) -> str:
        return f"{self.what} was not reached: {self.error.message} ({self.error.hint})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A collection that is listed but cannot be read: it must appear as a row, never vanish."""

    collection: str
    error: ClusterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """`aliases` maps alias to collection. Collections are all that any node lists, each as seen by
    the first node that lists it: a node that lags behind the cluster does not know the newest.

    `nodes` are the configured nodes that answer, then the peers that they know; `unreached` the
    others. `names` are all collections, readable or not, sorted; one of names only has no
    collections, nor aliases.
    """

    taken_at: datetime
    nodes: tuple[NodeFacts, ...]
    collections: tuple[CollectionFacts, ...]
    unreadable: tuple[Unreadable, ...]
    aliases: dict[str, str]
    unreached: tuple[Unreached, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def source_kind(self) -> SourceKind:
        """Return `sandbox` if any node is a sandbox."""
        return "sandbox" if any(n.source_kind == "sandbox" for n in self.nodes) else "server"


def take_inventory(config: ClusterConfig, *, names_only: bool = False) -> Inventory:
    """Ask every node everything, or only which collections there are. Raise NodeUnreachable if no
    node answers, AccessDenied if one refuses the key, ConfigInvalid if the nodes do not belong
    together.

    A collection that answers an error (measured: 500 after a server was killed while restoring one)
    is `unreadable`; so is one that vanishes before it is asked about.
    """
    nodes = open_nodes(config)
    try:
        return inventory_of(nodes, config.peers, names_only=names_only)
    finally:
        for node in nodes:
            node.close()


def inventory_of(
    nodes: Sequence[Node], peers: Mapping[str, str] | None = None, *, names_only: bool = False
) -> Inventory:
    """Take the inventory of nodes that are already open; `peers` maps peer id to URL."""
    seen, unreached = list_nodes(nodes, peers or {})
    known = {node.url: node for node in nodes}
    lister: dict[str, Node] = {}
    aliases: dict[str, str] = {}
    silent: list[Unreached] = []
    with ExitStack() as stack, ThreadPoolExecutor(PARALLEL_QUESTIONS) as pool:
        for about in seen:
            node = known.get(about.url) or stack.enter_context(nodes[0].at(about.url))
            try:
                names = collection_names(node)
                named = {} if names_only else aliases_of(node)
            except NodeUnreachable as e:
                silent.append(Unreached(what=f"node {node.url}", error=e))
                continue
            for name in names:
                lister.setdefault(name, node)
            aliases = named | aliases
        if len(silent) == len(seen):
            raise silent[0].error
        asked = [] if names_only else sorted(lister)
        found = list(pool.map(lambda name: _facts_or_error(lister[name], name), asked))
    return Inventory(
        taken_at=datetime.now(UTC),
        nodes=seen,
        collections=tuple(f for f in found if isinstance(f, CollectionFacts)),
        unreadable=tuple(f for f in found if isinstance(f, Unreadable)),
        aliases=aliases,
        unreached=(*unreached, *silent),
        names=tuple(sorted(lister)),
    )


def list_nodes(
    nodes: Sequence[Node], peers: Mapping[str, str]
) -> tuple[tuple[NodeFacts, ...], tuple[Unreached, ...]]:
    """Return every node that answers, the given ones first, and those of the cluster that do not.

    An address that was not configured is believed once that same peer answers there.
    Raise NodeUnreachable if none of the given ones answers, AccessDenied, ConfigInvalid.
    """
    seen: list[NodeFacts] = []
    unreached: list[Unreached] = []
    for node in nodes:
        try:
            seen.append(node_facts(node))
        except NodeUnreachable as e:
            unreached.append(Unreached(what=f"node {node.url}", error=e))
    if not seen:
        raise unreached[0].error
    views = [facts.view for facts in seen]
    one_cluster(views)
    known = {view.peer_id for view in views}
    others = {peer for view in views for peer in view.peers} - known
    if len(others) <= len(unreached) and not others & set(map(int, peers)):
        return tuple(seen), tuple(unreached)  # those are the nodes that do not answer
    addresses = node_map(views, peers)
    dead = {node.url for node in nodes} - {facts.url for facts in seen}
    for peer in sorted(others):
        url = addresses.get(peer)
        if url in dead:
            continue
        try:
            seen.append(_peer_at(nodes[0], peer, url))
        except ClusterError as e:
            unreached.append(Unreached(what=f"peer {peer}", error=e))
    return tuple(seen), tuple(unreached)


def _peer_at(like: Node, peer: int, url: str | None) -> NodeFacts:
    hint = f"configure its REST address: `cluster.peers: {{'{peer}': URL}}`, or `cluster.nodes`."
    if url is None:
        raise ServerFailed(f"the address of peer {peer} of the cluster is unknown", hint)
    with like.at(url) as node:
        try:
            facts = node_facts(node)
        except NodeUntrusted:
            raise
        except NodeUnreachable as e:
            raise NodeUnreachable(e.message, f"check whether it is down; if not, {hint}") from None
    if facts.peer_id != peer:
        raise ServerFailed(f"{url} is not peer {peer} but {facts.peer_id or 'no cluster'}", hint)
    return facts


@understood("read its version")
def node_facts(node: Node) -> NodeFacts:
    """Read title, version, kind and clock of one node. Raise ServerFailed if it is no Qdrant."""
    sent_at = datetime.now(UTC)
    response = node.exchange("GET", "/", "read its version")
    received_at = datetime.now(UTC)
    try:
        root = orjson.loads(response.content)
        title, version, commit = root["title"], root["version"], root.get("commit")
        title, version, commit = (
            parse_text(title),
            parse_text(version),
            parse_optional(parse_text, commit),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ServerFailed(
            f"{node.url} does not answer like a Qdrant server",
            "check that the address in `cluster.nodes` is the REST port of a node.",
        ) from None
    sandbox = root.get("sandbox") is True or "sandbox" in title.lower()
    return NodeFacts(
        url=node.url,
        title=title,
        version=version,
        commit=commit,
        source_kind="sandbox" if sandbox else "server",
        clock=clock_offset(response.headers, sent_at, received_at),
        view=cluster_view(node),
        key_in_clear=node.key_in_clear,
    )


def clock_of(node: Node) -> ClockOffset | None:
    """Read only the clock of one node. Raise what `exchange` raises."""
    sent_at = datetime.now(UTC)
    response = node.exchange("GET", "/", "ask for its time")
    return clock_offset(response.headers, sent_at, datetime.now(UTC))


def clock_offset(
    headers: httpx.Headers, sent_at: datetime, received_at: datetime
) -> ClockOffset | None:
    """Compute the offset from the `Date` header, which is up to 2 s behind the node's clock and
    never

    ahead.
    The answer was made between sending and receiving: the offset is the middle of both spans, its
    uncertainty half of both.
    """
    try:
        date = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError):
        return None
    if date.tzinfo is None:
        return None
    trip = received_at - sent_at
    offset = date - (sent_at + trip / 2) + _DATE_LAG / 2
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
