"""One server of the cluster: its address, its keys, and every call to it."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self
from urllib.parse import quote

import httpx

from qdrant_dr.cancel import rest
from qdrant_dr.cluster.answers import result_of
from qdrant_dr.cluster.http_errors import never_fits, refused, unreachable
from qdrant_dr.cluster.rate_limit import BusyRetry, ReadBudget, read_limits_of
from qdrant_dr.config import ClusterConfig, Timeouts, Tls
from qdrant_dr.errors import ConfigInvalid, NodeUnreachable, SecretMissing, ServerFailed
from qdrant_dr.network import proxy_for, tls_context
from qdrant_dr.secrets import SecretRef, resolve

IDENTITY = {"accept-encoding": "identity"}
"""Refuse compression: Qdrant compresses downloads on the fly if allowed, and omits their length."""

READ_AGAIN_SECONDS = (0.2, 1.0)
"""Pauses before a read-only call is repeated."""
CONNECT_AGAIN = 2
_CLIMBS = re.compile(r"//|/(\.|%2E){1,2}(/|$)|./$", re.IGNORECASE)

_KEEPALIVE = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))


def socket_options() -> list[tuple[int, int, int]]:
    """Return options for TCP keep-alive: a create call may be silent for hours, and a dead peer
    must be noticed."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in _KEEPALIVE:
        if (option := getattr(socket, name, None)) is not None:  # not every system has them
            options.append((socket.IPPROTO_TCP, option, value))
    return options


def path_of(collection: str, *rest: str | int) -> str:
    """Build `/collections/<name>/...`, percent-encoded: names may hold `#`, `%` and spaces."""
    return "/".join(["/collections", *(piece_of(str(s)) for s in (collection, *rest))])


def piece_of(name: str) -> str:
    """Percent-encode one step of a path, including the dots of `..`: if a proxy resolved them,
    `DELETE .../movies/snapshots/..` would delete the collection."""
    return name.replace(".", "%2E") if name in (".", "..") else quote(name, safe="")


class Node:
    """One Qdrant server. Answers stay raw JSON: client models know only their own version.

    Keys are resolved here, once, and appear in no message and no `repr`. Read-only calls use
    `read_api_key` if there is one. Proxy and trust are those of `network`; redirects are not
    followed, so that a key is sent to the configured address only. If a node asks for fewer calls
    (429), the call is repeated when the node says so, within `timeouts.busy`.
    `grpc_port` is where the same server speaks gRPC, None: at the port of REST + 1, 0: nowhere.
    Every failure is an error of the tree: NodeUnreachable, NodeBusy, AccessDenied,
    CollectionVanished, ServerFailed.
    """

    def __init__(
        self,
        url: str,
        api_key: SecretRef | None = None,
        read_api_key: SecretRef | None = None,
        timeouts: Timeouts = Timeouts(),
        tls: Tls = Tls(),
        read_share: float = 0.5,
        grpc_port: int | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        try:
            httpx.URL(self.url)
        except httpx.InvalidURL as e:
            raise ConfigInvalid(f"{url!r} is not the address of a node: {e}") from None
        self.timeouts = timeouts
        self._refs = {True: api_key, False: read_api_key or api_key}
        self._keys = {write: _key(ref) if ref else None for write, ref in self._refs.items()}
        self.tls, self.read_share, self.grpc_port = tls, read_share, grpc_port
        self._context = tls_context(tls) if self.url.startswith("https:") else False
        self._proxy = proxy_for(self.url)
        self.pace = read_limits_of(self.url, read_share)
        self._http = self._new_client()

    def __repr__(self) -> str:
        return f"Node({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections. The node must not be used afterwards."""
        self._http.close()

    def at(self, url: str) -> Node:
        """Return another node of the same cluster, with the same keys, timeouts and trust."""
        write, read = self._refs[True], self._refs[False]
        return Node(url, write, read, self.timeouts, self.tls, self.read_share, self.grpc_port)

    @property
    def key_in_clear(self) -> bool:
        """Say whether a key is sent unencrypted to this node."""
        return self._context is False and any(self._keys.values())

    def key_reference(self, *, write: bool) -> str | None:
        """Return the reference of the key that is used for this kind of call."""
        return self._refs[write]

    def ask(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        json: object = None,
        params: Mapping[str, str] | None = None,
        write: bool = False,
        collection: str | None = None,
    ) -> Any:
        """Make a call and return its `result`, parsed. `doing` completes "could not ..." in errors.

        `collection` is the one the call is about: its 404 then is CollectionVanished.
        """
        response = self.exchange(
            method, path, doing, json=json, params=params, write=write, collection=collection
        )
        return result_of(response, url=self.url, doing=doing)

    def exchange(
        self,
        method: str,
        path: str,
        doing: str,
        *,
        json: object = None,
        params: Mapping[str, str] | None = None,
        write: bool = False,
        collection: str | None = None,
    ) -> httpx.Response:
        """Make a call and return the whole answer, whatever its body. Raise for any error status.

        A read-only call is repeated when the node cannot be reached; a write never is. A path with
        a step that a proxy might resolve is not sent at all."""
        if _CLIMBS.search(path):
            raise ServerFailed(
                f"{self.url} was not asked to {doing}: a proxy may change the path {path}",
                "find out where that name comes from: no server uses a name such as `..`.",
            )
        patience = BusyRetry(self.timeouts.busy.total_seconds())
        pauses = iter(() if write else READ_AGAIN_SECONDS)
        while True:
            try:
                response = self._http.request(
                    method, self.url + path, json=json, params=params,
                    headers=self.headers(write=write),
                )  # fmt: skip
                if self.asks_for_less(response, patience):
                    continue
                self.must_be_good(response, doing, write=write, collection=collection)
            except httpx.RequestError as e:
                failure = self.unreachable(e, doing)
            except NodeUnreachable as e:
                failure = e
            else:
                return response
            pause = next(pauses, None)
            if pause is None or not failure.transient:
                raise failure from None
            rest(pause)

    def read(self, path: str, doing: str, *, collection: str, json: object, cost: int = 1) -> Any:
        """Ask for points, within our share of the collection's limit; `cost` is in its tokens."""
        return self.read_sized(path, doing, collection=collection, json=json, cost=cost)[0]

    def read_sized(
        self, path: str, doing: str, *, collection: str, json: object, cost: int = 1
    ) -> tuple[Any, int]:
        """Read points, and tell how many bytes the answer had."""
        if share := self.read_budget_of(collection):
            share.spend(cost)
        response = self.exchange("POST", path, doing, json=json, collection=collection)
        return result_of(response, url=self.url, doing=doing), len(response.content)

    def read_budget_of(self, collection: str) -> ReadBudget | None:
        """Return our share of the collection's `read_rate_limit`; None if it has no limit."""

        def strict() -> dict[str, Any] | None:
            about = self.ask(
                "GET", path_of(collection), f"read its information of {collection!r}",
                collection=collection,
            )  # fmt: skip
            found: dict[str, Any] | None = about["config"].get("strict_mode_config")
            return found

        return self.pace.of(collection, strict)

    @staticmethod
    def asks_for_less(response: httpx.Response, patience: BusyRetry) -> bool:
        """Say whether the answer was 429 (nothing was done) and we have waited for a retry."""
        if response.status_code != httpx.codes.TOO_MANY_REQUESTS or never_fits(response.read()):
            return False
        return patience.outlast(response.headers.get("retry-after"))

    def unreachable(self, error: httpx.RequestError, doing: str) -> NodeUnreachable:
        """Build the error of a failed transport."""
        return unreachable(error, url=self.url, doing=doing, proxy=self._proxy)

    @contextmanager
    def stream(
        self, path: str, doing: str, *, headers: Mapping[str, str]
    ) -> Iterator[httpx.Response]:
        """Make a GET with the reading key; yield the response of any status, its body unread.

        Transport failures inside the block also become NodeUnreachable.
        """
        sent = {**self.headers(write=False), **headers}
        try:
            with self._http.stream("GET", self.url + path, headers=sent) as response:
                yield response
        except httpx.RequestError as e:
            raise self.unreachable(e, doing) from None

    def headers(self, *, write: bool) -> dict[str, str]:
        """Return the headers of a call: its key, and no compression."""
        key = self._keys[write]
        return dict(IDENTITY) if key is None else {**IDENTITY, "api-key": key}

    def must_be_good(
        self, response: httpx.Response, doing: str, *, write: bool, collection: str | None = None
    ) -> None:
        """Raise the error of an error status; reads the body of a streamed answer for its
        message."""
        if response.is_success:
            return
        raise refused(
            response.status_code, response.read(), url=self.url, doing=doing,
            key=self._refs[write], collection=collection,
        )  # fmt: skip

    @contextmanager
    def patient_client(self, seconds: float) -> Iterator[httpx.Client]:
        """Yield a separate client for one long call whose answer comes only at the end."""
        client = self._new_client(read=seconds, connect_again=CONNECT_AGAIN)
        try:
            yield client
        finally:
            client.close()

    def _new_client(self, *, read: float | None = None, connect_again: int = 0) -> httpx.Client:
        connect, usual = self.timeouts.connect.total_seconds(), self.timeouts.read.total_seconds()
        return httpx.Client(
            timeout=httpx.Timeout(connect=connect, read=read or usual, write=usual, pool=None),
            transport=self._transport(connect_again),
            follow_redirects=False,
        )

    def _transport(self, connect_again: int) -> httpx.HTTPTransport:
        return httpx.HTTPTransport(
            verify=self._context,
            proxy=None
            if self._proxy is None
            else httpx.Proxy(
                self._proxy,
                ssl_context=tls_context(Tls()) if self._proxy.startswith("https:") else None,
            ),
            socket_options=socket_options(),
            retries=connect_again,
        )


def _key(reference: SecretRef) -> str:
    text = resolve(reference)
    if not text.isascii():  # an encoder's error would contain the key
        raise SecretMissing(
            f"{reference} holds characters that are not allowed in an HTTP header",
            "check that it holds the key itself: compare it with the server's key.",
        )
    return text


def open_nodes(config: ClusterConfig) -> tuple[Node, ...]:
    """Open a Node for every configured address, without a call. Raise SecretMissing."""
    return tuple(node_at(config, url) for url in config.nodes)


def node_at(config: ClusterConfig, url: str) -> Node:
    """Open a Node of the cluster at an address, without a call. Raise SecretMissing."""
    return Node(
        url,
        config.api_key,
        config.read_api_key,
        config.timeouts,
        config.tls,
        config.read_share,
        config.grpc_port,
    )
