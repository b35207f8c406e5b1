"""Query the shard that the engine's child process holds open, with its indexes and without.

Exact answers ignore every vector index: dense vectors are searched with `exact`, and sparse ones,
whose index the engine uses even then, as a sum of scores, which it reads from the vectors
themselves. Points with no score above zero do not answer a sparse query: they share nothing with
it. Vectors that are not finite are not used as queries, and a score that is no number does not
count. Payload indexes are dropped from the scratch copy before anything is counted without them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any
from uuid import UUID

import qdrant_edge as edge

from qdrant_dr.proof.payloads import in_turn
from qdrant_dr.proof.point_encoding import is_finite, named_vectors

TOP = 10
ODD_MOST = 1000
"""For how many points with vectors that are not finite a question leaves room."""
BATCH = 4
"""Exact searches between two progress messages; those of one batch share a pass over the
vectors."""

PointId = int | str | UUID
Alive = Callable[[], None]
Carrier = tuple[PointId, Any, Mapping[str, Any] | None]
"""A point to ask about, its vector, and the condition of the tenant within which it is asked."""


def json_id(point_id: PointId) -> int | str:
    """Return an id in JSON's form."""
    return point_id if isinstance(point_id, int) else str(point_id)


def engine_id(point_id: int | str) -> PointId:
    """Return an id in the engine's form."""
    return UUID(point_id) if isinstance(point_id, str) else point_id


def choose(
    shard: edge.EdgeShard,
    ids: Sequence[int | str],
    names: Mapping[str, int],
    each: int,
    tenants: Mapping[str, Mapping[str, str]],
    alive: Alive,
) -> Iterator[dict[str, Any]]:
    """Make golden queries: for each vector name up to `each` of the points `ids` that have it, or
    of any others if those are too few, with the exact answer and that of the index.

    `names` says for how many points each vector is not finite; `tenants` has, for vectors that are
    searched within tenants, their fields and the types of their indexes.
    """
    sampled = _fetch(shard, ids, payloads=any(tenants.values()))
    for name, odd in names.items():
        carriers = _carriers(shard, name, each, wide(odd), sampled, tenants.get(name, {}))
        for at in range(0, len(carriers), BATCH):
            some = carriers[at : at + BATCH]
            exact = _exact(shard, name, [(v, where) for _, v, where in some], limit=wide(odd))
            for (point, vector, where), top in zip(some, exact, strict=True):
                best = [json_id(p.id) for p in top][:TOP]
                if best:
                    yield {
                        "vector": name,
                        "point": json_id(point),
                        "condition": where,
                        "top": best,
                        **_answer(shard, name, vector, where, best, wide(odd)),
                    }
            alive()


def answer(
    shard: edge.EdgeShard, queries: Sequence[Mapping[str, Any]], alive: Alive
) -> Iterator[dict[str, Any]]:
    """Return the index's answers to golden queries whose points are in the shard; empty for one of
    an older seal whose vector is not finite. `odd` of a query says for how many points that is
    so."""
    for query in queries:
        name, where = query["vector"], query["condition"]
        (record,) = _fetch(shard, [query["point"]])
        vector = named_vectors(record.vector)[name]
        limit = wide(query["odd"])
        finite = is_finite(vector)
        yield _answer(shard, name, vector, where, query["top"], limit) if finite else {}
        alive()


def count(
    shard: edge.EdgeShard, conditions: Sequence[Mapping[str, Any]], alive: Alive
) -> Iterator[int]:
    """Count the points for which each condition holds."""
    for spec in conditions:
        where = edge.Filter(must=[condition_of(spec)])
        yield shard.count(edge.CountRequest(exact=True, filter=where))
        alive()


def drop_indexes(shard: edge.EdgeShard) -> None:
    """Remove every payload index from the scratch copy; raise if one is left."""
    for field in shard.info().payload_schema:
        shard.update(edge.UpdateOperation.delete_field_index(field))
    if left := list(shard.info().payload_schema):
        raise RuntimeError(f"payload indexes could not be dropped: {left}")


def condition_of(spec: Mapping[str, Any]) -> Any:
    """Convert a REST condition of a seal to the engine's form."""
    if "is_empty" in spec:
        return edge.IsEmptyCondition(spec["is_empty"]["key"])
    key = spec["key"]
    if "match" in spec:
        return edge.FieldCondition(key, match=edge.MatchAny(spec["match"]["any"]))
    if "values_count" in spec:
        return edge.FieldCondition(key, values_count=edge.ValuesCount(**spec["values_count"]))
    if "range" in spec:
        bounds = spec["range"]
        kind = edge.RangeDateTime if isinstance(bounds["gte"], str) else edge.RangeFloat
        return edge.FieldCondition(key, range=kind(**bounds))
    box = spec["geo_bounding_box"]
    corners = (edge.GeoPoint(**box["top_left"]), edge.GeoPoint(**box["bottom_right"]))
    return edge.FieldCondition(key, geo_bounding_box=edge.GeoBoundingBox(*corners))


def wide(odd: int) -> int:
    """Return how many answers to ask for, so that `TOP` remain without those that are not
    finite."""
    return TOP + min(odd, ODD_MOST)


def _answer(
    shard: edge.EdgeShard,
    name: str,
    vector: Any,
    where: Mapping[str, Any] | None,
    top: Sequence[int | str],
    limit: int,
) -> dict[str, Any]:
    """Return what the index finds with its usual and with the narrowest beam, and the exact scores
    of all these and of `top`, best first."""
    nearest, within = edge.Query.Nearest(vector, using=name or None), _filter(where)
    began = time.perf_counter()
    found = shard.query(edge.QueryRequest(limit=limit, query=nearest, filter=within))
    latency = round((time.perf_counter() - began) * 1e6)
    narrow = shard.query(
        edge.QueryRequest(
            limit=limit, query=nearest, filter=within, params=edge.SearchParams(hnsw_ef=TOP)
        )
    )
    ids = {p.id for p in (*found, *narrow)} | {engine_id(i) for i in top}
    (scored,) = _exact(shard, name, [(vector, None)], among=ids)
    counted = {p.id for p in scored}
    return {
        "hits": [json_id(p.id) for p in found if p.id in counted][:TOP],
        "narrow": [json_id(p.id) for p in narrow if p.id in counted][:TOP],
        "scores": [[json_id(p.id), p.score] for p in scored],
        "latency_us": latency,
    }


def _filter(where: Mapping[str, Any] | None) -> Any:
    return None if where is None else edge.Filter(must=[condition_of(where)])


def _exact(
    shard: edge.EdgeShard,
    name: str,
    asked: Sequence[tuple[Any, Mapping[str, Any] | None]],
    among: set[PointId] | None = None,
    *,
    limit: int = TOP,
) -> list[list[edge.ScoredPoint]]:
    """Return the best points of the shard for which a condition holds, or all of `among` in order,
    from the vectors themselves."""
    sparse = isinstance(asked[0][0], edge.SparseVector)
    using = name or None
    requests = [
        edge.QueryRequest(
            limit=len(among) if among else limit,
            query=edge.Query.RecommendSumScores(edge.RecommendQuery([vector], []), using=using)
            if sparse
            else edge.Query.Nearest(vector, using=using),
            filter=edge.Filter(must=[edge.HasIdCondition(among)]) if among else _filter(where),
            params=edge.SearchParams(exact=True),
        )
        for vector, where in asked
    ]
    answers = shard.query_batch(edge.QueryBatchRequest(requests))
    scored = [[p for p in a if isfinite(p.score)] for a in answers]
    return [[p for p in a if p.score > 0] for a in scored] if sparse else scored


def _asks(vector: Any) -> bool:
    """Say whether there is such a vector, not empty and entirely finite."""
    if vector is None or (isinstance(vector, edge.SparseVector) and not vector.indices):
        return False
    return is_finite(vector)


def _carriers(
    shard: edge.EdgeShard,
    name: str,
    each: int,
    beyond: int,
    sampled: Sequence[edge.Record],
    fields: Mapping[str, str],
) -> list[Carrier]:
    """Return up to `each` points to ask about, those of the sample first; within tenants if
    `fields` are given and the points with the vector belong to any."""
    first = [r for r in sampled if _asks(named_vectors(r.vector).get(name))]
    if len(first) < each:
        carries = edge.Filter(must=[edge.HasVectorCondition(name)])
        records, _ = shard.scroll(
            edge.ScrollRequest(
                limit=2 * each + beyond,
                filter=carries,
                with_payload=bool(fields),
                with_vector=True,
            )
        )
        have = {r.id for r in first}
        more = (r for r in records if r.id not in have)
        first += [r for r in more if _asks(named_vectors(r.vector).get(name))]
    turns: Sequence[tuple[int, Mapping[str, Any] | None]] = (
        in_turn([r.payload or {} for r in first], fields) if fields else ()
    )
    return [
        (first[place].id, named_vectors(first[place].vector)[name], where)
        for place, where in (turns or [(place, None) for place in range(len(first))])[:each]
    ]


def _fetch(
    shard: edge.EdgeShard, ids: Sequence[int | str], *, payloads: bool = False
) -> list[edge.Record]:
    return shard.retrieve([engine_id(i) for i in ids], with_payload=payloads, with_vector=True)
