"""Can every shard be taken from somebody who has all of it? Replicas, listeners, snapshot storage.

Only questions, nothing is changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence

from qdrant_dr.cluster import CollectionFacts, Inventory, Node, NodeFacts, joint, list_snapshots
from qdrant_dr.cluster.capture_conditions import name_refusal
from qdrant_dr.cluster.facts import LISTENER, READABLE_STATES, ShardState, placement
from qdrant_dr.cluster.replica_choice import choose_replicas
from qdrant_dr.cluster.topology import peer_of
from qdrant_dr.config import Config
from qdrant_dr.errors import ConfigInvalid, DRError, ServerFailed
from qdrant_dr.jobs.check.rows import CheckRow, degraded, failed, ok

CLUSTER = "cluster"


def topology_rows(config: Config, first: Node, inventory: Inventory) -> Iterator[CheckRow]:
    """Yield rows on the cluster as a whole, then on each included collection; `first` answers."""
    rules = config.collections
    wanted = [c for c in inventory.collections if rules.decide(c.collection).status == "included"]
    peers = {n.peer_id: n for n in inventory.nodes if n.peer_id is not None}
    if peers:
        yield from _method(config, len(peers))
        placed: dict[str, tuple[ShardState, ...]] = {}
        for collection in wanted:
            try:
                placed[collection.collection] = yield from _replicas(first, collection, peers)
            except DRError as e:
                yield failed(f"collection {collection.collection}", "replicas", e)
        yield from _listeners(placed, peers)
    yield from _names(config, wanted)
    yield from _redundancy(wanted, nodes=max(len(inventory.nodes), 1))
    yield from _storage(config, first, wanted)


def _method(config: Config, peers: int) -> Iterator[CheckRow]:
    """Measured on Qdrant 1.18.3: a full snapshot in a cluster is answered 200, with one node's
    shards in it."""
    if config.capture.method == "full":
        error = ConfigInvalid(
            f"`capture.method: full` in a cluster of {peers}: Qdrant would answer 200 and snapshot "
            "one node only",
            "use `capture.method: auto`: it takes every shard from a node that has it.",
        )
        yield failed(CLUSTER, "method", error)


def _names(config: Config, wanted: Sequence[CollectionFacts]) -> Iterator[CheckRow]:
    """Names that a server takes, and makes no snapshot of."""
    method = "collection" if config.capture.method == "auto" else config.capture.method
    for collection in wanted:
        if words := name_refusal(collection, method):
            why, _, way_out = words.partition(": ")
            yield degraded(f"collection {collection.collection}", "name", why, f"{way_out}.")


def _replicas(
    first: Node, collection: CollectionFacts, peers: Mapping[int, NodeFacts]
) -> Generator[CheckRow, None, tuple[ShardState, ...]]:
    """The replicas of one collection as all nodes see them together (returned), and what is wrong
    with them."""
    scope = f"collection {collection.collection}"
    seen = []
    for facts in peers.values():
        with first.at(facts.url) as node:
            seen.append(placement(node, collection.collection))
    together = joint(seen)
    cover = choose_replicas(together.replicas, reached=peers, load={}, listeners=True)
    for refusal in cover.refusals:
        error = ServerFailed(
            refusal, "no backup of it can be made before a whole replica is back: see its nodes."
        )
        yield failed(scope, "replicas", error)
    lacking = [r for r in together.replicas if r.state not in (*READABLE_STATES, LISTENER)]
    if lacking:
        words = ", ".join(f"shard {r.shard} on peer {peer_of(r)} is {r.state}" for r in lacking)
        yield degraded(
            scope, "replicas", words, "Qdrant heals it from another replica; read that node's log."
        )
    for words in together.differ.values():
        yield degraded(scope, "replicas", words, "wait until the cluster agrees, then check again.")
    for words in together.refusals:
        yield degraded(scope, "replicas", words, "no backup is made meanwhile; check again later.")
    if together.transfers:
        yield degraded(
            scope,
            "replicas",
            f"{len(together.transfers)} shard transfers are under way",
            "a backup waits for them a little, then is taken and marked; without a log it is not.",
        )
    only = _only_on_listeners(together.replicas)
    if only:
        yield degraded(
            scope,
            "replicas",
            f"shards {only} are whole on a listener only: captured only while it rests",
            "bring a replica back on a normal node.",
        )
    moving = together.refusals or together.transfers
    if not (cover.refusals or lacking or together.differ or moving or only):
        shards = len({r.shard for r in together.replicas})
        taken = len(cover.takes)
        yield ok(scope, "replicas", f"{shards} shards, all whole, taken from {taken} nodes")
    return together.replicas


def _only_on_listeners(replicas: Sequence[ShardState]) -> list[int]:
    normal = {r.shard for r in replicas if r.state in READABLE_STATES}
    return sorted({r.shard for r in replicas if r.state == LISTENER} - normal)


def _listeners(
    placed: Mapping[str, Sequence[ShardState]], peers: Mapping[int, NodeFacts]
) -> Iterator[CheckRow]:
    """Listeners are the usual advice for backups; measured on Qdrant 1.18.3, in 30 of 34 tries
    archives of them (or of single shards) taken while the optimizer worked had deleted points."""
    held = Counter(
        peer_of(r) for replicas in placed.values() for r in replicas if r.state == LISTENER
    )
    for peer, shards in sorted(held.items()):
        where = f"node {peers[peer].url}" if peer in peers else f"peer {peer}"
        yield degraded(
            where,
            "listener",
            f"a listener ({shards} shards): its snapshots hold no write-ahead log, and while the "
            "optimizer works they bring deleted points back",
            "qdrant-dr takes the shards from normal nodes; use no snapshot of this node made by "
            "other means without counting its points.",
        )


def _redundancy(wanted: Sequence[CollectionFacts], nodes: int) -> Iterator[CheckRow]:
    """Not a fault: what is known of how much hangs on the backups."""
    single = [
        c.collection
        for c in wanted
        if (c.info["config"]["params"].get("replication_factor") or 1) == 1
    ]
    if single:
        some = ", ".join(single[:3]) + (f" and {len(single) - 3} more" if len(single) > 3 else "")
        why = "there is one node" if nodes == 1 else "replication factor 1"
        yield ok(CLUSTER, "redundancy", f"{why}: a backup is the only second copy of {some}")


def _storage(config: Config, first: Node, wanted: Sequence[CollectionFacts]) -> Iterator[CheckRow]:
    """Servers that store snapshots in S3 state no checksum: then the bucket must be known."""
    if config.cluster.snapshots_s3 is not None:
        return
    for collection in wanted:
        try:
            there = list_snapshots(first, collection.collection)
        except DRError as e:
            yield failed(f"collection {collection.collection}", "snapshots", e)
            return
        if bare := [s.name for s in there if s.checksum is None]:
            yield degraded(
                CLUSTER,
                "snapshots",
                f"{bare[0]} has no checksum: the servers seem to store snapshots in S3 themselves, "
                "where nothing vouches for a download",
                "set `cluster.snapshots_s3` to their bucket, or let them store snapshots locally.",
            )
            return
        if there:
            return  # all are stored alike
