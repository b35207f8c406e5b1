"""What the routes share: the node, the addressed collection, the operation that was logged."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Request, Response

from qdrant_dr.sandbox.collection import Collection
from qdrant_dr.sandbox.http import SLASH, ok
from qdrant_dr.sandbox.node import Node
from qdrant_dr.sandbox.peers import FROM_PEER


def the_node(request: Request) -> Node:
    node: Node = request.app.state.node
    return node


TheNode = Annotated[Node, Depends(the_node)]


def _name(collection: str) -> str:
    return collection.replace(SLASH, "/")


Name = Annotated[str, Depends(_name)]
"""The name in the path, which may contain a slash that travelled percent-encoded."""


def _find(name: Name, node: TheNode) -> Collection:
    return node.find(name)


FOUND = Depends(_find)
Found = Annotated[Collection, FOUND]
"""The collection of the path, by name or alias; 404 when it is not there."""


def _from_peer(request: Request) -> bool:
    return FROM_PEER in request.headers


FromPeer = Annotated[bool, Depends(_from_peer)]
"""Whether a peer of a scripted cluster asks: for what is here and is not to be spread."""


def only_peers(from_peer: FromPeer) -> None:
    if not from_peer:
        raise HTTPException(404)


OnlyPeers = Annotated[None, Depends(only_peers)]
"""The path is no part of Qdrant's interface: nobody else finds it."""


def logged(operation: int, *, wait: bool) -> Response:
    """Answer an operation, which is applied in either case; without `wait` nothing promises it."""
    status = "completed" if wait else "acknowledged"
    return ok({"operation_id": operation, "status": status})
