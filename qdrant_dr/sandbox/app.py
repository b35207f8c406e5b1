"""The ASGI application: keys, names in paths, errors, routes."""

from __future__ import annotations

import time
from typing import cast
from urllib.parse import unquote_to_bytes

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from qdrant_dr.sandbox.access import Keys
from qdrant_dr.sandbox.consensus import Consensus
from qdrant_dr.sandbox.http import SLASH, ApiError, refused, started
from qdrant_dr.sandbox.node import Node
from qdrant_dr.sandbox.routes import router


def create_app(node: Node, keys: Keys) -> FastAPI:
    app = FastAPI(title="qdrant-dr sandbox", openapi_url=None, docs_url=None, redoc_url=None)
    app.state.node = node
    app.include_router(router)
    if node.peers:
        app.add_middleware(Consensus, node=node, peers=node.peers)
    app.add_middleware(_Door, keys=keys)
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(RequestValidationError, _bad_parameters)
    return app


class _Door:
    """Starts the clock, asks for the key before anything is read, and splits the path.

    A server decodes each segment of a path after splitting it, so that a collection may be asked
    for whose name contains a slash; ASGI servers decode before.
    """

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started.set(time.perf_counter())
        path = scope["raw_path"].decode("latin-1")
        try:
            self._keys.check(scope["method"], path, Headers(scope=scope))
        except ApiError as error:
            await refused(error)(scope, receive, send)
            return
        segments = [unquote_to_bytes(part).decode("utf-8", "replace") for part in path.split("/")]
        routed = "/".join(segment.replace("/", SLASH) for segment in segments)
        await self._app({**scope, "path": routed}, receive, send)


async def _api_error(_: Request, error: Exception) -> Response:
    return refused(cast("ApiError", error))


async def _no_route(_: Request, __: Exception) -> Response:
    """Another method on a known path is a 404 too: there is no HEAD."""
    return Response(status_code=404)


async def _bad_parameters(_: Request, error: Exception) -> Response:
    first = cast("RequestValidationError", error).errors()[0]
    where = "path" if first["loc"][0] == "path" else "query"
    return refused(ApiError(400, f"Deserialize error in {where} parameters: {first['msg']}"))
