"""Parse the answers of a node: their JSON envelope, counts and texts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import httpx
import orjson

from qdrant_dr.errors import ServerFailed

_MISREAD = (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError)
REPLICAS = 10_000
"""The largest number of replicas of a collection that we believe; each local one is asked for."""

P = ParamSpec("P")
R = TypeVar("R")


class _HasURL(Protocol):
    url: str


N = TypeVar("N", bound=_HasURL)


def result_of(response: httpx.Response, *, url: str, doing: str) -> Any:
    """Return `result` of the JSON envelope. Raise ServerFailed if another server answered."""
    try:
        # strict: no NaN, no unpaired surrogate, no nesting too deep to process
        body = orjson.loads(response.content)
    except ValueError:
        body = None
    if not isinstance(body, dict) or "result" not in body:
        raise ServerFailed(
            f"{url} did not answer like a Qdrant server when asked to {doing}",
            "check that the address in `cluster.nodes` is the REST port of a node.",
        )
    return body["result"]


def understood(
    doing: str,
) -> Callable[[Callable[Concatenate[N, P], R]], Callable[Concatenate[N, P], R]]:
    """Make a function that reads a node's answers raise ServerFailed for an unexpected form."""

    def around(function: Callable[Concatenate[N, P], R]) -> Callable[Concatenate[N, P], R]:
        @functools.wraps(function)
        def reading(node: N, /, *args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(node, *args, **kwargs)
            except _MISREAD as e:
                raise ServerFailed(
                    f"{node.url} gave an answer that cannot be read when asked to {doing} "
                    f"({type(e).__name__})",
                    "check its version with `qdrant-dr check`, and whether a proxy is in between.",
                ) from e

        return reading

    return around


def parse_count(value: Any, most: int = 2**64 - 1) -> int:
    """Parse a non-negative number of an answer. Raise ValueError for anything else."""
    if type(value) is not int or not 0 <= value <= most:
        raise ValueError("no whole number")
    return value


def parse_text(value: Any) -> str:
    """Parse a text of an answer that can be encoded. Raise ValueError for anything else."""
    if not isinstance(value, str):
        raise ValueError("no text")  # noqa: TRY004 - of a server, not of a caller
    value.encode()
    return value


def parse_optional(read: Callable[[Any], R], value: Any) -> R | None:
    """Apply `read`, or return None if the server says nothing."""
    return None if value is None else read(value)
