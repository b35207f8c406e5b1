"""The live collection that points are to be written into, and every reason why not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qdrant_dr.cluster import CollectionFacts, Node
from qdrant_dr.cluster.incarnation import another_life, fallen, other_vectors
from qdrant_dr.cluster.serving import left_out, must_answer, whole_facts
from qdrant_dr.cluster.target import TargetFacts
from qdrant_dr.config import Config
from qdrant_dr.errors import PlanRefused
from qdrant_dr.jobs.target.open_target import facts_of
from qdrant_dr.raw_settings import cosine_vectors
from qdrant_dr.records import Manifest, UndoRecord
from qdrant_dr.records.undo import TargetThen


@dataclass(frozen=True)
class Live:
    """A collection that points can be written into; `target` is the server that has it."""

    target: TargetFacts
    facts: CollectionFacts

    @property
    def cosine(self) -> frozenset[str]:
        """Return the names of the vectors that the server normalises."""
        return cosine_vectors(self.facts.info["config"]["params"])

    @property
    def warnings(self) -> tuple[str, ...]:
        """Say which replicas are neither read nor proven."""
        return tuple(filter(None, [left_out(self.facts)]))

    @property
    def most(self) -> int | None:
        """Return how many points one upsert may have in strict mode; None: any number."""
        strict = self.facts.info["config"].get("strict_mode_config") or {}
        found = strict.get("upsert_max_batchsize") if strict.get("enabled") else None
        return int(found) if found else None


def look_at(config: Config, node: Node, name: str) -> Live:
    """Read what the collection is. Raise PlanRefused if it is none that points are written into,
    NodeUnreachable, AccessDenied."""
    target = facts_of(config, node)
    if name in target.aliases:
        raise PlanRefused(
            f"{name!r} on {target.url} is an alias of {target.aliases[name]!r}, not a collection",
            f"points are written into a collection itself: take a backup of "
            f"{target.aliases[name]!r}.",
        )
    if name not in target.collections:
        raise PlanRefused(
            f"there is no collection {name!r} on {target.url} to write points into",
            "restore it as a whole: the same command without `--points`.",
        )
    must_answer(node, name)
    if name in target.broken:
        raise PlanRefused(
            f"{name!r} on {target.url} is listed and answers with an error",
            "restore it as a whole: delete it, then the same command without `--points`.",
        )
    return Live(target, whole_facts(node, name))


def unlike_backup(live: Live, manifest: Manifest, *, another_incarnation: bool) -> list[str]:
    """Say why this is not the collection that was backed up. Pure."""
    reasons = unlike_vectors(live, manifest.params)
    if reasons or another_incarnation:
        return reasons
    lives = another_life(live.facts, manifest)
    if lives:
        return [
            (
                f"{live.facts.collection!r} on {live.target.url} is another collection of "
                f"that name than was backed up ({'; '.join(lives)}): if the points belong there "
                "all the same, add `--another-incarnation`"
            )
        ]
    return []


def unlike_vectors(live: Live, params: Mapping[str, Any]) -> list[str]:
    """Say how the vectors differ from what the points have. Pure."""
    what = other_vectors(params, live.facts.info["config"]["params"])
    if what is None:
        return []
    return [
        (
            f"{live.facts.collection!r} on {live.target.url} has other vectors ({what}): points of "
            "that backup do not fit; restore it under another name with `--as`, without `--points`"
        )
    ]


def target_then(live: Live) -> TargetThen:
    """Return which incarnation this is, as an undo record keeps it."""
    facts = live.facts
    return TargetThen(
        peer_id=facts.peer_id,
        peers=_peers(facts),
        shard_number=facts.shard_number,
        operations={s: n for s, n in facts.operations.items() if n is not None},
    )


def _peers(facts: CollectionFacts) -> tuple[int, ...]:
    return tuple(sorted({r.peer_id for r in facts.replicas if r.peer_id is not None}))


def unlike_then(live: Live, record: UndoRecord, *, another_incarnation: bool) -> list[str]:
    """Say why this is not the collection that a run wrote into. Its vectors and points alone do not
    tell: one that was created anew from the same backup has the same. Pure."""
    reasons = unlike_vectors(live, json.loads(record.params))
    if reasons or another_incarnation or record.then is None:
        return reasons
    return [_not_that_one(live, record, "; ".join(w))] if (w := _lives(live, record.then)) else []


def _lives(live: Live, then: TargetThen) -> list[str]:
    facts = live.facts
    peers = _peers(facts)
    words = []
    if facts.shard_number != then.shard_number:
        words.append(f"it had {then.shard_number} shards, now it has {facts.shard_number}")
    if peers and then.peers and not {*peers} & {*then.peers}:
        words.append("none of the peers that had it then has it now")
    elif facts.peer_id == then.peer_id:
        words += fallen(dict(then.operations), facts.operations)
    return words


def without_the_run(live: Live, record: UndoRecord) -> str | None:
    """Say that nothing was written since the look before that run, where its points are found all
    the same: then they came there with another incarnation. None if it is not so. Pure."""
    then, facts = record.then, live.facts
    if then is None or facts.peer_id != then.peer_id or not then.operations:
        return None
    if facts.operations != then.operations or facts.shard_ids != then.operations.keys():
        return None
    return _not_that_one(live, record, "no operation was applied since then, so that run wrote "
                                       "nothing here")  # fmt: skip


def _not_that_one(live: Live, record: UndoRecord, why: str) -> str:
    return (
        f"{live.facts.collection!r} on {live.target.url} is another collection of that name than "
        f"{record.run_id} wrote into ({why}): if the points are to be as before that run all the "
        "same, add `--another-incarnation`"
    )


def params_text(live: Live) -> str:
    """Return the parameters of the collection, as an undo record keeps them."""
    return json.dumps(live.facts.info["config"]["params"], sort_keys=True)
