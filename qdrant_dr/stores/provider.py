"""The interface for what differs between S3, GCS and Azure; see `s3`, `gcs` and `azure`.

We do not write with fsspec's own files: `with fs.open(.., "wb")` commits a truncated object when
its block raises, and Azure's even when it is garbage-collected. Methods of uploads are coroutines
of fsspec's loop; `objects` runs them."""

# ruff: noqa: ARG002 -- one signature fits three
from __future__ import annotations

import base64
from collections.abc import Coroutine, Mapping
from datetime import datetime
from typing import Any, Protocol

from qdrant_dr.config import Tls
from qdrant_dr.stores.base import PART_FLOOR, OpenUpload
from qdrant_dr.stores.body import Body
from qdrant_dr.stores.lifecycle import Rule
from qdrant_dr.stores.tiers import Storage

CONNECT = 5  # seconds
READ = 60  # seconds without a byte


def hex_of(digest: object) -> str:
    """Return a digest that a listing gives as bytes or in base64 as hex; empty if it is none."""
    try:
        return (base64.b64decode(digest) if isinstance(digest, str) else bytes(digest or b"")).hex()  # type: ignore[call-overload]
    except (ValueError, TypeError):
        return ""


class Upload(Protocol):
    """One upload in parts. `put` may run `IN_FLIGHT` times at once."""

    IN_FLIGHT: int

    async def begin(self) -> None:
        """Open it."""

    async def put(self, number: int, offset: int, body: Body, *, last: bool) -> None:
        """Send part `number` (from 0), which begins at byte `offset`."""

    async def finish(self) -> None:
        """Make the object visible."""

    async def abort(self) -> None:
        """Discard everything; nothing was visible."""


class Calls(Protocol):
    """The part of a store that its provider needs."""

    def call(self, doing: str, path: str, method: str, *args: Any, **given: Any) -> Any:
        """Make a call of the file system, by the name of its coroutine."""


class Versions(Protocol):
    """`hidden`: why deleted bytes stay, and what removes them; None if they are gone at once."""

    hidden: str | None

    def locked_until(self, key: str) -> datetime | None:
        """Return until when this object cannot be deleted."""


class Provider:
    """One object storage. By default what it does not tell counts as none."""

    one_request: int = PART_FLOOR
    """The largest object, in bytes, that is sent in one request."""

    def filesystem(self, options: Mapping[str, Any], tls: Tls, **ours: Any) -> Any:
        """Make an fsspec file system with our proxy, trust and timeouts."""
        raise NotImplementedError

    def upload(self, fs: Any, bucket: str, key: str, *, create: bool) -> Upload:
        """Return an upload in parts that is not begun yet. With `create` its end is refused if the
        name was taken meanwhile, where the store can."""
        raise NotImplementedError

    def pipe(
        self, fs: Any, bucket: str, key: str, data: bytes, *, mode: str
    ) -> Coroutine[Any, Any, Any]:
        """Write in one request; `mode` is fsspec's. `create` sends the precondition that the name
        is free (`If-None-Match: *`, or `ifGenerationMatch=0`)."""
        answer: Coroutine[Any, Any, Any] = fs._pipe_file(f"{bucket}/{key}", data, mode=mode)  # noqa: SLF001
        return answer

    def below(self, fs: Any, folder: str) -> Coroutine[Any, Any, Any]:
        """List what lies below a folder at any depth, as fsspec describes it, by full path."""
        answer: Coroutine[Any, Any, Any] = fs._find(folder, detail=True)  # noqa: SLF001
        return answer

    def listed(self, info: Mapping[str, Any]) -> Storage:
        """Return the class or tier in a listing."""
        raise NotImplementedError

    def md5(self, info: Mapping[str, Any]) -> str:
        """Return what a listing gives as the MD5 of the content, hex; empty if it gives none."""
        return ""

    def tells_more(self, storage: Storage, size_bytes: int) -> bool:
        """Say whether the object itself (`head`) tells more about its class than a listing."""
        return False

    def head(self, fs: Any, bucket: str, key: str) -> Coroutine[Any, Any, Any]:
        """Ask the object itself."""
        raise NotImplementedError

    def asked(self, storage: Storage, head: Mapping[str, Any]) -> Storage:
        """Combine its answer with what was listed."""
        return storage

    def versions(self, store: Calls, bucket: str) -> Versions | None:
        """Return how the bucket keeps deleted objects; None if it does not tell."""
        return None

    def lifecycle(self, store: Calls, bucket: str, prefix: str) -> tuple[Rule, ...]:
        """Return the bucket's lifecycle rules for objects below `prefix`."""
        return ()

    def replaced(self, store: Calls, bucket: str, prefix: str, folder: str) -> list[str] | None:
        """List objects below a folder of which the bucket keeps more than one version, or a
        deletion; None if it keeps no versions, or does not tell."""
        return None

    def open_uploads(self, store: Calls, bucket: str, prefix: str, folder: str) -> list[OpenUpload]:
        """List uploads that were begun below a folder and never finished. GCS and Azure do not list
        them, and drop them after a week."""
        return []

    def discard_upload(self, store: Calls, bucket: str, key: str, upload: OpenUpload) -> None:
        """Free what an open upload holds. Raise ObjectMissing if it is gone."""
