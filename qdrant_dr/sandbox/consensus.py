"""What one node of a scripted cluster is told, all are told: requests are repeated at its peers."""

from __future__ import annotations

import re
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qdrant_dr.sandbox.http import ApiError, refused
from qdrant_dr.sandbox.node import Node
from qdrant_dr.sandbox.peers import FROM_PEER, Peers

_COLLECTION = "/collections/[^/]+"
_FOR_ALL = tuple(
    (methods, re.compile(path))
    for methods, path in (
        ("PATCH DELETE", _COLLECTION),
        ("POST", "/collections/aliases"),
        ("PUT", f"{_COLLECTION}/index"),
        ("DELETE", f"{_COLLECTION}/index/[^/]+"),
        ("POST", f"{_COLLECTION}/shards/delete"),
        ("PUT", f"{_COLLECTION}/points"),
        ("PUT", f"{_COLLECTION}/points/vectors"),
        ("POST", f"{_COLLECTION}/points/(delete|batch|vectors/delete)"),
        ("PUT POST", f"{_COLLECTION}/points/payload"),
    )
)
_WRITE = re.compile("/collections/([^/]+)/points")


class Consensus:
    """Answers when the peers have applied what this node applied.

    The replicas of a peer that misses a write of points are dead from then on.

    Creating collections and shards is spread by the node itself, for it decides where they lie.
    """

    def __init__(self, app: ASGIApp, node: Node, peers: Peers) -> None:
        self._app = app
        self._node = node
        self._peers = peers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_for_all(scope):
            await self._app(scope, receive, send)
            return
        body = bytearray()
        answer: list[Message] = []

        async def overhear() -> Message:
            message = await receive()
            body.extend(message.get("body", b""))
            return message

        async def keep(message: Message) -> None:
            answer.append(message)

        await self._app(scope, overhear, keep)
        if answer[0]["status"] < 300:
            query = f"?{scope['query_string'].decode()}" if scope["query_string"] else ""
            path = scope["raw_path"].decode("latin-1") + query
            try:
                await run_in_threadpool(self._spread, scope["method"], path, bytes(body))
            except ApiError as error:
                await refused(error)(scope, receive, send)
                return
        for message in answer:
            await send(message)

    def _spread(self, method: str, path: str, body: bytes) -> None:
        missed = self._peers.spread(method, path, body)
        if write := _WRITE.match(path):
            collection = self._node.find(unquote(write[1]))
            for peer in missed:
                self._node.lose(collection, peer, "Dead")


def _is_for_all(scope: Scope) -> bool:
    if any(name.decode() == FROM_PEER for name, _ in scope["headers"]):
        return False
    path = scope["raw_path"].decode("latin-1")
    return any(scope["method"] in m.split() and p.fullmatch(path) for m, p in _FOR_ALL)
