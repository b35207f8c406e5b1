"""What the routes share: the node, the addressed collection, the operation that was logged."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Response

from qdrant_dr.sandbox.collection import Collection
from qdrant_dr.sandbox.http import SLASH, ok
from qdrant_dr.sandbox.node import Node


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


def logged(operation: int, *, wait: bool) -> Response:
    """The operation is applied in either case; without `wait` nothing promises it."""
    status = "completed" if wait else "acknowledged"
    return ok({"operation_id": operation, "status": status})
