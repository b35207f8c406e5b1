"""Google Cloud Storage: resumable uploads, `ifGenerationMatch`, versions and soft delete.

Objects of every storage class can be read immediately.
"""

# ruff: noqa: SLF001, ARG002 -- fsspec's coroutines begin with `_`; one signature fits three
from __future__ import annotations

import json
import os
import secrets
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from qdrant_dr.config import Tls
from qdrant_dr.errors import DRError, RepositoryUnreachable
from qdrant_dr.network import proxy_for, tls_context
from qdrant_dr.secrets import laid_over
from qdrant_dr.stores.body import Body
from qdrant_dr.stores.provider import CONNECT, READ, Calls, Provider, Upload, Versions, hex_of
from qdrant_dr.stores.tiers import Storage

_GOOGLE = "https://storage.googleapis.com"


class Gcs(Provider):
    """Google's."""

    def filesystem(self, options: Mapping[str, Any], tls: Tls, **ours: Any) -> Any:
        # otherwise gcsfs tries gRPC: the first call to an endpoint that is not Google's then waits
        # a minute. This variable prevents even loading gRPC
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        from qdrant_dr.stores.gcs_client import FileSystem

        return FileSystem(**laid_over(_options(options, tls, ours["loop"]), options), **ours)

    def upload(self, fs: Any, bucket: str, key: str, *, create: bool) -> Upload:
        return GcsUpload(fs, bucket, key, create)

    def pipe(
        self, fs: Any, bucket: str, key: str, data: bytes, *, mode: str
    ) -> Coroutine[Any, Any, Any]:
        return _pipe(fs, bucket, key, data, mode=mode)

    def listed(self, info: Mapping[str, Any]) -> Storage:
        return Storage(str(info.get("storageClass") or ""))

    def md5(self, info: Mapping[str, Any]) -> str:
        return hex_of(info.get("md5Hash"))

    def versions(self, store: Calls, bucket: str) -> Versions:
        return GcsVersions(store, bucket)


@dataclass(slots=True)
class GcsUpload:
    """A resumable upload: one part after the other, each a multiple of 256 KiB."""

    fs: Any
    bucket: str
    key: str
    create: bool
    IN_FLIGHT: int = 1
    _url: str | None = None

    async def begin(self) -> None:
        from gcsfs.core import initiate_upload

        self._url = await initiate_upload(
            self.fs, self.bucket, self.key, mode="create" if self.create else "overwrite"
        )

    async def put(self, number: int, offset: int, body: Body, *, last: bool) -> None:
        end = offset + len(body)
        headers, _ = await self.fs._call(
            "POST",
            self._url,
            headers={
                "Content-Range": f"bytes {offset}-{end - 1}/{end if last else '*'}",
                "Content-Type": "application/octet-stream",
                "Content-Length": str(len(body)),
            },
            data=body,
        )
        # the server may keep less than was sent, and reports the range that it has
        if kept := headers.get("Range"):
            begin = int(kept.rpartition("-")[2]) + 1
            if begin < offset:
                raise RepositoryUnreachable(
                    f"{self.bucket} lost bytes of {self.key} that it had: it has {begin} of {end}"
                )
            if begin < end:
                rest = Body(*body.views(begin - offset))
                await self.put(number, begin, rest, last=last)

    async def finish(self) -> None:
        """Do nothing: the last part finished it."""

    async def abort(self) -> None:
        if self._url:
            await self.fs._call("DELETE", self._url)  # answers 499, which gcsfs takes as success


async def _pipe(fs: Any, bucket: str, key: str, data: bytes, *, mode: str) -> None:
    """Upload a small object in one request, as gcsfs does, with a body that the loop can stream."""
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
        data=Body(head.encode(), data, f"\r\n--{frontier}--".encode()),
        **match,
    )


class GcsVersions:
    """Versions, and for how many days Google keeps every deleted object (soft delete)."""

    def __init__(self, store: Calls, bucket: str) -> None:
        try:
            found = store.call("asking about", bucket, "_call", "GET", f"b/{bucket}", json_out=True)
        except DRError:
            found = {}  # some accounts may write objects but not read the bucket's settings
        self.hidden: str | None = None
        soft = int(found.get("softDeletePolicy", {}).get("retentionDurationSeconds", 0))
        if found.get("versioning", {}).get("enabled"):
            self.hidden = (
                f"bucket {bucket} keeps versions: a lifecycle rule on numNewerVersions or "
                "daysSinceNoncurrentTime removes deleted ones"
            )
        elif soft:
            self.hidden = f"bucket {bucket} keeps deleted objects for {soft // 86400} days"

    def locked_until(self, key: str) -> datetime | None:
        return None  # a retention policy refuses the deletion when it is tried


def _options(options: Mapping[str, Any], tls: Tls, loop: Any) -> dict[str, Any]:
    import aiohttp

    endpoint = options.get("endpoint_url") or _GOOGLE
    if "://" not in str(endpoint):
        endpoint = f"http://{endpoint}"
    return {
        "requests_timeout": aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=READ),
        "session_kwargs": {
            "connector": aiohttp.TCPConnector(ssl=tls_context(tls), loop=loop),
            "proxy": proxy_for(str(endpoint)),
        },
    }
