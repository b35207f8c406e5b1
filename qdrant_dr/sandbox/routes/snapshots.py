"""Snapshots of a collection: create, list, download, delete, upload; the partial manifest."""

from __future__ import annotations

import re
import threading

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from qdrant_dr.sandbox.download import answer
from qdrant_dr.sandbox.http import ApiError, accepted, ok
from qdrant_dr.sandbox.node import Node
from qdrant_dr.sandbox.routes.common import Found, Name, TheNode
from qdrant_dr.sandbox.upload import Received, receive_file

router = APIRouter()
_SNAPSHOTS = "/collections/{collection}/snapshots"
_PRIORITIES = ("no_sync", "snapshot", "replica")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


@router.get(_SNAPSHOTS)
def list_snapshots(collection: Name, node: TheNode) -> Response:
    return ok(node.snapshots(collection))


@router.post(_SNAPSHOTS)
def create(found: Found, node: TheNode, wait: bool = True) -> Response:
    if wait:
        return ok(node.create_snapshot(found.name))
    threading.Thread(target=node.create_snapshot, args=(found.name,), daemon=True).start()
    return accepted()


@router.post(f"{_SNAPSHOTS}/upload")
async def upload(
    request: Request,
    collection: Name,
    node: TheNode,
    wait: bool = True,
    priority: str | None = None,
    checksum: str | None = None,
) -> Response:
    """Priorities differ only where other replicas exist: here they are checked and that is all."""
    _check_priority(priority)
    _check_checksum(checksum)
    path = node.temp_file()
    try:
        received = await receive_file(request, "snapshot", path)
        _compare(received, checksum)
        if wait:
            await run_in_threadpool(node.recover, collection, received)
            return ok(True)
        _recover_behind(node, collection, received)
        return accepted()
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@router.get(f"{_SNAPSHOTS}/{{name}}")
def download(collection: Name, name: str, request: Request, node: TheNode) -> Response:
    try:
        path = node.snapshot(collection, name)
    except ApiError as error:
        raise ApiError(error.status, error.text, plain=True) from None
    return answer(path, request.headers)


@router.delete(f"{_SNAPSHOTS}/{{name}}")
def delete(collection: Name, name: str, node: TheNode, wait: bool = True) -> Response:
    node.delete_snapshot(collection, name)
    return ok(True) if wait else accepted()


@router.get("/collections/{collection}/shards/{shard}/snapshot/partial/manifest")
def partial_manifest(found: Found, shard: int) -> Response:
    """The greatest `segment_version` is the number of the last operation that changed the shard."""
    return ok(found.manifest(shard))


def _recover_behind(node: Node, collection: str, received: Received) -> None:
    threading.Thread(target=node.recover, args=(collection, received), daemon=True).start()


def _compare(received: Received, checksum: str | None) -> None:
    """Qdrant swaps the two in its words."""
    if checksum and received.sha256 != checksum.lower():
        text = f"Checksum mismatch: expected {received.sha256}, actual {checksum}"
        raise ApiError(400, text)


def _check_priority(priority: str | None) -> None:
    if priority is not None and priority not in _PRIORITIES:
        known = ", ".join(f"`{p}`" for p in _PRIORITIES)
        text = f"unknown variant `{priority}`, expected one of {known}"
        raise ApiError(400, f"Deserialize error in query parameters: {text}")


def _check_checksum(checksum: str | None) -> None:
    if checksum is not None and not _SHA256.fullmatch(checksum):
        told = f'"expected_length": Number(64), "value": String("{checksum}")'
        told += f', "length": Number({len(checksum)})'
        if len(checksum) == 64:
            told = f'"value": String("{checksum}")'
        problem = f"checksum: Validation error: invalid_sha256_hash [{{{told}}}]"
        raise ApiError(422, f"Validation error in query parameters: [{problem}]")
