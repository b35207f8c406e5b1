"""Compare the point counts of a shard's replicas, before each capture."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta

from qdrant_dr.cluster import Node
from qdrant_dr.cluster.facts import ShardState
from qdrant_dr.cluster.replicas import Held, agree, behind, held_by, several, still
from qdrant_dr.cluster.topology import peer_of
from qdrant_dr.records.manifest import ReplicaCount

PATIENCE = timedelta(seconds=30)
"""How long to wait for a doubtful state before the capture continues and reports it."""


@dataclass(slots=True)
class Counting:
    """Counts of one collection's replicas, repeated until they agree or nothing changes."""

    collection: str
    _rounds: dict[int, list[tuple[Held, ...]]] = field(default_factory=dict)

    def ask(
        self,
        replicas: Iterable[ShardState],
        nodes: Mapping[int, Node],
        shards: Collection[int] | None = None,
    ) -> None:
        """Count once more, on each node at once, for the shards that are not decided yet."""
        every = [r for r in replicas if shards is None or r.shard in shards]
        holders = several(every, nodes)
        self._rounds = {n: rounds for n, rounds in self._rounds.items() if n in holders}
        states = {(r.shard, peer_of(r)): r.state for r in every}
        asked = {
            peer: {
                shard: states[shard, peer]
                for shard, peers in holders.items()
                if peer in peers and not self._decided(shard, peers)
            }
            for peer in nodes
        }
        asked = {peer: wanted for peer, wanted in asked.items() if wanted}
        if not asked:
            return
        with ThreadPoolExecutor(len(asked)) as pool:
            answers = pool.map(
                lambda peer: held_by(nodes[peer], peer, self.collection, asked[peer]), asked
            )
        found: dict[int, list[Held]] = {}
        for held in (h for answer in answers for h in answer):
            found.setdefault(held.shard, []).append(held)
        for shard, of_shard in found.items():
            self._rounds.setdefault(shard, []).append(tuple(of_shard))

    @property
    def undecided(self) -> bool:
        """Say whether another round may still show that they agree."""
        return any(not _decided(rounds) for rounds in self._rounds.values())

    @property
    def apart(self) -> tuple[ReplicaCount, ...]:
        """Return every replica of the shards whose replicas differ although nothing is written."""
        return tuple(
            ReplicaCount(shard=r.shard, peer_id=r.peer, node=r.node, points=r.points)
            for rounds in self._rounds.values()
            if still(rounds) and not agree(rounds[-1])
            for r in rounds[-1]
            if r.points is not None
        )

    @property
    def behind(self) -> frozenset[tuple[int, int]]:
        """Return shard and peer of replicas not to capture because another one holds more."""
        return behind(r for rounds in self._rounds.values() for r in rounds[-1])

    @property
    def doubts(self) -> tuple[str, ...]:
        """Say what could not be decided."""
        return tuple(
            words
            for shard, rounds in self._rounds.items()
            if not _decided(rounds)
            for words in _undecided(shard, rounds[-1])
        )

    def _decided(self, shard: int, peers: Sequence[int]) -> bool:
        rounds = self._rounds.get(shard)
        if rounds is None or {r.peer for r in rounds[-1]} != set(peers):
            return False
        return _decided(rounds)


def apart_words(apart: Sequence[ReplicaCount], taken: Mapping[int, int | None]) -> tuple[str, ...]:
    """Say what the differing replicas of each shard hold, and which of them was captured (`taken`:
    shard to peer). Pure."""
    said = []
    for words, mine in zip(differing_counts(apart), _by_shard(apart).values(), strict=True):
        source = next((r for r in mine if r.peer_id == taken.get(r.shard)), None)
        which = "the fullest was taken"
        if source is None or source.points < mine[0].points:
            which = "it was NOT taken from the fullest, which could not give it"
        said.append(f"{words}: {which}")
    return tuple(said)


def differing_counts(apart: Sequence[ReplicaCount]) -> tuple[str, ...]:
    """Say what the replicas of each shard hold, shard by shard. Pure."""
    return tuple(
        f"the replicas of shard {shard} differ although nothing is written ("
        + ", ".join(f"{r.points} on {r.node}" for r in mine)
        + " points)"
        for shard, mine in _by_shard(apart).items()
    )


def _by_shard(apart: Sequence[ReplicaCount]) -> dict[int, list[ReplicaCount]]:
    """Group by shard, the fullest replica first."""
    return {
        shard: sorted((r for r in apart if r.shard == shard), key=lambda r: (-r.points, r.node))
        for shard in sorted({r.shard for r in apart})
    }


def _decided(rounds: Sequence[Sequence[Held]]) -> bool:
    return agree(rounds[-1]) or still(rounds)


def _undecided(shard: int, replicas: Sequence[Held]) -> Iterator[str]:
    if lost := [r for r in replicas if r.points is None]:
        for r in lost:
            yield (
                f"shard {shard} on {r.node} could not be counted ({r.why}): it could not be "
                "compared with its other replicas"
            )
        return
    if any(r.hidden for r in replicas):
        yield f"the replicas of shard {shard} could not be compared: some points are deferred"
        return
    held = ", ".join(f"{r.points} on {r.node}" for r in replicas)
    yield (
        f"the replicas of shard {shard} never had equal counts while it was written to (at last "
        f"{held} points): `qdrant-dr check --replicas whole` shows which points differ"
    )
