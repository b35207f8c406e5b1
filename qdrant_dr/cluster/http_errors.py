"""Translate failed calls to a node into the error tree; the only place that does."""

from __future__ import annotations

import json
import re
import socket
from typing import TypeVar

import httpx

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
from qdrant_dr.network import tls_words
from qdrant_dr.redaction import without_password

PASSING = frozenset({408, 502, 503, 504})
"""Statuses of an overloaded node, or of a proxy in front of it: a retry may help."""
_LONGEST = 400


E = TypeVar("E", bound=ClusterError)
_TAIL = 240
"""How a long message is shortened: its end says why, its beginning what was tried."""


UNDECIDED = 500
"""From this status on a server or proxy failed or gave up; below, it refused."""
CONSENSUS = "onsensus"
"""Qdrant's words when it gave up waiting for the other nodes, which may still agree."""
_UNSENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.LocalProtocolError,
    httpx.UnsupportedProtocol,
    httpx.ProxyError,
)
NOT_HTTP = (
    "the server there does not speak HTTP: try https://, and check that it is the REST port "
    "(usually 6333), not the gRPC port (6334)"
)
_TRANSPORT: dict[type[OSError], str] = {
    ConnectionRefusedError: "nothing listens there",
    ConnectionResetError: "the connection was cut",
    socket.gaierror: "no host of that name is known",
}
_NOT_A_NODE = (
    "check that it is the REST port of a node, with nothing after the port; then read "
    "the server's "
    "log."
)
_ELSEWHERE = "it redirects: configure the address it redirects to, often the same with https://."
A_PAGE = "a page for browsers"
_LONG_WORD = re.compile(r"[^\s\"'`]{60,}")
_CAUSES = (
    (
        "File name too long",
        f"the collection's name is too long for the files that the server makes: {WAY_OUT}.",
    ),
    ("No space left on device", "free disk space on the node, then run the same command again."),
    ("Disk quota exceeded", "raise the node's disk quota, then run the same command again."),
    ("Read-only file system", "the node's disk is mounted read-only: read `dmesg` on the node."),
    ("Too many open files", "raise the server's limit of open files (`ulimit -n`), restart it."),
    ("Input/output error", "the node's disk has errors: read `dmesg` on the node."),
    ("Permission denied", "the server may not write to its own folders: check their owner."),
)


def unreachable(
    error: httpx.RequestError, *, url: str, doing: str, proxy: str | None = None
) -> NodeUnreachable:
    """Build the error of a failed connection: name, address, timeout, TLS or a cut."""
    if found := tls_words(error):
        return NodeUntrusted(f"{url} could not be reached to {doing}: {found[0]}", found[1])
    said = f"{url} could not be reached to {doing}: {words_of(error)}"
    undecided = not isinstance(error, _UNSENT)
    if proxy is None:
        return _marked(NodeUnreachable(said), undecided)
    failure = NodeUnreachable(
        f"{said}, through the proxy {without_password(proxy)} of the environment",
        "if the node needs no proxy, add its host to `NO_PROXY`; then run `qdrant-dr check`.",
    )
    return _marked(failure, undecided)


def _marked(failure: E, undecided: bool) -> E:
    """Mark the error: the request may still take effect (`undecided`), or not."""
    failure.undecided = undecided
    return failure


def words_of(error: Exception) -> str:
    """Describe a transport failure. The text of a LocalProtocolError is omitted: it quotes the
    refused header, which may be the key."""
    name = type(error).__name__
    if isinstance(error, httpx.TimeoutException):
        return f"no answer in time ({name})"
    if isinstance(error, httpx.LocalProtocolError):
        return f"the request is not valid HTTP ({name})"
    said = str(error) or name
    if isinstance(error, httpx.RemoteProtocolError) and said.startswith("illegal "):
        return NOT_HTTP
    plain = next(
        (w for kind, w in _TRANSPORT.items() if isinstance(_system_error(error), kind)), ""
    )
    return f"{plain} ({said})" if plain else said


def _system_error(error: BaseException | None) -> OSError | None:
    """Return the system's error below the libraries' own errors."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error


def refused(
    status: int, body: bytes, *, url: str, doing: str, key: str | None, collection: str | None
) -> ClusterError:
    """Build the error for an error status of the node, or of a proxy before it.

    `key` is the reference of the key that was used, never its text. A 404 is CollectionVanished
    only if the server says so of the collection, not for a missing route, shard or file.
    """
    words = server_words(body)
    said = f"{status}: {words}" if words else str(status)
    if status in {401, 403}:
        if key is None:
            return AccessDenied(
                f"{url} needs a key to {doing} ({said})",
                "configure a reference such as env:QDRANT_API_KEY: `cluster.api_key` for the "
                "nodes, "
                "`drill.scratch.api_key` for the scratch, `--to-key` for a target.",
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
        return NodeBusy(f"{url} asks for fewer calls than are needed to {doing} ({said})")
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
    """Return the server's message, from its JSON envelope or plain text (download routes)."""
    text = body.decode(errors="replace").strip()
    try:
        words = str(json.loads(text)["status"]["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        words = A_PAGE if text.startswith("<") else text
    return shortened(words)


def shortened(words: str) -> str:
    """Shorten a long message: first the middle of its long names, then its own middle, because it
    begins with what was tried and ends with why it failed."""
    if len(words) > _LONGEST:
        words = _LONG_WORD.sub(lambda m: f"{m[0][:30]}...{m[0][-15:]}", words)
    if len(words) > _LONGEST:
        words = f"{words[: _LONGEST - _TAIL]} ... {words[-_TAIL:]}"
    return words


def cause_hint(words: str) -> str | None:
    """Return the next step for a cause that the server names; None if the cause is unknown."""
    return next((hint for cause, hint in _CAUSES if cause in words), None)


def never_fits(body: bytes) -> bool:
    """Say whether a 429 means that the request costs more than the limit allows per minute."""
    return b"larger than rate limiter capacity" in body


def _says_it_is_gone(words: str) -> bool:
    return "ollection" in words and "exist" in words
