"""Azure Blob Storage: staged blocks, `If-None-Match`, tiers.

The storage API does not tell how long a container keeps deleted blobs, nor its lifecycle rules.
"""

# ruff: noqa: ARG002 -- one signature fits three
from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qdrant_dr.config import Tls
from qdrant_dr.stores.body import Body
from qdrant_dr.stores.errors import is_taken
from qdrant_dr.stores.provider import CONNECT, READ, Provider, Upload, hex_of
from qdrant_dr.stores.tiers import Storage


class Azure(Provider):
    """Microsoft's."""

    one_request = 2**20  # the client sends one request's bytes at once; blocks are streamed

    def filesystem(self, options: Mapping[str, Any], tls: Tls, **ours: Any) -> Any:
        from qdrant_dr.stores.azure_client import FileSystem

        given = {"connection_timeout": CONNECT, "read_timeout": READ, **options}
        return FileSystem(**given, tls=tls, **ours)

    def upload(self, fs: Any, bucket: str, key: str, *, create: bool) -> Upload:
        return AzureUpload(fs, bucket, key, create)

    def listed(self, info: Mapping[str, Any]) -> Storage:
        name = str(info.get("blob_tier") or "")
        thawing = name == "Archive" and bool(info.get("archive_status"))
        return Storage(name, archived=name == "Archive", thawing=thawing)

    def md5(self, info: Mapping[str, Any]) -> str:
        """Return the one that the service computed of a blob that came in one request."""
        return hex_of((info.get("content_settings") or {}).get("content_md5"))


async def _committed(blob: Any) -> list[str]:
    """Return the names of the blocks of a blob."""
    committed, _ = await blob.get_block_list("committed")
    return [block.id for block in committed]


@dataclass(slots=True)
class AzureUpload:
    """An upload of blocks, then of their list; Azure drops uncommitted blocks after a week."""

    fs: Any
    bucket: str
    key: str
    create: bool
    IN_FLIGHT: int = 3
    _prefix: str = field(default_factory=lambda: secrets.token_hex(8))
    _count: int = 0

    async def begin(self) -> None:
        """Do nothing: blocks need no upload."""

    async def put(self, number: int, offset: int, body: Body, *, last: bool) -> None:
        async with self._blob() as blob:
            await blob.stage_block(block_id=self._name(number), data=body, length=len(body))
        self._count += 1

    async def finish(self) -> None:
        from azure.core import MatchConditions
        from azure.storage.blob import BlobBlock

        names = [self._name(n) for n in range(self._count)]
        condition = {"match_condition": MatchConditions.IfMissing} if self.create else {}
        async with self._blob() as blob:
            try:
                await blob.commit_block_list([BlobBlock(name) for name in names], **condition)
            except Exception as e:  # noqa: BLE001 -- most are raised again
                error = e
            else:
                return
            # out of the handler, else a further error would have this one as its context; a retry
            # after our own success is told that the name is taken
            if not self.create or not is_taken(error) or await _committed(blob) != names:
                raise error

    async def abort(self) -> None:
        """Do nothing: uncommitted blocks are invisible and expire."""

    def _name(self, number: int) -> str:
        return f"{self._prefix}-{number:06d}"

    def _blob(self) -> Any:
        return self.fs.service_client.get_blob_client(container=self.bucket, blob=self.key)
