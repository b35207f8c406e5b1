"""Collections, aliases and payload indexes."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from qdrant_dr.sandbox.http import ApiError, Body, need, ok
from qdrant_dr.sandbox.placement import key_mapping
from qdrant_dr.sandbox.reads import INTERNAL, gather, merge_info
from qdrant_dr.sandbox.routes.common import Found, Name, TheNode, logged
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
    distributed = len(node.peers.ids()) if node.peers else 0
    node.create(collection, new_config(body, request.state.body_length, distributed), {})
    return ok(True)


@router.get("/collections/{collection}")
def info(found: Found, node: TheNode) -> Response:
    parts = gather(node, found, None, f"{INTERNAL}/info", {}, found.info)
    return ok(merge_info(parts, found.config))


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


@router.get("/collections/{collection}/shards")
def shard_keys(found: Found) -> Response:
    if found.config["params"].get("sharding_method") != "custom":
        return ok({})
    keys = [{"key": pair["key"]} for pair in key_mapping(found.placement)]
    return ok({"shard_keys": keys})


@router.put("/collections/{collection}/shards")
def create_shard_key(found: Found, body: Body, node: TheNode) -> Response:
    node.create_shard_key(found.name, need(body, "shard_key"), body)
    return ok(True)


@router.post("/collections/{collection}/shards/delete")
def delete_shard_key(found: Found, body: Body, node: TheNode) -> Response:
    node.drop_shard_key(found.name, need(body, "shard_key"))
    return ok(True)


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
