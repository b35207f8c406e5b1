"""Keys: who may call what, decided before a body is read, as Qdrant decides it.

Measured on Qdrant 1.18.3: no key or a wrong one is 401 in plain text; a read-only key may list
and download snapshots, read points and facts, and gets 403 for everything else, as JSON, but as
plain text for streams and uploads. Root and health need no key.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from qdrant_dr.sandbox.http import ApiError

_FREE = re.compile(r"/|/(healthz|readyz|livez)")
_READING_POSTS = re.compile(
    r"/collections/[^/]+(/shards/[^/]+)?/points(/(count|scroll|query|query/batch))?"
)
_STREAM = re.compile(r"/collections/[^/]+/shards/[^/]+/snapshot")
_FORBIDDEN = "Forbidden: Global manage access is required"


@dataclass(frozen=True, slots=True)
class Keys:
    """Without any key everybody may do everything, as in Qdrant."""

    api_key: str | None = None
    read_api_key: str | None = None

    def check(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        """Raise ApiError 401 or 403."""
        if self == Keys() or _FREE.fullmatch(path):
            return
        given = headers.get("api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if not given:
            text = "Must provide an API key or an Authorization bearer token"
            raise ApiError(401, text, plain=True)
        if _same(given, self.api_key):
            return
        if not _same(given, self.read_api_key):
            raise ApiError(401, "Invalid API key or JWT", plain=True)
        if not _reads(method, path):
            plain = path.endswith("/snapshots/upload") or bool(_STREAM.fullmatch(path))
            raise ApiError(403, _FORBIDDEN, plain=plain)


def _reads(method: str, path: str) -> bool:
    if method == "GET":
        return not _STREAM.fullmatch(path)
    return method == "HEAD" or (method == "POST" and bool(_READING_POSTS.fullmatch(path)))


def _same(given: str, expected: str | None) -> bool:
    return expected is not None and hmac.compare_digest(given.encode(), expected.encode())
