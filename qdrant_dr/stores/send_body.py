"""Tell aiohttp how to send a `Body`; imported where clients are made, because it takes long.

By itself it would read a file 64 KiB at a time, each a copy, or send plain bytes in one go, which
blocks everything else on the loop.
"""

from __future__ import annotations

import asyncio

from aiohttp import payload
from aiohttp.abc import AbstractStreamWriter

from qdrant_dr.stores.body import Body


@payload.payload_type(Body)
class _Sending(payload.Payload):
    """How aiohttp sends a `Body`."""

    _value: Body
    _autoclose = True

    @property
    def size(self) -> int:
        return len(self._value)

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        left = len(self._value) if content_length is None else content_length
        for view in self._value.views():
            if left <= 0:
                break
            await writer.write(view[:left])
            left -= len(view)
            await asyncio.sleep(0)

    async def as_bytes(self, *_: str) -> bytes:
        return b"".join(self._value.views())

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return b"".join(self._value.views()).decode(encoding, errors)
