"""Collections, aliases and payload indexes."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from qdrant_dr.sandbox.http import ApiError, Body, need, ok
from qdrant_dr.sandbox.routes.common import FOUND, Found, Name, TheNode, logged
from qdrant_dr.sandbox.settings import new_config

router = APIRouter()

_FORBIDDEN = '<>:"/\\|?*'
_LONGEST_NAME = 255


@router.get("/collections")
def list_collections(node: TheNode) -> Response:
    return ok({"collections": [{"name": name} for name in node.names()]})


@router.get("/aliases")
def all_aliases(node: TheNode) -> Response:
    return ok({"aliases": node.aliases()})


@router.post("/collections/aliases")
def change_aliases(body: Body, node: TheNode) -> Response:
    node.change_aliases(need(body, "actions"))
    return ok(True)


@router.put("/collections/{collection}")
def create(collection: Name, body: Body, request: Request, node: TheNode) -> Response:
    _check_name(collection)
    node.create(collection, new_config(body, request.state.body_length))
    return ok(True)


@router.get("/collections/{collection}")
def info(found: Found) -> Response:
    return ok(found.info())


@router.patch("/collections/{collection}")
def update(found: Found, body: Body) -> Response:
    found.configure(body)
    return ok(True)


@router.delete("/collections/{collection}")
def delete(collection: Name, node: TheNode) -> Response:
    return ok(node.delete(collection))


@router.get("/collections/{collection}/exists")
def exists(collection: Name, node: TheNode) -> Response:
    return ok({"exists": node.exists(collection)})


@router.get("/collections/{collection}/aliases")
def collection_aliases(found: Found, node: TheNode) -> Response:
    return ok({"aliases": node.aliases(found.name)})


@router.get("/collections/{collection}/shards", dependencies=[FOUND])
def shard_keys() -> Response:
    """One node has no custom sharding, hence no keys."""
    return ok({})


@router.put("/collections/{collection}/shards", dependencies=[FOUND])
def create_shard_key() -> Response:
    raise ApiError(400, "Bad request: Distributed mode disabled")


@router.put("/collections/{collection}/index")
def create_index(found: Found, body: Body, wait: bool = False) -> Response:
    operation = found.create_index(need(body, "field_name"), need(body, "field_schema"))
    return logged(operation, wait=wait)


@router.delete("/collections/{collection}/index/{field}")
def delete_index(found: Found, field: str, wait: bool = False) -> Response:
    return logged(found.delete_index(field), wait=wait)


def _check_name(name: str) -> None:
    """What Qdrant refuses in the name of a new collection: ApiError 422."""
    problem = next((f'cannot contain "{c}" char' for c in name if c in _FORBIDDEN), None)
    if not 0 < len(name.encode()) <= _LONGEST_NAME:
        problem = f"must be between 1 and {_LONGEST_NAME} bytes long"
    if problem:
        text = f"Validation error in path parameters: [collection_name: collection name {problem}]"
        raise ApiError(422, text)
