"""Snapshots of a collection and of the whole node: create, list, download, delete, recover."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from qdrant_dr.sandbox import files
from qdrant_dr.sandbox.download import answer
from qdrant_dr.sandbox.http import ApiError, Body, Json, accepted, ok, text_field
from qdrant_dr.sandbox.recovery import (
    check_checksum,
    check_priority,
    compare_upload,
    from_location,
)
from qdrant_dr.sandbox.restoring import recover_collection, recover_upload
from qdrant_dr.sandbox.routes.common import Found, Name, TheNode
from qdrant_dr.sandbox.upload import receive_file

router = APIRouter()
_SNAPSHOTS = "/collections/{collection}/snapshots"
_QUERY = "query parameters"


@router.get(_SNAPSHOTS)
def list_snapshots(found: Found, node: TheNode) -> Response:
    return ok(files.listed(node.snapshot_folder(found.name)))


@router.post(_SNAPSHOTS)
def create(found: Found, node: TheNode, wait: bool = True) -> Response:
    return done(lambda: node.create_snapshot(found.name), wait=wait)


@router.post(f"{_SNAPSHOTS}/upload")
async def upload(
    request: Request,
    collection: Name,
    node: TheNode,
    wait: bool = True,
    priority: str | None = None,
    checksum: str | None = None,
) -> Response:
    check_priority(priority, f"Deserialize error in {_QUERY}")
    check_checksum(checksum, _QUERY)
    path = node.temp_file()
    try:
        received = await receive_file(request, "snapshot", path)
        compare_upload(received.sha256, checksum)

        def recover() -> Json:
            recover_upload(node, collection, received, priority)
            return True

        return await run_in_threadpool(done, recover, wait=wait)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


@router.put(f"{_SNAPSHOTS}/recover")
def recover(collection: Name, body: Body, node: TheNode, wait: bool = True) -> Response:
    location, checksum, api_key = told_of_recovery(body)

    def run() -> Json:
        fetch = from_location(location, checksum, api_key, node.snapshots)
        recover_collection(node, collection, fetch, body.get("priority"))
        return True

    return done(run, wait=wait)


@router.get(f"{_SNAPSHOTS}/{{name}}")
def download(collection: Name, name: str, request: Request, node: TheNode) -> Response:
    def find() -> Path:
        return files.find(node.snapshot_folder(node.find(collection).name), name)

    return send(find, request)


@router.delete(f"{_SNAPSHOTS}/{{name}}")
def delete(found: Found, name: str, node: TheNode, wait: bool = True) -> Response:
    files.delete(files.find(node.snapshot_folder(found.name), name))
    return ok(True) if wait else accepted()


@router.get("/snapshots")
def list_full(node: TheNode) -> Response:
    return ok(files.listed(node.snapshots))


@router.post("/snapshots")
def create_full(node: TheNode, wait: bool = True) -> Response:
    return done(node.create_full_snapshot, wait=wait)


@router.get("/snapshots/{name}")
def download_full(name: str, request: Request, node: TheNode) -> Response:
    return send(lambda: files.find(node.snapshots, name), request)


@router.delete("/snapshots/{name}")
def delete_full(name: str, node: TheNode, wait: bool = True) -> Response:
    files.delete(files.find(node.snapshots, name))
    return ok(True) if wait else accepted()


def done(work: Callable[[], Json], *, wait: bool) -> Response:
    """Return the result or, without `wait`, only that the call was accepted: a failure is never
    reported."""
    if wait:
        return ok(work())
    threading.Thread(target=work, daemon=True).start()
    return accepted()


def send(find: Callable[[], Path], request: Request) -> Response:
    """Answer with a download; errors are in plain text."""
    try:
        return answer(find(), request.headers)
    except ApiError as error:
        raise ApiError(error.status, error.text, plain=True) from None


def told_of_recovery(body: Json) -> tuple[str, str | None, str | None]:
    """Return location, checksum and key of a recovery. Raise ApiError 400 or 422."""
    location = text_field(body, "location")
    check_priority(body.get("priority"), "Format error in JSON body")
    check_checksum(body.get("checksum"), "JSON body")
    return location, body.get("checksum"), body.get("api_key")
