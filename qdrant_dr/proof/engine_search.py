"""Questions to the shard that the engine's child process holds open: with its indexes, and without.

Exact answers ignore every vector index: dense vectors are asked for with `exact`, and sparse ones,
whose index the engine uses even then, as a sum of scores, which it reads from the vectors
themselves. Points with no score above zero are no answer to a sparse query: they share nothing with
it. Vectors that are not finite ask nothing, and nothing is nearest by a score that is no number.
Payload indexes are dropped from the scratch copy before anything is counted without them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any
from uuid import UUID

import qdrant_edge as edge

from qdrant_dr.proof.encoding import is_finite, named_vectors

TOP = 10
ODD_MOST = 1000
"""Points whose vector is not finite that a question makes room for."""
BATCH = 4
"""Exact searches between two signs of life; those of one batch share a pass over the vectors."""

PointId = int | str | UUID
Alive = Callable[[], None]


def json_id(point_id: PointId) -> int | str:
    """An id as JSON has it."""
    return point_id if isinstance(point_id, int) else str(point_id)


def engine_id(point_id: int | str) -> PointId:
    """An id as the engine takes it."""
    return UUID(point_id) if isinstance(point_id, str) else point_id


def choose(
    shard: edge.EdgeShard,
    ids: Sequence[int | str],
    names: Mapping[str, int],
    each: int,
    alive: Alive,
) -> Iterator[dict[str, Any]]:
    """Golden queries: for each vector name up to `each` of the points `ids` that carry it, or of
    any others where those are too few, with the exact answer and that of the index. `names` says
    of how many points that vector is not finite."""
    sampled = [(r.id, named_vectors(r.vector)) for r in _fetch(shard, ids)]
    for name, odd in names.items():
        carriers = [(i, v[name]) for i, v in sampled if _asks(v.get(name))][:each]
        if len(carriers) < each:
            carriers = _first_carriers(shard, name, each, wide(odd), carriers)
        for at in range(0, len(carriers), BATCH):
            some = carriers[at : at + BATCH]
            for (point, vector), top in zip(
                some, _exact(shard, name, [v for _, v in some], limit=wide(odd)), strict=True
            ):
                best = [json_id(p.id) for p in top][:TOP]
                if best:
                    yield {
                        "vector": name,
                        "point": json_id(point),
                        "top": best,
                        **_answer(shard, name, vector, best, wide(odd)),
                    }
            alive()


def answer(
    shard: edge.EdgeShard, queries: Sequence[Mapping[str, Any]], alive: Alive
) -> Iterator[dict[str, Any]]:
    """What the index answers to golden queries, whose points are in the shard; nothing to one of an
    older seal whose vector is not finite. `odd` of a query says of how many points that is so."""
    for query in queries:
        name = query["vector"]
        (record,) = _fetch(shard, [query["point"]])
        vector = named_vectors(record.vector)[name]
        limit = wide(query["odd"])
        yield _answer(shard, name, vector, query["top"], limit) if is_finite(vector) else {}
        alive()


def count(
    shard: edge.EdgeShard, conditions: Sequence[Mapping[str, Any]], alive: Alive
) -> Iterator[int]:
    """Points for which each condition holds."""
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
    """The engine's form of those REST conditions that a seal holds."""
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
    """How many answers to ask for, so that `TOP` are left without those that are not finite."""
    return TOP + min(odd, ODD_MOST)


def _answer(
    shard: edge.EdgeShard, name: str, vector: Any, top: Sequence[int | str], limit: int
) -> dict[str, Any]:
    """What the index finds, with its usual and with the narrowest beam, and the exact scores of
    all that and of `top`, best first."""
    nearest = edge.Query.Nearest(vector, using=name or None)
    began = time.perf_counter()
    found = shard.query(edge.QueryRequest(limit=limit, query=nearest))
    latency = round((time.perf_counter() - began) * 1e6)
    narrow = shard.query(
        edge.QueryRequest(limit=limit, query=nearest, params=edge.SearchParams(hnsw_ef=TOP))
    )
    ids = {p.id for p in (*found, *narrow)} | {engine_id(i) for i in top}
    (scored,) = _exact(shard, name, [vector], among=ids)
    counted = {p.id for p in scored}
    return {
        "hits": [json_id(p.id) for p in found if p.id in counted][:TOP],
        "narrow": [json_id(p.id) for p in narrow if p.id in counted][:TOP],
        "scores": [[json_id(p.id), p.score] for p in scored],
        "latency_us": latency,
    }


def _exact(
    shard: edge.EdgeShard,
    name: str,
    vectors: Sequence[Any],
    among: set[PointId] | None = None,
    *,
    limit: int = TOP,
) -> list[list[edge.ScoredPoint]]:
    """The best of the whole shard, or all of `among` in order, by the vectors themselves."""
    sparse = isinstance(vectors[0], edge.SparseVector)
    using = name or None
    requests = [
        edge.QueryRequest(
            limit=len(among) if among else limit,
            query=edge.Query.RecommendSumScores(edge.RecommendQuery([v], []), using=using)
            if sparse
            else edge.Query.Nearest(v, using=using),
            filter=edge.Filter(must=[edge.HasIdCondition(among)]) if among else None,
            params=edge.SearchParams(exact=True),
        )
        for v in vectors
    ]
    answers = shard.query_batch(edge.QueryBatchRequest(requests))
    scored = [[p for p in a if isfinite(p.score)] for a in answers]
    return [[p for p in a if p.score > 0] for a in scored] if sparse else scored


def _asks(vector: Any) -> bool:
    """Whether there is such a vector, anything in it, and all of it finite."""
    if vector is None or (isinstance(vector, edge.SparseVector) and not vector.indices):
        return False
    return is_finite(vector)


def _first_carriers(
    shard: edge.EdgeShard, name: str, each: int, beyond: int, known: list[tuple[PointId, Any]]
) -> list[tuple[PointId, Any]]:
    carries = edge.Filter(must=[edge.HasVectorCondition(name)])
    limit = 2 * each + beyond
    records, _ = shard.scroll(
        edge.ScrollRequest(limit=limit, filter=carries, with_payload=False, with_vector=True)
    )
    have = {i for i, _ in known}
    more = [(r.id, named_vectors(r.vector).get(name)) for r in records if r.id not in have]
    return [*known, *((i, v) for i, v in more if _asks(v))][:each]


def _fetch(shard: edge.EdgeShard, ids: Sequence[int | str]) -> list[edge.Record]:
    return shard.retrieve([engine_id(i) for i in ids], with_payload=False, with_vector=True)
