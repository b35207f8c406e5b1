"""What the create calls of a capture made on nodes: deleted where it lies, else named with the node
that has it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from qdrant_dr.cluster import SnapshotScope, cluster_view, delete_own_snapshot
from qdrant_dr.cluster.snapshots import GONE
from qdrant_dr.cluster.source_nodes import AnsweringNode
from qdrant_dr.cluster.topology import address_of
from qdrant_dr.errors import ClusterError
from qdrant_dr.jobs.run.call_journal import CallJournal
from qdrant_dr.records import KeptSnapshot, ListedSnapshot


@dataclass(frozen=True, slots=True)
class Creation:
    """One create call that was answered: what may be deleted once the backup is safe. `number`
    counts the calls of the capture."""

    number: int
    source: AnsweringNode
    scope: SnapshotScope
    answer: ListedSnapshot
    listed_before: tuple[ListedSnapshot, ...]
    asked_at: datetime
    answered_at: datetime


def delete_created(
    created: Sequence[Creation], peers: Mapping[str, str], journal: CallJournal, backup_id: str
) -> tuple[str, tuple[KeptSnapshot, ...]]:
    """Delete them; "deleted", or what was kept and why, and what lies where. `peers` are addresses
    as configured, by peer id."""
    said: list[str] = []
    kept: list[KeptSnapshot] = []
    for one in created:
        result, home = delete_one(one, peers)
        if result == "deleted":
            journal.forget(backup_id, one.number)
            continue
        said.append(result if len(created) == 1 else f"{one.source.node.url}: {result}")
        if not result.endswith(GONE):
            kept.append(_kept(one, home))
    return "; ".join(said) or "deleted", tuple(kept)


def delete_one(one: Creation, peers: Mapping[str, str]) -> tuple[str, str]:
    """Delete what one call made: "deleted", or why it was kept; and the node that has it."""
    url = one.source.node.url
    try:
        other, home = _now_at(one.source, peers)
    except ClusterError as e:
        return f"kept: {e.message}", url
    if other is None:
        said = delete_own_snapshot(one.source.node, one.scope, one.answer, one.listed_before)
        return said, home
    return (
        f"kept: {url} is answered by peer {other} now, {one.answer.name} lies on peer "
        f"{one.source.about.peer_id}: name every node by its own address"
    ), home


def all_kept(created: Sequence[Creation]) -> tuple[KeptSnapshot, ...]:
    """Name every snapshot that stays on its node because its backup is not safe yet."""
    return tuple(_kept(one, one.source.node.url) for one in created)


def _kept(one: Creation, node: str) -> KeptSnapshot:
    return KeptSnapshot(
        node=node, collection=one.scope.collection, shard=one.scope.shard, name=one.answer.name
    )


def _now_at(source: AnsweringNode, peers: Mapping[str, str]) -> tuple[int | None, str]:
    """Which other peer answers at the address that was asked, if one does (a load balancer has
    many), and the best address of the peer that was."""
    mine, url = source.about.peer_id, source.node.url
    if mine is None:
        return None, url
    now = cluster_view(source.node).peer_id
    if now == mine or now is None:
        return None, url
    return now, address_of(source.about.view, mine, peers) or url
