"""What one node reports about one collection: taken before and after a capture, kept in records."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from qdrant_dr.cluster.answers import REPLICAS, parse_count, parse_optional, parse_text, understood
from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.cluster.scroll import ShardKey, count_by_scrolling
from qdrant_dr.errors import ServerFailed
from qdrant_dr.raw_settings import without_nulls

READABLE_STATES = frozenset({"Active", "ReshardingScaleDown"})
"""Replica states that hold all acknowledged writes and may serve as a source."""
LISTENER = "Listener"
"""The state of a replica that takes every write but answers no search. Its archives hold no WAL
(local_shard/snapshot.rs of Qdrant 1.18.3), so they are exact only while nothing is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardState:
    """One replica of one shard. `operation` and `count` are known for local replicas only.

    `operation` is the number of the last operation that changed this replica: the highest
    `segment_version` of its partial snapshot manifest (measured on Qdrant 1.18.3: the same
    `operation_id` that writes return; it survives restarts). Numbers of different nodes cannot be
    compared. None means that the node did not tell.
    """

    shard: int
    shard_key: str | None
    state: str
    local: bool
    peer_id: int | None
    operation: int | None = None
    count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the replicas of a collection are, as the node of `peer_id` sees it.

    `shard_count` includes shards without any replica, which are not in `replicas`: this happens
    when the last holder of a shard is removed from the cluster by force (measured on Qdrant
    1.18.3). None if the server does not say."""

    node: str
    peer_id: int | None
    replicas: tuple[ShardState, ...]
    transfers: tuple[str, ...]
    resharding: tuple[str, ...]
    shard_count: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionFacts:
    """One collection as one node sees it. The raw texts keep every field of the server's version.

    `chosen` are the shards concerned, None for all on the node. `points_count` is the server's
    estimate (it can count a point twice); `counts` are exact. `queue_length`, `deferred_points` and
    `running_optimizations` are None if the server does not say. `notes` tell how a fact was
    obtained if not in the usual way."""

    collection: str
    node: str
    taken_at: datetime
    info_json: str
    cluster_json: str
    shard_keys_json: str
    aliases: tuple[str, ...]
    status: str
    optimizer_status: str
    points_count: int | None
    queue_length: int | None
    deferred_points: int
    running_optimizations: int | None
    strict_mode: bool
    max_query_limit: int | None
    peer_id: int | None
    shard_number: int
    sharding_method: str
    replicas: tuple[ShardState, ...]
    transfers: tuple[str, ...]
    resharding: tuple[str, ...]
    notes: tuple[str, ...] = ()
    chosen: frozenset[int] | None = None

    @property
    def info(self) -> dict[str, Any]:
        """Return `GET /collections/{c}`, parsed."""
        return dict(json.loads(self.info_json))

    @property
    def vectors(self) -> str:
        """Return the text of the vector parameters, to compare with `same_vectors`."""
        return vectors_text(self.info["config"]["params"])

    @property
    def shard_keys(self) -> tuple[ShardKey | None, ...]:
        """Return the keys of custom sharding, each of which has ids of its own; None alone without
        custom sharding."""
        told = (json.loads(self.shard_keys_json) or {}).get("shard_keys") or ()
        return tuple(k["key"] for k in told) if self.sharding_method == "custom" else (None,)

    @property
    def shards(self) -> tuple[ShardState, ...]:
        """Return the local replicas concerned, by shard id."""
        return tuple(
            r for r in self.replicas if r.local and (self.chosen is None or r.shard in self.chosen)
        )

    @property
    def shard_ids(self) -> frozenset[int]:
        """Return every shard of the collection, on whatever node."""
        return frozenset(r.shard for r in self.replicas)

    @property
    def operations(self) -> dict[int, int | None]:
        """Return the operation number of each of `shards`."""
        return {s.shard: s.operation for s in self.shards}

    @property
    def counts(self) -> dict[int, int | None]:
        """Return the exact number of points of each of `shards`."""
        return {s.shard: s.count for s in self.shards}

    @property
    def exact_points(self) -> int | None:
        """Return the points of all `shards`; None if one of them could not be counted."""
        counts = [s.count for s in self.shards]
        return None if None in counts else sum(c for c in counts if c is not None)

    @property
    def resting(self) -> bool:
        """Say whether it is green, with nothing queued or being optimized: settled, unless
        something changes."""
        return self.status == "green" and not self.queue_length and self.running_optimizations == 0


def vectors_text(params: Mapping[str, Any]) -> str:
    """Return the text of the vector parameters in a collection's `params`, every key of them."""
    return json.dumps([params.get("vectors"), params.get("sparse_vectors")], sort_keys=True)


def same_vectors(one: str, two: str) -> bool:
    """Say whether two of these texts mean the same: a later server may add keys that are null."""
    both = ([without_nulls(v) or None for v in json.loads(text)] for text in (one, two))
    return next(both) == next(both)


@understood("read where the shards of a collection lie")
def placement(node: Node, collection: str) -> Placement:
    """Ask one node where the replicas are: one call, however large the collection is.

    Raise CollectionVanished, NodeUnreachable, AccessDenied or ServerFailed.
    """
    cluster = node.ask(
        "GET", path_of(collection, "cluster"), f"read where the shards of {collection!r} lie",
        collection=collection,
    )  # fmt: skip
    return _placement(node.url, cluster)


@understood("read what it knows of a collection")
def collection_facts(
    node: Node, collection: str, shards: Collection[int] | None = None
) -> CollectionFacts:
    """Ask one node everything about one collection, or about some of its shards.

    Exact counts are taken before operation numbers, so that a write in between shows as a higher
    number and never as a count of a later state.
    Raise CollectionVanished, NodeUnreachable, AccessDenied or ServerFailed.
    """
    return _facts(node, collection, shards)


def _facts(
    node: Node,
    collection: str,
    shards: Collection[int] | None,
    *,
    earlier: CollectionFacts | None = None,
) -> CollectionFacts:
    def get(*rest: str) -> Any:
        about = rest[-1] if rest else "its information"
        return node.ask(
            "GET", path_of(collection, *rest), f"read {about} of {collection!r}",
            collection=collection,
        )  # fmt: skip

    info, cluster = get(), get("cluster")
    if earlier is None:
        keys = _text(get("shards"))
        aliases = tuple(sorted(parse_text(a["alias_name"]) for a in get("aliases")["aliases"]))
    else:
        keys, aliases = earlier.shard_keys_json, earlier.aliases
    strict = info["config"].get("strict_mode_config") or {}
    limit = _learned(node, collection, info)
    queue = info.get("update_queue") or {}
    notes: list[str] = []
    placed = _placement(node.url, cluster)
    chosen = None if shards is None else frozenset(shards)
    replicas = [
        _asked(node, collection, r, limit, notes)
        if r.local and (chosen is None or r.shard in chosen)
        else r
        for r in placed.replicas
    ]
    params = info["config"]["params"]
    return CollectionFacts(
        collection=collection,
        node=node.url,
        taken_at=datetime.now(UTC),
        info_json=_text(info),
        cluster_json=_text(cluster),
        shard_keys_json=keys,
        aliases=aliases,
        status=parse_text(info["status"]),
        optimizer_status=_optimizer(info.get("optimizer_status")),
        points_count=parse_optional(parse_count, info.get("points_count")),
        queue_length=parse_optional(parse_count, queue.get("length")),
        deferred_points=parse_optional(parse_count, queue.get("deferred_points")) or 0,
        running_optimizations=running_optimizations(node, collection) if earlier is None else None,
        strict_mode=bool(strict.get("enabled")),
        max_query_limit=limit,
        peer_id=placed.peer_id,
        shard_number=parse_count(params.get("shard_number", 1)),
        sharding_method=parse_text(params.get("sharding_method") or "auto"),
        replicas=tuple(replicas),
        transfers=placed.transfers,
        resharding=placed.resharding,
        notes=tuple(notes),
        chosen=chosen,
    )


@understood("read what it knows of a collection")
def facts_after(node: Node, before: CollectionFacts) -> CollectionFacts:
    """Ask for what the gates compare with the facts before a capture, about the same shards.

    What they do not look at again is not asked again: aliases and shard keys are as before, and
    `running_optimizations` is None, so these facts are never `resting`. Raises what
    `collection_facts` does.
    """
    return _facts(node, before.collection, before.chosen, earlier=before)


@dataclass(frozen=True, slots=True)
class Operations:
    """The operation number of each shard asked for that is whole on this node, and whether some
    points are hidden."""

    numbers: Mapping[int, int | None]
    deferred_points: int
    max_query_limit: int | None


@understood("read the operation numbers")
def operations_now(node: Node, collection: str, shards: Collection[int]) -> Operations:
    """Ask one node which operations its replicas have applied: less than all facts, for who only
    needs to know that nothing was written. Raises what `collection_facts` does."""
    info = node.ask(
        "GET", path_of(collection), f"read its information of {collection!r}",
        collection=collection,
    )  # fmt: skip
    limit = _learned(node, collection, info)
    whole_ones = [
        r.shard
        for r in placement(node, collection).replicas
        if r.local and r.shard in shards and (r.state in READABLE_STATES or r.state == LISTENER)
    ]
    queue = info.get("update_queue") or {}
    return Operations(
        numbers={shard: operation_number(node, collection, shard) for shard in whole_ones},
        deferred_points=parse_optional(parse_count, queue.get("deferred_points")) or 0,
        max_query_limit=limit,
    )


def _learned(node: Node, collection: str, info: Mapping[str, Any]) -> int | None:
    """Learn how often it may be read; return the largest page that it allows."""
    strict = info["config"].get("strict_mode_config") or {}
    node.pace.learn(collection, strict)
    return (
        parse_optional(parse_count, strict.get("max_query_limit"))
        if strict.get("enabled")
        else None
    )


@understood("read the number of the last operation")
def operation_number(node: Node, collection: str, shard: int) -> int | None:
    """Return the number of the last operation that changed this node's replica, or None."""
    try:
        manifest = node.ask(
            "GET", path_of(collection, "shards", shard, "snapshot", "partial", "manifest"),
            f"read the operation number of shard {shard} of {collection!r}", collection=collection,
        )  # fmt: skip
    except ServerFailed:
        return None
    versions = [s.get("segment_version") for s in manifest.values()]
    known = [parse_count(v) for v in versions if v is not None]
    return max(known) if known else None


@understood("read which optimizations run")
def running_optimizations(node: Node, collection: str) -> int | None:
    """Return how many optimizations run now; None if the server has no such call."""
    try:
        found = node.ask(
            "GET", path_of(collection, "optimizations"),
            f"read the optimizations of {collection!r}", collection=collection,
        )  # fmt: skip
    except ServerFailed:
        return None
    return len(found.get("running") or ())


@understood("count a shard")
def exact_count(
    node: Node, collection: str, shard: int, *, limit: int | None, notes: list[str]
) -> int | None:
    """Count the points of one local shard. If strict mode forbids counting, scroll the ids."""
    doing = f"count shard {shard} of {collection!r}"
    try:
        result = node.read(
            path_of(collection, "shards", shard, "points", "count"), doing,
            collection=collection, json={"exact": True},
        )  # fmt: skip
    except ServerFailed as refusal:
        try:
            count = count_by_scrolling(node, collection, shard=shard, limit=limit)
        except ServerFailed:
            notes.append(f"shard {shard} could not be counted: {refusal.message}")
            return None
        notes.append(f"shard {shard} was counted by scrolling its ids")
        return count
    return parse_count(result["count"])


def _placement(url: str, cluster: Mapping[str, Any]) -> Placement:
    peer = parse_optional(parse_count, cluster.get("peer_id"))
    if len(cluster["local_shards"]) + len(cluster["remote_shards"]) > REPLICAS:
        raise ValueError("more replicas than any cluster has")
    local = sorted(cluster["local_shards"], key=lambda s: parse_count(s["shard_id"]))
    return Placement(
        node=url,
        peer_id=peer,
        replicas=(
            *(_replica(s, local=True, peer=peer) for s in local),
            *(
                _replica(s, local=False, peer=parse_count(s["peer_id"]))
                for s in cluster["remote_shards"]
            ),
        ),
        transfers=tuple(map(_text, cluster.get("shard_transfers") or ())),
        resharding=tuple(map(_text, cluster.get("resharding_operations") or ())),
        shard_count=parse_optional(parse_count, cluster.get("shard_count")),
    )


def _asked(
    node: Node, collection: str, replica: ShardState, limit: int | None, notes: list[str]
) -> ShardState:
    """Return the replica with its count and operation number, which an incomplete one lacks."""
    if replica.state not in READABLE_STATES and replica.state != LISTENER:
        return replica
    count = exact_count(node, collection, replica.shard, limit=limit, notes=notes)
    operation = operation_number(node, collection, replica.shard)
    return replace(replica, count=count, operation=operation)


def _replica(shard: Mapping[str, Any], *, local: bool, peer: int | None) -> ShardState:
    key = shard.get("shard_key")
    return ShardState(
        shard=parse_count(shard["shard_id"]), shard_key=None if key is None else str(key),
        state=parse_text(shard["state"]), local=local, peer_id=peer,
    )  # fmt: skip


def _optimizer(status: Any) -> str:
    return status if isinstance(status, str) else _text(status)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
