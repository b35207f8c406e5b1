"""What the cluster must allow: every node reached, versions, clocks, and what each key may do."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from datetime import timedelta
from urllib.parse import urlsplit

from qdrant_dr.cluster import (
    ClockOffset,
    Inventory,
    Node,
    NodeFacts,
    inventory_of,
    node_at,
    node_facts,
    probe_read_only,
)
from qdrant_dr.cluster.grpc_points import GrpcUnfit, grpc_points
from qdrant_dr.config import Config
from qdrant_dr.errors import AccessDenied, ClockSkew, CollectionVanished, DRError
from qdrant_dr.jobs.check.proof_engine import engine_row, version_row
from qdrant_dr.jobs.check.rows import CheckRow, degraded, failed, ok, skipped
from qdrant_dr.jobs.check.topology import topology_rows
from qdrant_dr.jobs.run.clocks import clock_text

CLUSTER = "cluster"


class ClusterCheck:
    """Checks the cluster; `inventory` is there afterwards if all of it could be read."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.inventory: Inventory | None = None

    def rows(self) -> Iterator[CheckRow]:
        """Yield one row for each thing tried; nodes first."""
        cluster = self._config.cluster
        try:
            reading = [node_at(cluster, url) for url in cluster.nodes]
        except DRError as e:
            yield failed(CLUSTER, "keys", e)
            return
        try:
            reached: list[NodeFacts] = []
            for node in reading:
                yield from self._node(node, reached)
            if not reached:
                yield skipped(CLUSTER, "collections", "no node answers")
                return
            urls = [facts.url for facts in reached]
            yield from self._collections([n for n in reading if n.url in urls])
            first = next(n for n in reading if n.url == urls[0])
            if self.inventory is not None:
                yield from self._peers(self.inventory, [n.url for n in reading])
                yield from topology_rows(self._config, first, self.inventory)
            yield from self._keys(first)
        finally:
            for node in reading:
                node.close()

    def _node(self, node: Node, reached: list[NodeFacts]) -> Iterator[CheckRow]:
        scope = f"node {node.url}"
        try:
            facts = node_facts(node)
        except DRError as e:
            yield failed(scope, "reach", e)
            return
        reached.append(facts)
        yield ok(scope, "reach", _what(facts))
        yield from self._about(facts)
        yield from _grpc(scope, node)

    def _about(self, facts: NodeFacts) -> Iterator[CheckRow]:
        """Yield what a node that answers says of itself."""
        scope = f"node {facts.url}"
        yield version_row(scope, facts.version, sandbox=facts.source_kind == "sandbox")
        yield engine_row(scope, facts.version)
        if facts.clock is None:
            yield skipped(scope, "clock", "not proven: the node tells no time")
        elif facts.clock.exceeds(self._config.cluster.clock_skew_limit):
            error = ClockSkew(f"{facts.url}: its clock is {clock_text(facts.clock)} from ours")
            yield failed(scope, "clock", error)
        else:
            yield ok(scope, "clock", f"{clock_text(facts.clock)} from ours")
        if facts.key_in_clear and not _loopback(facts.url):
            yield degraded(
                scope, "transport", "the key travels unencrypted", "use https:// for this node."
            )

    def _peers(self, inventory: Inventory, configured: Sequence[str]) -> Iterator[CheckRow]:
        """The peers that the nodes know and nobody configured, and what nodes differ in."""
        for facts in inventory.nodes:
            if facts.url not in configured:
                found = f"{_what(facts)}, peer {facts.peer_id}, found by its host"
                yield ok(f"node {facts.url}", "reach", found)
                yield from self._about(facts)
        for lost in inventory.unreached:
            if lost.what not in [f"node {url}" for url in configured]:  # those have a row
                yield failed(lost.what, "reach", lost.error)
        yield from _versions(inventory.nodes)
        yield from clocks_apart(inventory.nodes, self._config.cluster.clock_skew_limit)

    def _collections(self, nodes: Sequence[Node]) -> Iterator[CheckRow]:
        try:
            self.inventory = found = inventory_of(nodes, self._config.cluster.peers)
        except DRError as e:
            yield failed(CLUSTER, "collections", e)
            return
        rules = self._config.collections
        kept = [n for n in found.names if rules.decide(n).status == "included"]
        many = "collection" if len(found.names) == 1 else "collections"
        counted = f"{len(found.names)} {many}, {len(kept)} included"
        if kept:
            yield ok(CLUSTER, "collections", counted)
        else:
            yield degraded(
                CLUSTER, "collections", counted, "nothing would be backed up: see `collections:`."
            )
        for name in rules.expect:
            if name not in found.names:
                error = CollectionVanished(f"{name} is expected and not on the cluster")
                yield failed(CLUSTER, "expected", error)
        for unreadable in found.unreadable:
            yield failed(f"collection {unreadable.collection}", "read", unreadable.error)

    def _keys(self, node: Node) -> Iterator[CheckRow]:
        """The key of captures must be able to write, the other one must not."""
        cluster = self._config.cluster
        names = self.inventory.names if self.inventory else ()
        writing = Node(node.url, None, cluster.api_key, cluster.timeouts, cluster.tls)
        try:
            if probe_read_only(writing).proven:
                error = AccessDenied(
                    f"{cluster.api_key or 'without a key, a client'} may only read: "
                    "no snapshot can be made",
                    "let `cluster.api_key` refer to a key that may write.",
                )
                yield failed(CLUSTER, "api_key", error)
            else:
                yield ok(CLUSTER, "api_key", "may make snapshots")
        except DRError as e:
            yield failed(CLUSTER, "api_key", e)
        finally:
            writing.close()
        if cluster.read_api_key is None:
            yield skipped(CLUSTER, "read_api_key", "none is configured: one key does all")
            return
        try:
            probe = probe_read_only(node, names)
        except DRError as e:
            yield failed(CLUSTER, "read_api_key", e)
            return
        if probe.proven:
            yield ok(CLUSTER, "read_api_key", f"reads only: {probe.tried} writes were forbidden")
        else:
            error = AccessDenied(
                f"{cluster.read_api_key} is no read-only key: it could {', '.join(probe.could)}",
                "let `cluster.read_api_key` refer to a read-only key.",
            )
            yield failed(CLUSTER, "read_api_key", error)


def _versions(nodes: Sequence[NodeFacts]) -> Iterator[CheckRow]:
    versions = sorted({facts.version for facts in nodes})
    if len(versions) > 1:
        yield degraded(
            CLUSTER,
            "versions",
            f"nodes run {', '.join(versions)}",
            "finish the upgrade; a snapshot of a newer node may not load on an older one.",
        )


def clocks_apart(nodes: Sequence[NodeFacts], limit: timedelta) -> Iterator[CheckRow]:
    """Compare the nodes' clocks with each other. Each may be near ours and two still too far apart:
    then the times of one backup's parts cannot be compared."""
    told = sorted(
        ((f.url, f.clock) for f in nodes if f.clock is not None), key=lambda t: t[1].offset_ms
    )
    if len(told) < 2:
        return
    (slow, behind), (fast, ahead) = told[0], told[-1]
    apart = ClockOffset(
        ahead.offset_ms - behind.offset_ms, ahead.uncertainty_ms + behind.uncertainty_ms
    )
    if apart.exceeds(limit):
        yield degraded(
            CLUSTER,
            "clocks",
            f"{fast} is {clock_text(apart)} ahead of {slow}",
            "synchronise the clocks of the nodes (NTP).",
        )


def check_scratch(config: Config) -> Iterator[CheckRow]:
    """Check the server that drills restore into, if one is configured."""
    scratch = config.drill.scratch
    if scratch is None:
        return
    scope = f"scratch {scratch.url}"
    if not scratch.disposable:
        yield degraded(
            scope, "declared", "it is not declared disposable: no drill will touch it",
            "set `drill.scratch.disposable: true` if everything on it may be lost.",
        )  # fmt: skip
    try:
        timeouts = config.cluster.timeouts
        node = Node(scratch.url, scratch.api_key, None, timeouts, scratch.tls)
        try:
            facts = node_facts(node)
        finally:
            node.close()
    except DRError as e:
        yield failed(scope, "reach", e)
        return
    no_rto = "; a drill there measures no RTO" if facts.source_kind == "sandbox" else ""
    yield ok(scope, "reach", _what(facts) + no_rto)


def _what(facts: NodeFacts) -> str:
    if facts.source_kind == "sandbox":
        return f"the sandbox, speaking as Qdrant {facts.version}"
    return f"Qdrant {facts.version}"


def _loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _grpc(scope: str, node: Node) -> Iterator[CheckRow]:
    """Over what restored content is read; nothing where gRPC was neither named nor found."""
    try:
        with grpc_points(node) as points:
            yield ok(scope, "content", f"read over gRPC at {points.address}")
    except GrpcUnfit as e:
        if node.grpc_port:
            yield degraded(
                scope, "content", f"read over REST, not gRPC: {e}",
                "set `cluster.grpc_port` to the port of this node's gRPC, or leave it out.",
            )  # fmt: skip
