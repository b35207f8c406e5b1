"""What a failed call to a node means: the one place that turns HTTP into the error tree."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import httpx
import orjson

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
_MISREAD = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
REPLICAS = 10_000
"""Replicas of one collection that are believed; each of this node's is asked for."""

P = ParamSpec("P")
R = TypeVar("R")


class _HasURL(Protocol):
    url: str


N = TypeVar("N", bound=_HasURL)


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
    except (ValueError, KeyError, TypeError, RecursionError):
        words = text
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."


def result_of(response: httpx.Response, *, url: str, doing: str) -> Any:
    """`result` of the JSON envelope. Raise ServerFailed if something else than Qdrant answered."""
    try:
        # strictly: no NaN, no half a character, no depth that nobody can walk through
        body = orjson.loads(response.content)
    except ValueError:
        body = None
    if not isinstance(body, dict) or "result" not in body:
        raise ServerFailed(
            f"{url} did not answer as a Qdrant does when asked to {doing}",
            "is the address in `cluster.nodes` the REST port of a node?",
        )
    return body["result"]


def understood(
    doing: str,
) -> Callable[[Callable[Concatenate[N, P], R]], Callable[Concatenate[N, P], R]]:
    """Make a function that reads a node's answers raise ServerFailed for one of another form."""

    def around(function: Callable[Concatenate[N, P], R]) -> Callable[Concatenate[N, P], R]:
        @functools.wraps(function)
        def reading(node: N, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(node, *args, **kwargs)
            except _MISREAD as e:
                raise ServerFailed(
                    f"{node.url} gave an answer that cannot be read when asked to {doing} "
                    f"({type(e).__name__})",
                    "is its version one that `qdrant-dr check` knows, and nothing between?",
                ) from e

        return reading

    return around


def whole(value: Any, most: int = 2**64 - 1) -> int:
    """A number of an answer, not negative. Raise ValueError for anything else."""
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("no whole number")
    return value


def word(value: Any) -> str:
    """A text of an answer that can be written down. Raise ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError("no text")  # noqa: TRY004 - of a server, not of a caller
    value.encode()
    return value


def maybe(read: Callable[[Any], R], value: Any) -> R | None:
    """None where the server says nothing."""
    return None if value is None else read(value)


def _says_it_is_gone(words: str) -> bool:
    return "ollection" in words and "exist" in words
