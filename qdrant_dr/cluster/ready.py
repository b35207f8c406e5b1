"""Wait until a restored collection may be compared: until no node reports anything missing."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from qdrant_dr.cancel import rest
from qdrant_dr.cluster.facts import READABLE_STATES, CollectionFacts, collection_facts
from qdrant_dr.cluster.node import Node, path_of
from qdrant_dr.errors import CollectionVanished, Interrupted, RecoverFailed, ServerFailed

CALM_SECONDS = 0.2
STUCK_SECONDS = 120.0
"""Replicas that wait for each other show no transfer and no change for this long: they never
will."""
SETTLE_SECONDS = 1.0
"""A recovery answers before the cluster knows that the other replicas are out of date (Qdrant sends
this without waiting: snapshots.rs of 1.18.3); until then they are wrongly shown as Active."""


def wait_ready(
    node: Node,
    collection: str,
    *,
    timeout: timedelta | None = None,
    stop: threading.Event | None = None,
) -> CollectionFacts:
    """Wait for a target of one node, as `wait_restored`."""
    return wait_restored({None: node}, collection, timeout=timeout, stop=stop)


def wait_shown(node: Node, collection: str) -> bool:
    """Wait until a server hides no points (`prevent_unoptimized` does until they are optimised), as
    long as it may be busy. Return whether there was anything to wait for."""
    limit = time.monotonic() + node.timeouts.busy.total_seconds()
    waited = False
    while _hidden(node, collection) and time.monotonic() < limit:
        waited = True
        rest(CALM_SECONDS)
    return waited


def _hidden(node: Node, collection: str) -> int:
    info = node.ask(
        "GET", path_of(collection), f"read its information of {collection!r}",
        collection=collection,
    )  # fmt: skip
    return (info.get("update_queue") or {}).get("deferred_points") or 0


def wait_restored(
    nodes: Mapping[int | None, Node],
    collection: str,
    *,
    timeout: timedelta | None = None,
    stop: threading.Event | None = None,
) -> CollectionFacts:
    """Wait until all of a restored collection is readable, and return the first node's facts.

    After the 200 of a recovery the rest of its log is still queued, deferred points are not
    readable yet, and other replicas are fetching their data. So on every node: queue empty, no
    transfer, every replica Active; and replicas on several nodes must hold equally many points, as
    states alone are not believed. Raise RecoverFailed with what is missing when a node is red
    (which stays), when

    replicas stop making progress, or when time is up; Interrupted if `stop` is set.
    """
    limit = (timeout or next(iter(nodes.values())).timeouts.snapshot).total_seconds()
    settle = SETTLE_SECONDS if len(nodes) > 1 else 0.0
    started = moved = calm = time.monotonic()
    before: list[str] = []
    while True:
        missing, moving = _missing(nodes, collection)
        now = time.monotonic()
        if missing:
            calm = now
        elif now - calm >= settle:
            facts = [collection_facts(node, collection) for node in nodes.values()]
            if not (missing := _unequal(facts)):
                return facts[0]
        else:
            missing = ["it has not been stable for a second yet"]
        if moving or missing != before:
            moved = now
        before = missing
        stays = any("status is red" in words for words in missing)
        if stays or now - started >= limit or now - moved >= STUCK_SECONDS:
            raise RecoverFailed(
                f"{collection!r} is not ready after {now - started:.1f} s: " + "; ".join(missing)
            )
        if (stop or threading.Event()).wait(CALM_SECONDS):
            raise Interrupted(f"asked to stop while {collection!r} was getting ready")


def not_ready(info: Mapping[str, Any], cluster: Mapping[str, Any]) -> tuple[str, ...]:
    """Say why reads on this node do not show all of a collection yet; empty if they do. Pure.

    `info` and `cluster` are the answers of `GET /collections/{c}` and `.../cluster`.
    """
    local, remote = cluster.get("local_shards") or (), cluster.get("remote_shards") or ()
    missing = [
        f"shard {s['shard_id']} is {s['state']}"
        + (f" on peer {s['peer_id']}" if "peer_id" in s else "")
        for s in (*local, *remote)
        if s["state"] not in READABLE_STATES
    ]
    if not local and not remote:
        missing.append("it has no shards")
    if transfers := cluster.get("shard_transfers"):
        missing.append(f"{len(transfers)} shard transfers are under way")
    queue = info.get("update_queue") or {}
    if queue.get("length"):
        missing.append(f"{queue['length']} updates are queued")
    if queue.get("deferred_points"):
        missing.append(f"{queue['deferred_points']} points are deferred")
    if info["status"] == "red":
        missing.append(f"status is red ({info.get('optimizer_status')})")
    return tuple(missing)


def _unequal(facts: Sequence[CollectionFacts]) -> list[str]:
    """List shards whose replicas do not hold equally many points."""
    counts: dict[int, dict[str, int | None]] = {}
    for seen in facts:
        for shard, count in seen.counts.items():
            counts.setdefault(shard, {})[seen.node] = count
    return [
        f"shard {shard} has " + ", ".join(f"{n} points on {url}" for url, n in found.items())
        for shard, found in sorted(counts.items())
        if len(set(found.values())) > 1
    ]


def _missing(nodes: Mapping[int | None, Node], collection: str) -> tuple[list[str], bool]:
    """List what is missing on each node; also say whether something is under way."""
    missing, moving = [], False
    for node in nodes.values():
        doing = f"read the progress of {collection!r}"
        try:
            info, cluster = (
                node.ask("GET", path_of(collection, *rest), doing, collection=collection)
                for rest in ((), ("cluster",))
            )
        except (CollectionVanished, ServerFailed) as e:
            if len(nodes) == 1:
                raise
            # a follower may not know the collection yet, or cannot read while shards are fetched
            missing.append(e.message)
            continue
        found = not_ready(info, cluster)
        missing += [f"{words} ({node.url})" for words in found]
        queue = info.get("update_queue") or {}
        moving |= bool(
            cluster.get("shard_transfers") or queue.get("length") or queue.get("deferred_points")
        )
    return missing, moving
