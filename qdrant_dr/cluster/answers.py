"""What a failed call to a node means: the one place that turns HTTP into the error tree."""

from __future__ import annotations

import json
from typing import Any

import httpx

from qdrant_dr.errors import (
    AccessDenied,
    ClusterError,
    CollectionVanished,
    NodeUnreachable,
    ServerFailed,
)

PASSING = frozenset({408, 429, 502, 503, 504})
"""Statuses of an overloaded node or of a proxy in front of it: worth another try."""
_LONGEST = 400


def unreachable(error: httpx.RequestError, *, url: str, doing: str) -> NodeUnreachable:
    """The node could not be spoken to: name, address, time-out, TLS or a cut connection."""
    return NodeUnreachable(f"{url} could not be reached to {doing}: {words_of(error)}")


def words_of(error: Exception) -> str:
    """What a failed transport says of itself. A LocalProtocolError has no say: it quotes the
    header that it refuses, which may be the key."""
    name = type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return f"no answer in time ({name})"
    if isinstance(error, httpx.LocalProtocolError):
        return f"this side may not send that ({name})"
    return str(error) or name


def refused(
    status: int, body: bytes, *, url: str, doing: str, key: str | None, collection: str | None
) -> ClusterError:
    """The node (or a proxy before it) answered with an error status.

    `key` is the reference of the key that was used, never its text. A 404 is CollectionVanished
    only if the server says so of the collection: a missing route, shard or file is not.
    """
    words = server_words(body)
    said = f"{status}: {words}" if words else str(status)
    if status in {401, 403}:
        used = f"the key {key}" if key else "no key"
        return AccessDenied(f"{url} does not let {used} {doing} ({said})")
    if status == httpx.codes.NOT_FOUND and collection is not None and _says_it_is_gone(words):
        return CollectionVanished(f"collection {collection!r} does not exist on {url} ({doing})")
    if status in PASSING:
        return NodeUnreachable(f"{url} could not {doing} now ({said})")
    return ServerFailed(f"{url} failed to {doing} ({said})")


def server_words(body: bytes) -> str:
    """The server's message: of its JSON envelope, or plain text as download routes send it."""
    text = body.decode(errors="replace").strip()
    try:
        words = str(json.loads(text)["status"]["error"])
    except (ValueError, KeyError, TypeError):
        words = text
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."


def result_of(response: httpx.Response, *, url: str, doing: str) -> Any:
    """`result` of the JSON envelope. Raise ServerFailed if something else than Qdrant answered."""
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or "result" not in body:
        raise ServerFailed(
            f"{url} did not answer as a Qdrant does when asked to {doing}",
            "is the address in `cluster.nodes` the REST port of a node?",
        )
    return body["result"]


def _says_it_is_gone(words: str) -> bool:
    return "ollection" in words and "exist" in words
