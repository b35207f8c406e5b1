"""Points: write, read, count, scroll, query."""

from __future__ import annotations

from uuid import UUID

import qdrant_edge as edge
from fastapi import APIRouter, Response

from qdrant_dr.sandbox.collection import Collection
from qdrant_dr.sandbox.http import ApiError, Body, Json, need, not_found, ok
from qdrant_dr.sandbox.node import Node
from qdrant_dr.sandbox.rate import conditions
from qdrant_dr.sandbox.reads import INTERNAL, gather, in_order, merge_best, merge_pages
from qdrant_dr.sandbox.routes.common import Found, OnlyPeers, TheNode, logged
from qdrant_dr.sandbox.settings import dense_vectors
from qdrant_dr.sandbox.translate import (
    filter_in,
    id_json,
    payload_selector,
    point_id,
    point_vectors_in,
    points_in,
    query_in,
    record_out,
    update_mode_in,
)

router = APIRouter()
_POINTS = "/collections/{collection}/points"
_SHARD_POINTS = "/collections/{collection}/shards/{shard}/points"
_SCROLL_LIMIT = _QUERY_LIMIT = 10
_LOWER_IS_BETTER = ("Euclid", "Manhattan")


@router.put(_POINTS)
def upsert(found: Found, body: Body, wait: bool = False) -> Response:
    points, mode = points_in(body, found.config), update_mode_in(body.get("update_mode"))
    return logged(found.upsert(points, body.get("shard_key"), mode), wait=wait)


@router.post(f"{_POINTS}/delete")
def delete(found: Found, body: Body, wait: bool = False) -> Response:
    ids, where = _selected(body)
    operation = (
        edge.UpdateOperation.delete_points_by_filter(where)
        if where is not None
        else edge.UpdateOperation.delete_points(ids)
    )
    return logged(found.update(operation, body.get("shard_key")), wait=wait)


@router.post(f"{_POINTS}/payload")
def set_payload(found: Found, body: Body, wait: bool = False) -> Response:
    ids, where = _selected(body)
    payload, key = need(body, "payload"), body.get("key")
    operation = (
        edge.UpdateOperation.set_payload_by_filter(where, payload, key)
        if where is not None
        else edge.UpdateOperation.set_payload(ids, payload, key)
    )
    return logged(found.update(operation, body.get("shard_key")), wait=wait)


@router.put(f"{_POINTS}/payload")
def overwrite_payload(found: Found, body: Body, wait: bool = False) -> Response:
    ids, where = _selected(body)
    payload, key = need(body, "payload"), body.get("key")
    operation = (
        edge.UpdateOperation.overwrite_payload_by_filter(where, payload, key)
        if where is not None
        else edge.UpdateOperation.overwrite_payload(ids, payload, key)
    )
    return logged(found.update(operation, body.get("shard_key")), wait=wait)


@router.put(f"{_POINTS}/vectors")
def update_vectors(found: Found, body: Body, wait: bool = False) -> Response:
    points = point_vectors_in(body, found.config)
    operation = edge.UpdateOperation.update_vectors(points)
    return logged(found.update(operation, body.get("shard_key")), wait=wait)


@router.post(f"{_POINTS}/vectors/delete")
def delete_vectors(found: Found, body: Body, wait: bool = False) -> Response:
    ids, _ = _selected(body)
    operation = edge.UpdateOperation.delete_vectors(ids, need(body, "vector"))
    return logged(found.update(operation, body.get("shard_key")), wait=wait)


@router.post(f"{_POINTS}/batch")
def batch(found: Found, body: Body, wait: bool = False) -> Response:
    """Several operations, one after the other. Raise ApiError 501 for others than upserts, the
    overwriting of payloads and the deletion of vectors."""
    answers = []
    for operation in need(body, "operations"):
        (kind, given), *more = operation.items()
        if more or kind not in ("upsert", "overwrite_payload", "delete_vectors"):
            raise ApiError(501, f"Not implemented: the sandbox has no {kind} in a batch")
        key = given.get("shard_key")
        if kind == "upsert":
            mode = update_mode_in(given.get("update_mode"))
            number = found.upsert(points_in(given, found.config), key, mode)
        elif kind == "overwrite_payload":
            ids, payload = _selected(given)[0], need(given, "payload")
            number = found.update(edge.UpdateOperation.overwrite_payload(ids, payload, None), key)
        else:
            ids, names = _selected(given)[0], need(given, "vector")
            number = found.update(edge.UpdateOperation.delete_vectors(ids, names), key)
        answers.append({"operation_id": number, "status": "completed" if wait else "acknowledged"})
    return ok(answers)


@router.post(_POINTS)
def retrieve(found: Found, body: Body, node: TheNode) -> Response:
    return ok(_retrieve(found, body, node, None))


@router.post(_SHARD_POINTS)
def retrieve_shard(found: Found, shard: int, body: Body, node: TheNode) -> Response:
    return ok(_retrieve(found, body, node, shard))


@router.post(f"{_POINTS}/count")
def count(found: Found, body: Body, node: TheNode) -> Response:
    return ok(_count(found, body, node, None))


@router.post(f"{_SHARD_POINTS}/count")
def count_shard(found: Found, shard: int, body: Body, node: TheNode) -> Response:
    return ok(_count(found, body, node, shard))


@router.post(f"{_POINTS}/scroll")
def scroll(found: Found, body: Body, node: TheNode) -> Response:
    return ok(page(found, body, node, None))


@router.post(f"{_SHARD_POINTS}/scroll")
def scroll_shard(found: Found, shard: int, body: Body, node: TheNode) -> Response:
    return ok(page(found, body, node, shard))


@router.post(f"{_POINTS}/query")
def query(found: Found, body: Body, node: TheNode) -> Response:
    """Return the points nearest to a vector or, without a query, the first ones by id."""
    limit = body.get("limit") or _QUERY_LIMIT
    offset = body.get("offset") or 0
    whole = {**body, "limit": offset + limit, "offset": None}
    if body.get("query") is None:
        payload = body.get("with_payload") or False
        first = page(found, {**whole, "with_payload": payload}, node, None)
        points = [{**point, "version": 0, "score": 0.0} for point in first["points"]]
        return ok({"points": points[offset:]})
    vector = dense_vectors(found.config).get(body.get("using") or "")
    parts = gather(node, found, None, f"{INTERNAL}/query", whole, lambda n: _best(found, whole, n))
    lower = vector is not None and vector["distance"] in _LOWER_IS_BETTER
    return ok(merge_best(parts, offset, limit, lower_is_better=lower))


@router.post(f"/collections/{{collection}}/shards/{{shard}}/{INTERNAL}/query")
def query_shard(found: Found, shard: int, body: Body, _: OnlyPeers) -> Response:
    return ok(_best(found, body, shard))


@router.get(f"{_POINTS}/{{point}}")
def get_point(found: Found, point: str, node: TheNode) -> Response:
    wanted = int(point) if point.isdecimal() else point
    body = {"ids": [wanted], "with_payload": True, "with_vector": True}
    records = _retrieve(found, body, node, None)
    if not records:
        raise not_found(f"Point with id {point} does not exists!")
    return ok(records[0])


def _count(found: Collection, body: Json, node: Node, shard: int | None) -> dict[str, Json]:
    where = filter_in(body.get("filter"))

    def local(number: int) -> dict[str, Json]:
        found.spend(number, 1 + conditions(body.get("filter")))
        return {"count": found.count(number, where)}

    parts = gather(node, found, shard, "points/count", body, local)
    return {"count": sum(part["count"] for part in parts)}


def _retrieve(found: Collection, body: Json, node: Node, shard: int | None) -> list[Json]:
    ids = [point_id(i) for i in need(body, "ids")]
    payload = payload_selector(body.get("with_payload", True))

    def local(number: int) -> list[Json]:
        found.spend(number, len(ids))
        records = found.retrieve(number, ids, payload, _vectors(body))
        return [record_out(record, found.placement[number].key) for record in records]

    parts = gather(node, found, shard, "points", body, local)
    return in_order([record for part in parts for record in part], body["ids"])


def page(found: Collection, body: Json, node: Node, shard: int | None) -> dict[str, Json]:
    """Return the first points at or behind an id, of one shard or of all, and where the next page
    begins.

    Raise ApiError.
    """
    if body.get("order_by") is not None:
        raise ApiError(501, "Not implemented: the sandbox scrolls in the order of ids only")
    offset = None if body.get("offset") is None else point_id(body["offset"])
    limit = body.get("limit") or _SCROLL_LIMIT
    payload = payload_selector(True if body.get("with_payload") is None else body["with_payload"])
    where = filter_in(body.get("filter"))

    def local(number: int) -> dict[str, Json]:
        found.spend(number, 1 + conditions(body.get("filter")))
        records, beyond = found.scroll(number, offset, limit, where, payload, _vectors(body))
        points = [record_out(record, found.placement[number].key) for record in records]
        return {"points": points, "next_page_offset": None if beyond is None else id_json(beyond)}

    return merge_pages(gather(node, found, shard, "points/scroll", body, local), limit)


def _best(found: Collection, body: Json, shard: int) -> dict[str, Json]:
    found.spend(shard, 1 + conditions(body.get("filter")))
    request = edge.QueryRequest(
        limit=body["limit"],
        query=query_in(body, found.config),
        filter=filter_in(body.get("filter")),
        score_threshold=body.get("score_threshold"),
        params=edge.SearchParams(exact=bool((body.get("params") or {}).get("exact"))),
        with_vector=_vectors(body),
        with_payload=payload_selector(body.get("with_payload") or False),
    )
    key = found.placement[shard].key
    return {"points": [record_out(point, key) for point in found.query(shard, request)]}


def _vectors(body: Json) -> bool | list[str]:
    asked: bool | list[str] = body.get("with_vector") or body.get("with_vectors") or False
    return asked


def _selected(body: Json) -> tuple[list[int | UUID | str], edge.Filter | None]:
    """Points by id or by filter. Raise ApiError 400 when the body names neither."""
    if body.get("filter") is not None:
        return [], filter_in(body["filter"]) or edge.Filter()
    return [point_id(i) for i in need(body, "points")], None
