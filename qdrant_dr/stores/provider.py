"""What S3, GCS and Azure do each in its own way; `s3`, `gcs` and `azure` say how.

fsspec's own files are not used for writing: `with fs.open(.., "wb")` commits a truncated object
when its block raises, and Azure's even when it is garbage-collected. Methods of uploads are
coroutines of fsspec's loop; `objects` runs them.
"""

# ruff: noqa: ARG002 -- one signature fits three
from __future__ import annotations

import io
from collections.abc import Coroutine, Mapping
from datetime import datetime
from typing import Any, Protocol

from qdrant_dr.config import Tls
from qdrant_dr.stores.base import PART_FLOOR, OpenUpload
from qdrant_dr.stores.lifecycle import Rule
from qdrant_dr.stores.tiers import Storage

CONNECT = 5  # seconds
READ = 60  # seconds without a byte


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


class Calls(Protocol):
    """A store, as far as its provider needs it."""

    def call(self, doing: str, path: str, method: str, *args: Any, **given: Any) -> Any:
        """One call of the file system's own, by the name of its coroutine."""


class Versions(Protocol):
    """`hidden`: why deleted bytes stay, and what makes them go; None if they are gone at once."""

    hidden: str | None

    def locked_until(self, key: str) -> datetime | None:
        """Until when this object cannot go at all."""


class Provider:
    """One object storage. What it does not tell is none, unless a provider says otherwise."""

    one_request: int = PART_FLOOR
    """Bytes up to which an object is sent in one request."""

    def filesystem(self, options: Mapping[str, Any], tls: Tls, **ours: Any) -> Any:
        """A file system of fsspec, with proxy, trust and patience of ours."""
        raise NotImplementedError

    def upload(self, fs: Any, bucket: str, key: str) -> Upload:
        """An upload in parts that is not begun yet."""
        raise NotImplementedError

    def pipe(
        self, fs: Any, bucket: str, key: str, data: bytes, *, mode: str
    ) -> Coroutine[Any, Any, Any]:
        """Write in one request; `mode` is fsspec's. `create` sends the precondition that nothing
        is there (`If-None-Match: *`, or `ifGenerationMatch=0`)."""
        answer: Coroutine[Any, Any, Any] = fs._pipe_file(f"{bucket}/{key}", data, mode=mode)  # noqa: SLF001
        return answer

    def listed(self, info: Mapping[str, Any]) -> Storage:
        """The class or tier that a listing says."""
        raise NotImplementedError

    def tells_more(self, storage: Storage, size_bytes: int) -> bool:
        """Whether the object itself says more of its class than a listing does (`head`)."""
        return False

    def head(self, fs: Any, bucket: str, key: str) -> Coroutine[Any, Any, Any]:
        """Ask the object itself."""
        raise NotImplementedError

    def asked(self, storage: Storage, head: Mapping[str, Any]) -> Storage:
        """What it answered, laid over what was listed."""
        return storage

    def versions(self, store: Calls, bucket: str) -> Versions | None:
        """What the bucket does with deleted objects; None where it does not tell."""
        return None

    def lifecycle(self, store: Calls, bucket: str, prefix: str) -> tuple[Rule, ...]:
        """What rules of the bucket do to objects below `prefix` by and by."""
        return ()

    def open_uploads(self, store: Calls, bucket: str, prefix: str, folder: str) -> list[OpenUpload]:
        """Uploads that were begun below a folder and never finished. GCS and Azure do not list
        them, and drop them after a week."""
        return []

    def discard_upload(self, store: Calls, bucket: str, key: str, upload: OpenUpload) -> None:
        """Free what an open upload holds. Raise ObjectMissing if it is gone."""
