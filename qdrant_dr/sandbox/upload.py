"""One file out of a multipart body, straight to disk, hashed in passing: memory stays flat."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from fastapi import Request

from qdrant_dr.sandbox.http import ApiError

_HEAD_LIMIT = 16 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """`file_name` is reduced to its last component, as Qdrant does."""

    file_name: str
    sha256: str
    path: Path


class _Body:
    """The body as a buffer that is refilled: only what may belong to a boundary is kept."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b"\r\n"  # the first boundary has no line break before it

    async def until(self, mark: bytes) -> AsyncIterator[bytes]:
        """Yield all bytes before `mark`, in blocks; the mark is consumed. Raise ApiError 400."""
        while (at := self._buffer.find(mark)) < 0:
            keep = len(mark) - 1
            if len(self._buffer) > keep:
                yield self._buffer[:-keep]
                self._buffer = self._buffer[-keep:]
            await self._refill()
        yield self._buffer[:at]
        self._buffer = self._buffer[at + len(mark) :]

    async def take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._refill()
        taken, self._buffer = self._buffer[:size], self._buffer[size:]
        return taken

    async def _refill(self) -> None:
        async for chunk in self._chunks:
            if chunk:
                self._buffer += chunk
                return
        raise ApiError(400, "Multipart stream is incomplete", plain=True)


async def receive_file(request: Request, field: str, path: Path) -> Received:
    """Write the part named `field` to `path`. Raise ApiError 400 when there is none."""
    boundary = re.search(r'boundary="?([^";]+)"?', request.headers.get("content-type", ""))
    if not boundary:
        raise ApiError(400, "Could not find Content-Type header", plain=True)
    mark = b"\r\n--" + boundary[1].encode()
    body = _Body(request.stream())
    received = None
    async for _ in body.until(mark):  # a preamble means nothing
        pass
    while await body.take(2) == b"\r\n":
        head = b"".join([block async for block in body.until(b"\r\n\r\n")])
        name, file_name = _names(head)
        if name == field and received is None:
            received = await _save(body.until(mark), path, file_name)
        else:
            async for _ in body.until(mark):
                pass
    if received is None:
        raise ApiError(400, f"Required field is missing: {field}", plain=True)
    return received


async def _save(blocks: AsyncIterator[bytes], path: Path, file_name: str) -> Received:
    digest = hashlib.sha256()
    with path.open("wb") as out:
        async for block in blocks:
            digest.update(block)
            out.write(block)
    return Received(Path(file_name).name, digest.hexdigest(), path)


def _names(head: bytes) -> tuple[str | None, str]:
    """Field and file name of a part from its header lines."""
    if len(head) > _HEAD_LIMIT:
        raise ApiError(400, "Multipart header is too long", plain=True)
    message = Message()
    for line in head.decode("utf-8", "replace").split("\r\n"):
        key, _, value = line.partition(":")
        message[key.strip()] = value.strip()
    name = message.get_param("name", header="content-disposition")
    return (str(name) if name else None), message.get_filename("")
