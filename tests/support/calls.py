"""Requests that this process sends, counted where httpx sends them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import httpx


@contextmanager
def counted(prefix: str) -> Iterator[Counter[str]]:
    """By method and path (ids as `*`), of requests whose URL begins with `prefix`; retries too."""
    calls: Counter[str] = Counter()
    sync, asynchronous = (
        httpx.HTTPTransport.handle_request,
        httpx.AsyncHTTPTransport.handle_async_request,
    )

    def note(request: httpx.Request) -> None:
        if (url := str(request.url)).startswith(prefix):
            path = re.sub(r"[0-9a-f-]{36}", "*", url.removeprefix(prefix).partition("?")[0])
            calls[f"{request.method} {path}"] += 1

    def handle(self: Any, request: httpx.Request) -> httpx.Response:
        note(request)
        return sync(self, request)

    async def handle_async(self: Any, request: httpx.Request) -> httpx.Response:
        note(request)
        return await asynchronous(self, request)

    with (
        mock.patch.object(httpx.HTTPTransport, "handle_request", handle),
        mock.patch.object(httpx.AsyncHTTPTransport, "handle_async_request", handle_async),
    ):
        yield calls
