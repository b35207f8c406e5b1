"""Points: write, read, count, scroll, query."""

from __future__ import annotations

from uuid import UUID

import qdrant_edge as edge
from fastapi import APIRouter, Response

from qdrant_dr.sandbox.collection import Collection
from qdrant_dr.sandbox.http import ApiError, Body, Json, need, not_found, ok
from qdrant_dr.sandbox.routes.common import Found, logged
from qdrant_dr.sandbox.settings import dense_vectors
from qdrant_dr.sandbox.translate import (
    filter_in,
    id_json,
    payload_selector,
    point_id,
    points_in,
    query_in,
    record_out,
)

router = APIRouter()
_POINTS = "/collections/{collection}/points"
_SHARD_POINTS = "/collections/{collection}/shards/{shard}/points"
_SCROLL_LIMIT = _QUERY_LIMIT = 10


@router.put(_POINTS)
def upsert(found: Found, body: Body, wait: bool = False) -> Response:
    return logged(found.upsert(points_in(body, found.config)), wait=wait)


@router.post(f"{_POINTS}/delete")
def delete(found: Found, body: Body, wait: bool = False) -> Response:
    ids, where = _selected(body)
    operation = (
        edge.UpdateOperation.delete_points_by_filter(where)
        if where is not None
        else edge.UpdateOperation.delete_points(ids)
    )
    return logged(found.update(operation), wait=wait)


@router.post(f"{_POINTS}/payload")
def set_payload(found: Found, body: Body, wait: bool = False) -> Response:
    ids, where = _selected(body)
    payload, key = need(body, "payload"), body.get("key")
    operation = (
        edge.UpdateOperation.set_payload_by_filter(where, payload, key)
        if where is not None
        else edge.UpdateOperation.set_payload(ids, payload, key)
    )
    return logged(found.update(operation), wait=wait)


@router.put(f"{_POINTS}/payload")
def overwrite_payload(found: Found, body: Body, wait: bool = False) -> Response:
    ids, where = _selected(body)
    payload, key = need(body, "payload"), body.get("key")
    operation = (
        edge.UpdateOperation.overwrite_payload_by_filter(where, payload, key)
        if where is not None
        else edge.UpdateOperation.overwrite_payload(ids, payload, key)
    )
    return logged(found.update(operation), wait=wait)


@router.post(_POINTS)
def retrieve(found: Found, body: Body) -> Response:
    ids = [point_id(i) for i in need(body, "ids")]
    payload = payload_selector(body.get("with_payload", True))
    records = found.retrieve(ids, payload, _vectors(body))
    return ok([record_out(record) for record in records])


@router.post(f"{_POINTS}/count")
def count(found: Found, body: Body) -> Response:
    return ok({"count": found.count(filter_in(body.get("filter")))})


@router.post(f"{_SHARD_POINTS}/count")
def count_shard(found: Found, shard: int, body: Body) -> Response:
    return ok({"count": found.count(filter_in(body.get("filter")), shard)})


@router.post(f"{_POINTS}/scroll")
def scroll(found: Found, body: Body) -> Response:
    return ok(_page(found, body, None))


@router.post(f"{_SHARD_POINTS}/scroll")
def scroll_shard(found: Found, shard: int, body: Body) -> Response:
    return ok(_page(found, body, shard))


@router.post(f"{_POINTS}/query")
def query(found: Found, body: Body) -> Response:
    """Nearest to a vector, or, without a query, the first points by id."""
    limit = body.get("limit") or _QUERY_LIMIT
    offset = body.get("offset") or 0
    payload = payload_selector(body.get("with_payload") or False)
    if body.get("query") is None:
        where = filter_in(body.get("filter"))
        page, _ = found.scroll(None, offset + limit, where, payload, _vectors(body))
        points = [record_out(record) | {"version": 0, "score": 0.0} for record in page[offset:]]
        return ok({"points": points})
    exact = bool((body.get("params") or {}).get("exact"))
    request = edge.QueryRequest(
        limit=offset + limit,
        query=query_in(body, found.config),
        filter=filter_in(body.get("filter")),
        score_threshold=body.get("score_threshold"),
        params=edge.SearchParams(exact=exact),
        with_vector=_vectors(body),
        with_payload=payload,
    )
    vector = dense_vectors(found.config).get(body.get("using") or "")
    best = found.query(request, vector["distance"] if vector else None)
    return ok({"points": [record_out(point) for point in best[offset:]]})


@router.get(f"{_POINTS}/{{point}}")
def get_point(found: Found, point: str) -> Response:
    wanted = point_id(int(point) if point.isdecimal() else point)
    records = found.retrieve([wanted], True, True)
    if not records:
        raise not_found(f"Point with id {point} does not exists!")
    return ok(record_out(records[0]))


def _page(found: Collection, body: Json, shard: int | None) -> dict[str, Json]:
    if body.get("order_by") is not None:
        raise ApiError(501, "Not implemented: the sandbox scrolls in the order of ids only")
    offset = body.get("offset")
    limit = body.get("limit") or _SCROLL_LIMIT
    payload = body.get("with_payload")
    records, beyond = found.scroll(
        None if offset is None else point_id(offset),
        limit,
        filter_in(body.get("filter")),
        payload_selector(True if payload is None else payload),
        _vectors(body),
        shard,
    )
    points = [record_out(record) for record in records]
    return {"points": points, "next_page_offset": None if beyond is None else id_json(beyond)}


def _vectors(body: Json) -> bool | list[str]:
    asked: bool | list[str] = body.get("with_vector") or body.get("with_vectors") or False
    return asked


def _selected(body: Json) -> tuple[list[int | UUID | str], edge.Filter | None]:
    """Points by id or by filter. Raise ApiError 400 when the body names neither."""
    if body.get("filter") is not None:
        return [], filter_in(body["filter"]) or edge.Filter()
    return [point_id(i) for i in need(body, "points")], None
