"""Uploads in parts, per provider: begun, fed, finished in one step, or taken back.

fsspec's own files are not used for writing: `with fs.open(.., "wb")` commits a truncated object
when its block raises, and Azure's even when it is garbage-collected.
All methods are coroutines of fsspec's loop; `objects` runs them.
"""

# ruff: noqa: SLF001, ARG002 -- fsspec's coroutines begin with `_`; one signature fits three
from __future__ import annotations

import io
import json
import secrets
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote


class Body(io.BytesIO):
    """Bytes that a retry can send again: what sends a file closes it. Raw bytes above 1 MiB are
    sent in one go by aiohttp, and hold up everything else on the loop."""

    def close(self) -> None:
        self.seek(0)


class Upload(Protocol):
    """One upload in parts. `put` may run `IN_FLIGHT` times at once."""

    IN_FLIGHT: int

    async def begin(self) -> None:
        """Open it."""

    async def put(self, number: int, offset: int, data: bytes, *, last: bool) -> None:
        """Send part `number` (from 0), which begins at byte `offset`."""

    async def finish(self) -> None:
        """Make the object visible."""

    async def abort(self) -> None:
        """Take everything back; nothing was visible."""


@dataclass(slots=True)
class S3Upload:
    """A multipart upload."""

    fs: Any
    bucket: str
    key: str
    IN_FLIGHT: int = 3
    _id: str | None = None
    _tags: dict[int, dict[str, Any]] = field(default_factory=dict)

    async def begin(self) -> None:
        answer = await self._call("create_multipart_upload")
        self._id = answer["UploadId"]

    async def put(self, number: int, offset: int, data: bytes, *, last: bool) -> None:
        body = Body(data)
        del data  # aiohttp looks into the body's buffer: if that is shared, it is copied first
        answer = await self._call(
            "upload_part", UploadId=self._id, PartNumber=number + 1, Body=body
        )
        self._tags[number] = {
            name: answer[name]
            for name in ("ETag", "ChecksumCRC32", "ChecksumCRC64NVME", "ChecksumSHA256")
            if name in answer
        }

    async def finish(self) -> None:
        parts = [{"PartNumber": n + 1, **tag} for n, tag in sorted(self._tags.items())]
        await self._call(
            "complete_multipart_upload", UploadId=self._id, MultipartUpload={"Parts": parts}
        )

    async def abort(self) -> None:
        if self._id:
            await self._call("abort_multipart_upload", UploadId=self._id)

    async def _call(self, method: str, **arguments: Any) -> Any:
        return await self.fs._call_s3(method, Bucket=self.bucket, Key=self.key, **arguments)


@dataclass(slots=True)
class GcsUpload:
    """A resumable upload: strictly one part after the other, each a multiple of 256 KiB."""

    fs: Any
    bucket: str
    key: str
    IN_FLIGHT: int = 1
    _url: str | None = None

    async def begin(self) -> None:
        from gcsfs.core import initiate_upload

        self._url = await initiate_upload(self.fs, self.bucket, self.key)

    async def put(self, number: int, offset: int, data: bytes, *, last: bool) -> None:
        total = str(offset + len(data)) if last else "*"
        headers, _ = await self.fs._call(
            "POST",
            self._url,
            headers={
                "Content-Range": f"bytes {offset}-{offset + len(data) - 1}/{total}",
                "Content-Type": "application/octet-stream",
                "Content-Length": str(len(data)),
            },
            data=Body(data),
        )
        # the server may keep less than it was sent, and says so by the range it has
        end = offset + len(data) - 1
        if (kept := headers.get("Range")) and (missing := end - int(kept.rpartition("-")[2])):
            await self.put(number, end + 1 - missing, data[-missing:], last=last)

    async def finish(self) -> None:
        """Nothing to do: the last part finished it."""

    async def abort(self) -> None:
        if self._url:
            await self.fs._call("DELETE", self._url)  # answers 499, which gcsfs takes as success


async def gcs_pipe(fs: Any, bucket: str, key: str, data: bytes, *, mode: str) -> None:
    """One request for a small object, as gcsfs makes it, with a body the loop can stream."""
    frontier = secrets.token_hex(16)
    head = (
        f"--{frontier}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n"
        f"{json.dumps({'name': key})}\r\n"
        f"--{frontier}\r\nContent-Type: application/octet-stream\r\n\r\n"
    )
    match = {"ifGenerationMatch": "0"} if mode == "create" else {}
    await fs._call(
        "POST",
        f"{fs._location}/upload/storage/v1/b/{quote(bucket, safe='')}/o",
        uploadType="multipart",
        headers={"Content-Type": f'multipart/related; boundary="{frontier}"'},
        data=Body(head.encode() + data + f"\r\n--{frontier}--".encode()),
        **match,
    )


@dataclass(slots=True)
class AzureUpload:
    """Blocks under names of our own, then one list of them; Azure drops the rest in a week."""

    fs: Any
    bucket: str
    key: str
    IN_FLIGHT: int = 3
    _prefix: str = field(default_factory=lambda: secrets.token_hex(8))
    _count: int = 0

    async def begin(self) -> None:
        """Nothing to do: blocks need no upload."""

    async def put(self, number: int, offset: int, data: bytes, *, last: bool) -> None:
        async with self._blob() as blob:
            await blob.stage_block(block_id=self._name(number), data=Body(data), length=len(data))
        self._count += 1

    async def finish(self) -> None:
        from azure.storage.blob import BlobBlock

        async with self._blob() as blob:
            await blob.commit_block_list([BlobBlock(self._name(n)) for n in range(self._count)])

    async def abort(self) -> None:
        """Nothing to do: uncommitted blocks are invisible and expire."""

    def _name(self, number: int) -> str:
        return f"{self._prefix}-{number:06d}"

    def _blob(self) -> Any:
        return self.fs.service_client.get_blob_client(container=self.bucket, blob=self.key)


UPLOADS: dict[str, type[S3Upload] | type[GcsUpload] | type[AzureUpload]] = {
    "s3": S3Upload,
    "gs": GcsUpload,
    "az": AzureUpload,
}
