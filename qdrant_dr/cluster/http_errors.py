"""What a failed call to a node means: the one place that turns HTTP into the error tree."""

from __future__ import annotations

import functools
import json
import re
import socket
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import httpx
import orjson

from qdrant_dr.cluster.names import WAY_OUT
from qdrant_dr.errors import (
    AccessDenied,
    ClusterError,
    CollectionVanished,
    NodeBusy,
    NodeUnreachable,
    NodeUntrusted,
    ServerFailed,
)
from qdrant_dr.network import tls_words, without_password

PASSING = frozenset({408, 502, 503, 504})
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
E = TypeVar("E", bound=ClusterError)
_TAIL = 240
"""Of a message that is cut: its end says why, its beginning what was tried."""


UNDECIDED = 500
"""From here on a server, or a proxy, tells that it failed or gave up, not that it refused."""
CONSENSUS = "onsensus"
"""In a server's words: it gave up waiting for the other nodes, which may agree yet."""
_UNSENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.LocalProtocolError,
    httpx.UnsupportedProtocol,
    httpx.ProxyError,
)
NOT_HTTP = (
    "what answers there does not speak HTTP: should it be https://, or is it the port of gRPC "
    "(6334, where that of REST is 6333)?"
)
_TRANSPORT: dict[type[OSError], str] = {
    ConnectionRefusedError: "nothing listens there",
    ConnectionResetError: "the connection was cut",
    socket.gaierror: "no host of that name is known",
}
_NOT_A_NODE = (
    "is it the address of the REST port of a node, with nothing behind it? then read the server's "
    "log."
)
_ELSEWHERE = "it redirects to another address: name that one, mostly the same with https://."
A_PAGE = "a page for browsers"
_LONG_WORD = re.compile(r"[^\s\"'`]{60,}")
_CAUSES = (
    (
        "File name too long",
        f"the collection's name is too long for the files that the server makes: {WAY_OUT}.",
    ),
    ("No space left on device", "free disk on the node, then run the same command again."),
    ("Disk quota exceeded", "raise the node's disk quota, then run the same command again."),
    ("Read-only file system", "the node's disk is mounted read-only: look at its `dmesg`."),
    ("Too many open files", "raise the server's limit of open files (`ulimit -n`), restart it."),
    ("Input/output error", "the node's disk has errors: look at its `dmesg`."),
    ("Permission denied", "the server may not write its own folders: check their owner there."),
)


def unreachable(
    error: httpx.RequestError, *, url: str, doing: str, proxy: str | None = None
) -> NodeUnreachable:
    """The node could not be spoken to: name, address, time-out, TLS or a cut connection."""
    if found := tls_words(error):
        return NodeUntrusted(f"{url} could not be reached to {doing}: {found[0]}", found[1])
    said = f"{url} could not be reached to {doing}: {words_of(error)}"
    undecided = not isinstance(error, _UNSENT)
    if proxy is None:
        return _marked(NodeUnreachable(said), undecided)
    failure = NodeUnreachable(
        f"{said}, through the proxy {without_password(proxy)} of the environment",
        "if the node is reached without it, name its host in `NO_PROXY`; then run "
        "`qdrant-dr check`.",
    )
    return _marked(failure, undecided)


def _marked(failure: E, undecided: bool) -> E:
    """The same, with whether what was asked for may still take effect."""
    failure.undecided = undecided
    return failure


def words_of(error: Exception) -> str:
    """What a failed transport says of itself. A LocalProtocolError has no say: it quotes the
    header that it refuses, which may be the key."""
    name = type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return f"no answer in time ({name})"
    if isinstance(error, httpx.LocalProtocolError):
        return f"this side may not send that ({name})"
    said = str(error) or name
    if isinstance(error, httpx.RemoteProtocolError) and said.startswith("illegal "):
        return NOT_HTTP
    plain = next(
        (w for kind, w in _TRANSPORT.items() if isinstance(_system_error(error), kind)), ""
    )
    return f"{plain} ({said})" if plain else said


def _system_error(error: BaseException | None) -> OSError | None:
    """What the system said, below the libraries' own errors."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


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
        if key is None:
            return AccessDenied(
                f"{url} lets nobody {doing} with no key ({said})",
                "name the key, as a reference such as env:QDRANT_API_KEY: `cluster.api_key` is for "
                "the nodes, `drill.scratch.api_key` for the scratch, `--to-key` for a target.",
            )
        return AccessDenied(f"{url} does not let the key {key} {doing} ({said})")
    if status == httpx.codes.NOT_FOUND and collection is not None and _says_it_is_gone(words):
        return CollectionVanished(f"collection {collection!r} does not exist on {url} ({doing})")
    if status == httpx.codes.TOO_MANY_REQUESTS:
        if never_fits(body):
            return ServerFailed(
                f"{url} failed to {doing} ({said})",
                "the collection's rate limit is smaller than one request: raise it.",
            )
        return NodeBusy(f"{url} asks for fewer calls than it takes to {doing} ({said})")
    undecided = status >= UNDECIDED or status == httpx.codes.REQUEST_TIMEOUT
    if status in PASSING:
        return _marked(NodeUnreachable(f"{url} could not {doing} now ({said})"), undecided)
    hint = cause_hint(words)
    if httpx.codes.is_redirect(status):
        hint = _ELSEWHERE
    elif status < UNDECIDED and words in ("", A_PAGE):
        hint = _NOT_A_NODE
    failure = ServerFailed(f"{url} failed to {doing} ({said})", hint)
    return _marked(failure, undecided)


def server_words(body: bytes) -> str:
    """The server's message: of its JSON envelope, or plain text as download routes send it."""
    text = body.decode(errors="replace").strip()
    try:
        words = str(json.loads(text)["status"]["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        words = A_PAGE if text.startswith("<") else text
    return shortened(words)


def shortened(words: str) -> str:
    """A long message without the middle of its long names, then without its own middle: what was
    tried stands at its beginning, why it failed at its end."""
    if len(words) > _LONGEST:
        words = _LONG_WORD.sub(lambda m: f"{m[0][:30]}...{m[0][-15:]}", words)
    if len(words) > _LONGEST:
        words = f"{words[: _LONGEST - _TAIL]} ... {words[-_TAIL:]}"
    return words


def cause_hint(words: str) -> str | None:
    """The next step for what a server names as the cause; None if it names nothing known."""
    return next((hint for cause, hint in _CAUSES if cause in words), None)


def never_fits(body: bytes) -> bool:
    """Whether a 429 says that the request costs more than the limit allows in a whole minute."""
    return b"larger than rate limiter capacity" in body


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
