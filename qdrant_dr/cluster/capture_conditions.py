"""Decide whether a collection may be captured now, and whether the capture held. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from qdrant_dr.cluster.facts import LISTENER, READABLE_STATES, CollectionFacts
from qdrant_dr.cluster.incarnation import changed_life
from qdrant_dr.cluster.names import WAY_OUT, longest_captured, too_long
from qdrant_dr.errors import ArchiveForeign, ArchiveInvalid, ReplicaMoved
from qdrant_dr.records.manifest import Method

WITHOUT_WAL: frozenset[Method] = frozenset({"shard", "stream"})


@dataclass(frozen=True, slots=True)
class Preflight:
    """`refusals`: no usable archive is possible. `doubts`: it is captured, marked and reported.

    `unsettled`: states in which an archive without WAL must not be taken; if they do not pass, they
    become refusals.
    """

    refusals: tuple[str, ...]
    unsettled: tuple[str, ...]
    doubts: tuple[str, ...]


def preflight(facts: CollectionFacts, *, method: Method = "collection") -> Preflight:
    """Judge one collection, or chosen shards of it, on one node before its capture."""
    return Preflight(
        tuple(_refusals(facts, method)), tuple(_unsettled(facts, method)), tuple(_doubts(facts))
    )


def check_gates(
    before: CollectionFacts, after: CollectionFacts, *, without_wal: Collection[int] = ()
) -> tuple[str, ...]:
    """Say what changed during a capture that must not; empty if all gates hold.

    Writes may happen: rising operation numbers and counts break no gate, except for shards taken
    `without_wal`: without a WAL an archive cannot delete again what was deleted during an
    optimization, so it holds those points (measured on Qdrant 1.18.3). Transfers do not harm an
    archive with a WAL either: a shard that is being sent takes every write (shards/shard.rs there).
    """
    broken = list(changed_life(before, after))
    shards = sorted(before.shard_ids), sorted(after.shard_ids)
    if shards[0] != shards[1]:
        broken.append(f"shards changed from {shards[0]} to {shards[1]}")
    broken += lost_replicas(before, after, without_wal=without_wal)
    for facts, when in ((before, "before"), (after, "after")):
        if facts.transfers and without_wal:
            broken.append(f"{len(facts.transfers)} shard transfers were under way {when} it")
        if facts.resharding:
            broken.append(f"resharding was under way {when} it")
    if without_wal:
        broken += _not_still(before, after, without_wal)
    return tuple(broken)


def lost_replicas(
    before: CollectionFacts, after: CollectionFacts, *, without_wal: Collection[int] = ()
) -> tuple[str, ...]:
    """Return captured replicas that may have been incomplete: they must be taken again, from where
    they are complete now."""
    now = {r.shard: r.state for r in after.shards}
    away = {shard for shard, _ in _moved(before, after, without_wal)}
    return tuple(
        f"replicas changed: shard {r.shard} went from {r.state} to {now.get(r.shard, 'absent')}"
        for r in before.shards
        if now.get(r.shard) != r.state and r.shard not in away
    )


def moved_away(
    before: CollectionFacts, after: CollectionFacts, *, without_wal: Collection[int] = ()
) -> tuple[str, ...]:
    """Return replicas that moved to another node after their archive was made.

    The archive still holds the state after its operation number, and its `replica_state.json`,
    written last, says that the replica was complete; only the facts after the capture are missing.
    """
    return tuple(
        f"the replica of shard {shard} was moved from {before.node} to {peers} after its archive "
        "was made: its operation number and count could not be read again"
        for shard, peers in _moved(before, after, without_wal)
    )


def _moved(
    before: CollectionFacts, after: CollectionFacts, without_wal: Collection[int]
) -> list[tuple[int, str]]:
    """Return shards that are gone from here and complete elsewhere, with the peers."""
    here = {r.shard for r in after.shards}
    found = []
    for r in before.shards:
        full = [
            f"peer {o.peer_id}"
            for o in after.replicas
            if o.shard == r.shard and not o.local and o.state in READABLE_STATES
        ]
        if r.shard not in here and full and r.shard not in without_wal:
            found.append((r.shard, ", ".join(sorted(full))))
    return found


def full_replica(state: Mapping[str, Any], peer: int, where: str) -> None:
    """Judge the `replica_state.json` of an archive: the facts before and after a capture show
    neither which node answered in between, nor a replica that was lost and recreated meanwhile.

    Raise ArchiveForeign if another peer made it, ReplicaMoved if its replica was not complete.
    """
    maker = state.get("this_peer_id")
    if maker != peer:
        raise ArchiveForeign(
            f"{where} was made by peer {maker}, but peer {peer} was asked",
            "if the node's address is that of a load balancer, configure each node's own address.",
        )
    peers = state.get("peers")
    if not isinstance(peers, dict):
        raise ArchiveInvalid(f"replica_state.json of {where} is not what Qdrant writes")
    if (found := peers.get(str(peer), "absent")) not in {*READABLE_STATES, LISTENER}:
        raise ReplicaMoved(f"{where} was taken while its replica was {found}: it is incomplete")


def moved_elsewhere(before: CollectionFacts, after: CollectionFacts) -> tuple[str, ...]:
    """Return replicas on other nodes that changed meanwhile: reported, but harmless here."""
    was, now = _others(before), _others(after)
    return tuple(
        f"shard {shard} on peer {peer} went from {was.get((shard, peer), 'absent')} to "
        f"{now.get((shard, peer), 'absent')} during the capture"
        for shard, peer in sorted(was.keys() | now.keys())
        if was.get((shard, peer)) != now.get((shard, peer))
    )


def _not_still(
    before: CollectionFacts, after: CollectionFacts, shards: Collection[int]
) -> list[str]:
    broken = []
    if not before.resting:
        broken.append(f"it was not settled (status {before.status}), and its archive has no WAL")
    for shard in sorted(shards):
        was = before.operations.get(shard), before.counts.get(shard)
        now = after.operations.get(shard), after.counts.get(shard)
        if None in was or was != now:
            broken.append(
                f"shard {shard} went from operation {was[0]} with {was[1]} points to {now[0]} with "
                f"{now[1]}, and its archive has no WAL: deleted points may be back in it"
            )
    return broken


def _refusals(facts: CollectionFacts, method: Method) -> list[str]:
    refusals = [
        f"shard {s.shard} is {s.state} on this node: not a complete copy"
        for s in facts.shards
        if s.state not in READABLE_STATES and s.state != LISTENER
    ]
    if not facts.shards:
        refusals.append("this node has no shard of it")
    elif gone := sorted((facts.chosen or set()) - {s.shard for s in facts.shards}):
        refusals.append(f"shards {gone} are no longer on this node")
    if facts.resharding:
        refusals.append("resharding is under way: points may be in two shards")
    if long := name_refusal(facts, method, surely=True):
        refusals.append(long)
    return refusals


def _unsettled(facts: CollectionFacts, method: Method) -> list[str]:
    listening = [s.shard for s in facts.shards if s.state == LISTENER]
    if method not in WITHOUT_WAL and not listening:
        return []
    what = f"method {method}" if method in WITHOUT_WAL else f"a listener's shard {listening}"
    found = []
    if not facts.resting:
        # measured on 1.18.3: such archives then hold points that had been deleted
        found.append(f"it is not settled (status {facts.status}), and {what} has no WAL")
    if facts.transfers:
        found.append(f"{_transfers(facts)}, and {what} has no WAL")
    if any(s.operation is None or s.count is None for s in facts.shards):
        found.append(
            f"without operation numbers or counts nothing shows that it is settled, as {what} needs"
        )
    return found


def _doubts(facts: CollectionFacts) -> list[str]:
    doubts = []
    if facts.status == "red":
        doubts.append(f"status is red (optimizer: {facts.optimizer_status})")
    if listening := [s.shard for s in facts.shards if s.state == LISTENER]:
        doubts.append(f"shards {listening} come from a listener: no other replica is complete")
    if facts.transfers:
        doubts.append(_transfers(facts))
    if facts.deferred_points:
        doubts.append(
            f"{facts.deferred_points} deferred points are in the archive but not readable"
        )
    if any(s.operation is None for s in facts.shards):
        doubts.append("the server reports no operation numbers: consistency cannot be shown")
    if uncounted := [s.shard for s in facts.shards if s.count is None]:
        doubts.append(f"shards {uncounted} could not be counted ({'; '.join(facts.notes)})")
    return doubts


def name_refusal(facts: CollectionFacts, method: Method, *, surely: bool = False) -> str | None:
    """Say why no snapshot can be made of a collection with this name, and what to do; else None.

    A node that does not report its peer id gets the benefit of the doubt.
    """
    shard = max((s.shard for s in facts.shards), default=0)
    longest = longest_captured(method, peer_id=facts.peer_id, shard=shard, surely=surely)
    if not too_long(facts.collection, longest):
        return None
    return (
        f"its name has {len(facts.collection.encode())} bytes; a server makes no snapshot of a "
        f"collection with a name longer than {longest}: {WAY_OUT}"
    )


def _transfers(facts: CollectionFacts) -> str:
    return f"{len(facts.transfers)} shard transfers are under way"


def _others(facts: CollectionFacts) -> dict[tuple[int, int | None], str]:
    return {(r.shard, r.peer_id): r.state for r in facts.replicas if not r.local}
