"""What the nodes of a scripted cluster tell each other. No part of Qdrant's interface: 404 for
everybody else."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Response

from qdrant_dr.sandbox.http import Body, ok
from qdrant_dr.sandbox.placement import placement_in
from qdrant_dr.sandbox.reads import INTERNAL
from qdrant_dr.sandbox.routes.common import Found, Name, TheNode, only_peers

router = APIRouter(dependencies=[Depends(only_peers)])
_COLLECTION = f"/collections/{{collection}}/{INTERNAL}"


@router.put(_COLLECTION)
def create(collection: Name, body: Body, node: TheNode) -> Response:
    placement = placement_in(body["placement"])
    node.make(collection, body["config"], placement, body["uuid"], body["schema"])
    return ok(True)


@router.put(f"{_COLLECTION}/shards")
def add_shards(found: Found, body: Body) -> Response:
    found.add_shards(placement_in(body["placement"]))
    return ok(True)


@router.put(f"{_COLLECTION}/schema")
def register(found: Found, body: Body) -> Response:
    found.register(body["schema"])
    return ok(True)


@router.post(f"{_COLLECTION}/state")
def set_state(found: Found, body: Body) -> Response:
    found.set_state(body["shard"], body["peer"], body["state"])
    return ok(True)


@router.post(f"/collections/{{collection}}/shards/{{shard}}/{INTERNAL}/info")
def shard_info(found: Found, shard: int) -> Response:
    return ok(found.info(shard))
