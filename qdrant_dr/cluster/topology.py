"""Find the peers of a cluster and their addresses; merge the nodes' views of replicas. Pure, except
for one call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from qdrant_dr.cluster.answers import parse_count, understood
from qdrant_dr.cluster.facts import READABLE_STATES, Placement, ShardState
from qdrant_dr.cluster.node import Node
from qdrant_dr.errors import ConfigInvalid


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterView:
    """`GET /cluster` of the node at `url`. `peers`: peer id -> address among the peers (p2p).

    A node that runs without cluster mode has no `peer_id` and knows no peers.
    """

    url: str
    peer_id: int | None
    peers: Mapping[int, str]


@understood("read the state of the cluster")
def cluster_view(node: Node) -> ClusterView:
    """Ask one node. Raise NodeUnreachable, AccessDenied or ServerFailed."""
    answer = node.ask("GET", "/cluster", "read the state of the cluster")
    if answer.get("status") != "enabled":
        return ClusterView(url=node.url, peer_id=None, peers={})
    peers = {int(peer): str(about.get("uri") or "") for peer, about in answer["peers"].items()}
    return ClusterView(url=node.url, peer_id=parse_count(answer["peer_id"]), peers=peers)


def node_map(views: Sequence[ClusterView], named: Mapping[str, str]) -> dict[int, str]:
    """Return the REST URL of every peer: that of the node which says it is that peer, else as
    `named` in the configuration, else its own host with the scheme and port of the first node.

    The last is how Qdrant itself finds a peer's REST port (it assumes equal configuration); it is a
    guess, believed only once `/cluster` there answers that peer id. An address at which another
    peer answered is not used."""
    known: dict[int, str] = {}
    for view in views:
        if view.peer_id is not None:
            known.setdefault(view.peer_id, view.url)
    taken = {view.url for view in views}
    found = dict(known)
    for peer, uri in sorted({p: uri for v in views for p, uri in v.peers.items()}.items()):
        if peer in known:
            continue
        url = named.get(str(peer)) or _same_host(uri, views[0].url)
        if url is not None and url not in taken:
            found[peer] = url
    return found


def address_of(view: ClusterView, peer: int, named: Mapping[str, str]) -> str | None:
    """Return a peer's own address, whatever address led to `view`: as named in the configuration,
    else its own host with that address's scheme and port, as in `node_map`."""
    uri = view.peers.get(peer)
    return named.get(str(peer)) or (_same_host(uri, view.url) if uri else None)


def one_cluster(views: Sequence[ClusterView]) -> None:
    """Refuse nodes of different clusters, because only one of them would be backed up.

    Raise ConfigInvalid.
    """
    if len(views) < 2:
        return
    if alone := [v.url for v in views if v.peer_id is None]:
        raise ConfigInvalid(
            f"cluster.nodes has {len(views)} nodes, but {', '.join(alone)} runs without cluster "
            "mode, so its collections are separate",
            "write a separate configuration, with its own `cluster.name`, for each of them.",
        )
    first = views[0]
    for view in views[1:]:
        if view.peer_id not in first.peers and first.peer_id not in view.peers:
            raise ConfigInvalid(
                f"{first.url} and {view.url} in cluster.nodes belong to different clusters",
                "write a separate configuration, with its own `cluster.name`, for each of them.",
            )


@dataclass(frozen=True, slots=True)
class JointPlacement:
    """The merged views of several nodes on one collection.

    If they disagree on a replica, `differ` (by shard and peer) says so, and the worse state counts.
    """

    replicas: tuple[ShardState, ...]
    differ: Mapping[tuple[int, int], str]
    transfers: tuple[str, ...]
    resharding: tuple[str, ...]
    shard_count: int = 0

    @property
    def refusals(self) -> tuple[str, ...]:
        """Return conditions under which no archive can be trusted."""
        found = []
        if self.resharding:
            found.append("resharding is under way: points may be in two shards")
        shards = sorted({r.shard for r in self.replicas})
        if self.shard_count > len(shards):
            found.append(
                f"it has {self.shard_count} shards, but only {shards} have a replica: the node "
                "with "
                "the others was removed from the cluster; earlier backups have them"
            )
        return tuple(found)


def joint(placements: Sequence[Placement]) -> JointPlacement:
    """Merge the placements; each replica once, by shard and peer."""
    said: dict[tuple[int, int], dict[str, str]] = {}
    about: dict[tuple[int, int], ShardState] = {}
    for placed in placements:
        for replica in placed.replicas:
            at = replica.shard, peer_of(replica)
            said.setdefault(at, {})[placed.node] = replica.state
            about.setdefault(at, replica)
    differ: dict[tuple[int, int], str] = {}
    replicas = []
    for (shard, peer), states in sorted(said.items()):
        unseen = {p.node: "absent" for p in placements if p.node not in states}
        every = {**states, **unseen}
        if len(set(every.values())) > 1:
            words = ", ".join(f"{node} says {state}" for node, state in sorted(every.items()))
            differ[shard, peer] = f"the nodes disagree on shard {shard} on peer {peer}: {words}"
        worst = min(set(every.values()), key=lambda s: (s in READABLE_STATES, s))
        replicas.append(replace(about[shard, peer], state=worst))
    return JointPlacement(
        replicas=tuple(replicas),
        differ=differ,
        transfers=_each_once(t for p in placements for t in p.transfers),
        resharding=_each_once(r for p in placements for r in p.resharding),
        shard_count=max((p.shard_count or 0 for p in placements), default=0),
    )


def peer_of(replica: ShardState) -> int:
    """Return the peer that holds it; a server without a cluster may have no peer id."""
    return replica.peer_id or 0


def _same_host(uri: str, like: str) -> str | None:
    host, pattern = urlsplit(uri).hostname, urlsplit(like)
    if not host:
        return None
    shown = f"[{host}]" if ":" in host else host
    port = f":{pattern.port}" if pattern.port else ""
    return f"{pattern.scheme}://{shown}{port}"


def _each_once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(texts)))
