"""Snapshots of one shard: stored, streamed, uploaded, recovered; the partial manifest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from qdrant_dr.sandbox import files
from qdrant_dr.sandbox.archive import extract
from qdrant_dr.sandbox.http import SLASH, ApiError, Body, Json, accepted, ok
from qdrant_dr.sandbox.recovery import check_priority, compare_upload, from_shard_location
from qdrant_dr.sandbox.restoring import recover_shard
from qdrant_dr.sandbox.routes.common import Found, FromPeer, Name, TheNode
from qdrant_dr.sandbox.routes.snapshots import done, send, told_of_recovery
from qdrant_dr.sandbox.upload import receive_file

router = APIRouter()
_SHARD = "/collections/{collection}/shards/{shard}"
_SNAPSHOTS = f"{_SHARD}/snapshots"
_BLOCK = 1 << 16


@router.get(_SNAPSHOTS)
def list_snapshots(collection: Name, shard: int, node: TheNode) -> Response:
    return ok(files.listed(node.shard_snapshot_folder(collection, shard)))


@router.post(_SNAPSHOTS)
def create(found: Found, shard: int, node: TheNode, wait: bool = True) -> Response:
    return done(lambda: node.create_shard_snapshot(found.name, shard), wait=wait)


@router.post(f"{_SNAPSHOTS}/upload")
async def upload(
    request: Request,
    collection: Name,
    shard: int,
    node: TheNode,
    alone: FromPeer,
    wait: bool = True,
    priority: str | None = None,
    checksum: str | None = None,
) -> Response:
    """Take an uploaded shard. A malformed checksum is a mismatch here, not a 422, and the file does
    not stay."""
    check_priority(priority, "Query deserialize error", plain=True)
    path = node.temp_file()
    try:
        received = await receive_file(request, "snapshot", path)
    except BaseException:
        path.unlink(missing_ok=True)
        raise

    def recover() -> None:
        try:
            compare_upload(received.sha256, checksum)
            recover_shard(
                node, collection, shard, lambda to: extract(path, to), priority, alone=alone
            )
        finally:
            path.unlink(missing_ok=True)

    return await run_in_threadpool(done, recover, wait=wait)


@router.put(f"{_SNAPSHOTS}/recover")
def recover(collection: Name, shard: int, body: Body, node: TheNode, wait: bool = True) -> Response:
    location, checksum, api_key = told_of_recovery(body)

    def run() -> Json:
        within = node.shard_snapshot_folder(collection, shard)
        fetch = from_shard_location(location, checksum, api_key, within)
        recover_shard(node, collection, shard, fetch, body.get("priority"))
        return True

    return done(run, wait=wait)


@router.get(f"{_SNAPSHOTS}/{{name}}")
def download(collection: Name, shard: int, name: str, request: Request, node: TheNode) -> Response:
    def find() -> Path:
        path = node.shard_snapshot_folder(collection, shard) / name
        if SLASH not in name and not path.exists():  # it is opened without a look at the list
            raise ApiError(404, "File not found: No such file or directory (os error 2)")
        return files.find(path.parent, name)

    return send(find, request)


@router.delete(f"{_SNAPSHOTS}/{{name}}")
def delete(collection: Name, shard: int, name: str, node: TheNode, wait: bool = True) -> Response:
    files.delete(files.find_of_shard(node.shard_snapshot_folder(collection, shard), name))
    return ok(True) if wait else accepted()


@router.get(f"{_SHARD}/snapshot")
def stream(collection: Name, shard: int, node: TheNode) -> Response:
    """Stream a shard: no length, no checksum, no range, and nothing is kept."""
    try:
        path, name = node.stream_shard(collection, shard)
    except ApiError as error:
        raise ApiError(error.status, error.text, plain=True) from None
    headers = {
        "content-type": "application/octet-stream",
        "content-disposition": files.disposition(name),
    }
    return StreamingResponse(_blocks(path), headers=headers)


@router.get(f"{_SHARD}/snapshot/partial/manifest")
def partial_manifest(found: Found, shard: int) -> Response:
    """Return the partial manifest; the greatest `segment_version` is the number of the last
    operation that changed the shard."""
    return ok(found.manifest(shard))


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        path.unlink()
        while block := source.read(_BLOCK):
            yield block
