"""Do the indexes of a running server answer as they did when the backup was sealed?

A golden query belongs to a shard, and a server answers for the whole collection: what it finds is
held against the best of that and of the shard's exact answer, all scored without an index. So a
shard with a broken graph shows in the queries that are its own. A question within a tenant is put
so; one whose vector is not finite, as older seals have them, no server takes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster import Node, collection_facts, node_facts, points_by_id
from qdrant_dr.cluster.node import path_of
from qdrant_dr.cluster.query import count_where, exact_scores, nearest
from qdrant_dr.cluster.scroll import ShardKey
from qdrant_dr.errors import DRError, Interrupted
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.prove import MadeBy, restore_proof
from qdrant_dr.proof import Asked, Comparison, judge, recall_ppm, unanswerable
from qdrant_dr.proof.engine_search import TOP, wide
from qdrant_dr.proof.point_encoding import is_finite, named_vectors
from qdrant_dr.records import Depth, GoldenQuery, Proof, Seal, Searched


def prove_served(
    found: Found,
    seal: Seal,
    target: Node,
    name: str,
    comparison: Comparison,
    *,
    reached: Depth,
    run_id: str,
    made_by: MadeBy,
    started_at: datetime,
) -> Proof | None:
    """Build a proof of depth `restore` of a copy whose every byte was verified on its way to
    `target`.

    `comparison` is of the points that the target serves as `name`, its payload indexes included;
    where they are equal its indexes are searched. `reached` is what was proven without a server.
    None where it would not be worth its name: on the sandbox, which is no Qdrant, and for a seal
    without questions. `name` must be disposable: strict mode is switched off to count exactly.
    Raise what a call raises.
    """
    about = node_facts(target)
    if about.source_kind == "sandbox" or unanswerable(seal, found.manifest):
        return None
    faults: Sequence[DRError] = comparison.faults
    searched = None
    if comparison.equal:
        faults, searched = search_served(target, name, seal, found.manifest.keys_of_shards)
    return restore_proof(
        found, seal, faults, searched,
        reached=reached, points=comparison.points, within_tolerance=comparison.within_tolerance,
        server_version=about.version, run_id=run_id, made_by=made_by, started_at=started_at,
    )  # fmt: skip


def search_served(
    node: Node, name: str, seal: Seal, keys: Mapping[int, ShardKey]
) -> tuple[Sequence[DRError], Searched]:
    """Put the questions of a seal to what a server restored as `name`, a disposable collection.

    `keys` are those of custom sharding, by shard: each question is put to its own, as another key
    may have points of the same ids.

    Return what is wrong and what the searches came to; raise what a call raises.
    """
    if collection_facts(node, name).strict_mode:
        node.ask(
            "PATCH", path_of(name), f"switch strict mode of {name!r} off",
            json={"strict_mode_config": {"enabled": False}}, write=True, collection=name,
        )  # fmt: skip
        node.pace.learn(name, None)
    judged = judge([_ask(node, name, seal, s.shard, keys.get(s.shard)) for s in seal.shards], seal)
    return judged.faults, judged.searched


def _ask(node: Node, name: str, seal: Seal, shard: int, key: ShardKey | None) -> Asked:
    golden = tuple(q for q in seal.golden if q.shard == shard)
    filters = tuple(t for t in seal.filters if t.shard == shard)
    ids = list(dict.fromkeys(q.point for q in golden))
    points = points_by_id(node, name, ids, shard_key=key)
    vectors = {p["id"]: named_vectors(p["vector"]) for p in points}
    golden = tuple(q for q in golden if is_finite(vectors[q.point][q.vector]))
    answers = [
        _answer(node, name, vectors[q.point][q.vector], q, wide(seal.total.odd(q.vector)), key)
        for q in golden
    ]
    return Asked(
        shard,
        golden,
        filters,
        recalls_ppm=tuple(recall for recall, _, _ in answers),
        narrow_ppm=tuple(narrow for _, narrow, _ in answers),
        latencies_us=tuple(latency for _, _, latency in answers),
        counts=tuple(count_where(node, name, shard, t.condition) for t in filters),
    )


def _answer(
    node: Node,
    name: str,
    vector: object,
    query: GoldenQuery,
    limit: int,
    key: ShardKey | None,
) -> tuple[int, int, int]:
    """Recall with the usual and with the narrowest beam, and latency, of one query."""
    if stopping.is_set():
        raise Interrupted("asked to stop between two searches")
    where, using = query.condition, query.vector
    asked = partial(
        nearest, node, name, vector, using=using, limit=limit, condition=where, shard_key=key
    )
    hits, latency = asked()
    narrow, _ = asked(beam=TOP)
    among = {*hits, *narrow, *query.top}
    scores = exact_scores(node, name, vector, among, using=using, shard_key=key)
    finite = {point for point, _ in scores}
    usual, narrowest = (
        recall_ppm([point for point in found if point in finite][:TOP], scores)
        for found in (hits, narrow)
    )
    return usual, narrowest, latency
