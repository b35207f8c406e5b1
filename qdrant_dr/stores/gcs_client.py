"""Use gcsfs with errors that keep the answer, and with retries that end before our deadlines.

Its own code drops the reason of a 403, takes every 412 for an existing object, and takes a message
with "invalid" in it for a wrong argument; it tries everything six times, even with an untrusted
certificate.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from typing import Any

import aiohttp
from gcsfs.core import GCSFileSystem

from qdrant_dr.network import chain
from qdrant_dr.stores.loops import end_on
from qdrant_dr.stores.retries import GCS_PAUSES, GCS_TEMPORARY, gcs_pause

_CANCELLED = 499
"""Google's normal answer to an upload that was cancelled."""
_GONE = "specified bucket does not exist"


class Refused(OSError):
    """An error answer. Its message is Google's and never shown."""

    def __init__(
        self, message: str, status: int, error_code: str | None, request_id: str | None
    ) -> None:
        super().__init__(message)
        self.status, self.error_code, self.request_id = status, error_code, request_id


class NotThere(Refused, FileNotFoundError):
    """A 404, in the class that gcsfs itself looks for."""


class FileSystem(GCSFileSystem):  # type: ignore[misc]  # gcsfs has no types
    """The same calls as gcsfs's."""

    @staticmethod
    def close_session(loop: Any, session: Any, asynchronous: bool = False) -> None:
        if session is not None and loop is not None and loop.is_running():
            end_on(loop, session.close)  # its own code starts this in whatever thread drops it
        else:
            GCSFileSystem.close_session(loop, session, asynchronous)

    async def _request(
        self,
        method: str,
        path: str,
        *args: Any,
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        data: Any = None,
        cache_type: Any = None,
        cache_source: Any = None,
        **kwargs: Any,
    ) -> tuple[int, Mapping[str, str], Any, bytes]:
        told: Mapping[str, str]
        for pause in (*GCS_PAUSES, None):
            # before the headers are made, because credentials may have been renewed meanwhile
            await self._set_session()
            if hasattr(data, "seek"):
                data.seek(0)
            try:
                async with self.session.request(
                    method=method,
                    url=self._format_path(path, args),
                    params=self._get_params(kwargs),
                    json=json,
                    headers=self._get_headers(headers, cache_type, cache_source),
                    data=data,
                    timeout=self.requests_timeout,
                ) as answer:
                    content = await answer.read()
                    if answer.status < 400 or answer.status == _CANCELLED:
                        return answer.status, answer.headers, answer.request_info, content
                    error: Exception = _refused(answer.status, answer.headers, content)
                    passing = answer.status in GCS_TEMPORARY
                    told = answer.headers
            except (aiohttp.ClientError, TimeoutError) as e:
                error, told = e, {}
                passing = not any(isinstance(link, ssl.SSLError) for link in chain(e))
            if pause is None or not passing:
                raise error
            await asyncio.sleep(gcs_pause(pause, told))
        raise AssertionError("unreachable")


def _refused(status: int, headers: Mapping[str, str], content: bytes) -> Refused:
    reason, message = None, content.decode(errors="replace")
    try:
        told = json.loads(content)["error"]
        message = str(told.get("message", ""))
        reason = told.get("errors", [{}])[0].get("reason") or told.get("status")
    except (ValueError, LookupError, TypeError, AttributeError):
        pass  # plain text, or from a proxy: only the status is useful
    if status == 404 and _GONE in message:
        reason = "bucketNotFound"
    kind = NotThere if status == 404 else Refused
    return kind(message, status, reason, headers.get("X-GUploader-UploadID"))
