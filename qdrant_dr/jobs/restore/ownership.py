"""Is what lies on the target still what a restore left there? A journal alone is no proof of it.

No call tells one life of a name from the next. Half-made by a restore are shards that hold nothing
or all that they are to hold; whatever else is there, somebody else has made or filled.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster import CollectionFacts, collection_facts
from qdrant_dr.cluster.facts import same_vectors, vectors_text
from qdrant_dr.cluster.incarnation import fallen
from qdrant_dr.cluster.target import TargetFacts
from qdrant_dr.errors import (
    CollectionVanished,
    DRError,
    Interrupted,
    PlanRefused,
    ProofError,
    ServerFailed,
)
from qdrant_dr.jobs.restore.journal import Journal
from qdrant_dr.jobs.target.node_for_shard import TargetNodes
from qdrant_dr.records import Manifest, Seal

QUIET_SECONDS = 30.0
"""How long the log of a shard that was just recovered may still be replayed."""
_PAUSE = 0.5


def expected_points_by_shard(manifest: Manifest, seal: Seal | None) -> dict[str, int]:
    """Return the points of each shard once it is restored, as far as they are known."""
    if seal is not None:
        return {str(s.shard): s.points for s in seal.shards}
    return {str(s.shard): s.count_after for s in manifest.shards if s.count_after is not None}


def vectors_of(manifest: Manifest) -> str:
    """Return the text of the vectors that the collection is to have."""
    return vectors_text(manifest.params)


def must_be_unused(left: Journal, target: TargetFacts, nodes: TargetNodes) -> None:
    """Raise PlanRefused if what the restore of `left` made may be somebody's by now."""
    broken, where = left.name in target.broken, f"{left.name!r} on {left.target}"
    why = None
    if left.whole and broken:
        why = f"{where} was restored in whole, and is broken since"
    elif left.proven is not None:
        pass
    elif left.name in target.aliases.values():
        why = f"{where} is in use by an alias, though the restore that made it did not end"
    elif not broken and (foreign := not_ours(nodes, left)):
        why = (
            f"{where} is not as the restore of {left.backup} that began "
            f"{left.began_at:%Y-%m-%d %H:%M:%S} UTC can have left it ({'; '.join(foreign)}): "
            "somebody may use it, and it is not touched"
        )
    if why is not None:
        raise PlanRefused(
            why,
            "delete that collection if it is not needed and run it again, or restore with `--as`.",
        )


def why_kept(now: Journal, nodes: TargetNodes, error: DRError, *, resumed: bool) -> str | None:
    """Say why a collection stays although the restore that was to make it failed."""
    if isinstance(error, PlanRefused) and not resumed:
        return "this restore did not make it"
    try:
        if now.route == "salvage" and not _is_empty(nodes, now.name):
            return "what a salvage wrote is not removed; it is NOT all that was backed up"
        foreign = [] if now.recovered else not_ours(nodes, now)
    except ServerFailed:
        return None  # listed and broken, as after a recovery that failed half-way
    if foreign:
        return f"somebody else made or filled it meanwhile ({'; '.join(foreign)})"
    if resumed and isinstance(error, ProofError):
        return (
            "it was begun by an earlier run and may be in use since; it is NOT what was backed "
            "up: delete it if it is not needed"
        )
    return None


def not_ours(nodes: TargetNodes, left: Journal) -> list[str]:
    """Say why the collection is not, or not only, what the restore of `left` put there."""
    deadline = time.monotonic() + QUIET_SECONDS
    while True:
        every = _facts(nodes, left.name)
        why = [words for facts in every for words in _foreign(facts, left)]
        queued = any(facts.queue_length for facts in every)
        if not why or not queued or time.monotonic() > deadline:
            return list(dict.fromkeys(why))
        if stopping.wait(_PAUSE):
            raise Interrupted(f"asked to stop while {left.name!r} was looked at")


def operations_of(nodes: TargetNodes, name: str) -> dict[str, int | None]:
    """Return the operation number of every replica, by node and shard."""
    return {
        f"{facts.node} {shard}": number
        for facts in _facts(nodes, name)
        for shard, number in facts.operations.items()
    }


def since_proven(left: Mapping[str, int | None], now: Mapping[str, int | None]) -> str | None:
    """Say what changed in a collection since its content was proven; None if nothing did.

    Raise PlanRefused if it is another collection of that name.
    """
    numbers = dict(enumerate(left.values()))
    found = {n: now.get(where) for n, where in enumerate(left)}
    if fallen(numbers, found) or (left and not left.keys() & now.keys()):
        raise PlanRefused(
            "the collection of that name is not the one that was proven before the restore was "
            "interrupted: it was made anew since",
            "restore with `--as`, or over it with `--into-existing`.",
        )
    if left == now and None not in left.values():
        return None
    return "it was written to since its content was proven, before this restore was interrupted"


def _facts(nodes: TargetNodes, name: str) -> list[CollectionFacts]:
    found = []
    for node in nodes.by_peer.values():
        try:
            found.append(collection_facts(node, name))
        except CollectionVanished:
            continue  # a follower that has not heard of it yet holds nothing of it
    return found


def _foreign(facts: CollectionFacts, left: Journal) -> list[str]:
    why = []
    if left.vectors and not same_vectors(facts.vectors, left.vectors):
        why.append("it has other vectors")
    for shard in facts.shards:
        wanted = left.holds.get(str(shard.shard))
        if shard.count and shard.count != wanted:
            known = "what a salvage wrote stays" if wanted is None else f"restored it has {wanted}"
            why.append(f"shard {shard.shard} holds {shard.count} points, {known}")
    return why


def _is_empty(nodes: TargetNodes, name: str) -> bool:
    """Whether no shard on any of these nodes holds a point, and all could be counted."""
    return all(facts.exact_points == 0 for facts in _facts(nodes, name))
