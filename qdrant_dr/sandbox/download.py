"""Download of a file with the headers that actix's `NamedFile` gives (measured on Qdrant 1.18.3).

One `Range`, `If-Match` with the strong ETag (412), 416 with the size; a client that accepts gzip
gets the whole file compressed on the fly and no length, a range is never compressed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from pathlib import Path

from fastapi import Response
from fastapi.responses import StreamingResponse

from qdrant_dr.sandbox.files import disposition, etag

_BLOCK = 1 << 20
_RANGE = re.compile(r"bytes=(\d*)-(\d*)(,.*)?")
_GZIP_WINDOW = 31  # zlib's own notation for a gzip header around 32 KiB of window


def answer(path: Path, asked: Mapping[str, str]) -> Response:
    size = path.stat().st_size
    headers = {
        "content-type": "application/octet-stream",
        "etag": etag(path),
        "accept-ranges": "bytes",
        "content-disposition": disposition(path.name),
        "last-modified": formatdate(path.stat().st_mtime, usegmt=True),
    }
    start, end, status = 0, size, 200
    if "range" in asked:
        span = _span(asked["range"], size)
        if span is None:
            headers["content-range"] = f"bytes */{size}"
            return Response(status_code=416, headers=headers)
        start, end = span
        status = 206
        headers |= {
            "content-range": f"bytes {start}-{end - 1}/{size}",
            "content-encoding": "identity",
        }
    wanted = [tag.strip() for tag in asked.get("if-match", "*").split(",")]
    if "*" not in wanted and headers["etag"] not in wanted:
        return Response(status_code=412, headers=headers)
    blocks = _blocks(path, start, end)
    if status == 200 and "gzip" in asked.get("accept-encoding", ""):
        headers["content-encoding"] = "gzip"
        return StreamingResponse(_gzip(blocks), status, headers)
    headers["content-length"] = str(end - start)
    return StreamingResponse(blocks, status, headers)


def _span(header: str, size: int) -> tuple[int, int] | None:
    """First and one past the last byte of the first range; None when it cannot be satisfied."""
    match = _RANGE.fullmatch(header.replace(" ", ""))
    if not match or match[1] == match[2] == "":
        return None
    if match[1] == "":
        start, end = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        end = min(int(match[2]) + 1, size) if match[2] else size
    return (start, end) if start < end else None


def _blocks(path: Path, start: int, end: int) -> Iterator[bytes]:
    with path.open("rb") as source:
        source.seek(start)
        while start < end and (block := source.read(min(_BLOCK, end - start))):
            start += len(block)
            yield block


def _gzip(blocks: Iterator[bytes]) -> Iterator[bytes]:
    deflate = zlib.compressobj(level=1, wbits=_GZIP_WINDOW)
    for block in blocks:
        yield deflate.compress(block)
    yield deflate.flush()
