"""Qdrant's JSON envelope, its errors, and JSON that prints float32 as Qdrant does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import Annotated, Any

import orjson
from fastapi import Depends, Request, Response

Json = Any
"""Decoded JSON. The routes check what they use; the engine checks the rest."""

started: ContextVar[float] = ContextVar("started")
"""`time.perf_counter()` when the request arrived."""


SLASH = "\x00"
"""Stands for a percent-encoded slash within one segment of a path while it is routed."""


class ApiError(Exception):
    """Becomes `{"status": {"error": text}, "time": seconds}`, or plain text as in Qdrant."""

    def __init__(
        self,
        status: int,
        text: str,
        *,
        plain: bool = False,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.plain = plain
        self.headers = dict(headers or {})


def not_found(text: str) -> ApiError:
    return ApiError(404, f"Not found: {text}")


def wrong_input(text: str) -> ApiError:
    return ApiError(400, f"Wrong input: {text}")


def bad_body(text: str, length: int) -> ApiError:
    """Build the error that names, as Qdrant does, where its parser stopped: the end of the
    outermost value."""
    return ApiError(400, f"Format error in JSON body: {text} at line 1 column {length}")


def service_error(text: str) -> ApiError:
    return ApiError(500, f"Service internal error: {text}")


def ok(result: Json, status: int = 200) -> Response:
    """Build a good answer; `numpy.float32` values are printed with the shortest digits that give
    them back."""
    return _json({"result": result, "status": "ok", "time": _elapsed()}, status)


def accepted() -> Response:
    """Build the answer to a call with `wait=false`: no result, no name, no job id."""
    return _json({"status": "accepted", "time": _elapsed()}, 202)


def refused(error: ApiError) -> Response:
    if error.plain:  # a 401 has no content type at all
        kind = None if error.status == 401 else "text/plain; charset=utf-8"
        return Response(error.text, error.status, media_type=kind)
    answer = _json({"status": {"error": error.text}, "time": _elapsed()}, error.status)
    answer.headers.update(error.headers)
    return answer


async def json_body(request: Request) -> Json:
    """Return the decoded body; an absent one is `{}`. Raise ApiError 400 for anything but JSON."""
    raw = await request.body()
    request.state.body_length = len(raw)
    try:
        return orjson.loads(raw or b"{}")
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"Format error in JSON body: {error}") from error


Body = Annotated[Json, Depends(json_body)]


def need(body: Json, field: str) -> Json:
    """Raise ApiError 400 when the body lacks the field."""
    if not isinstance(body, dict) or field not in body:
        raise ApiError(400, f"Format error in JSON body: missing field `{field}`")
    return body[field]


def text_field(body: Json, field: str) -> str:
    """Raise ApiError 400 when the body lacks the field or it is no text."""
    value = need(body, field)
    if not isinstance(value, str):
        raise ApiError(400, f"Format error in JSON body: invalid type for `{field}`")
    return value


def _elapsed() -> float:
    return time.perf_counter() - started.get(time.perf_counter())


def _json(content: Json, status: int) -> Response:
    raw = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    return Response(raw, status, media_type="application/json")
