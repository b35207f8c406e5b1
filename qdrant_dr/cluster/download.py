"""Download a snapshot: resume after cuts, and compare it with what the server announced."""

from __future__ import annotations

import hashlib
import random
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from qdrant_dr.cluster.node import Node
from qdrant_dr.cluster.snapshot_scope import SnapshotScope, Where, scope_of
from qdrant_dr.digests import StreamDigest
from qdrant_dr.errors import (
    DownloadInterrupted,
    DownloadMismatch,
    Interrupted,
    NodeBusy,
    NodeUnreachable,
)
from qdrant_dr.records import ListedSnapshot

BLOCK = 2**20
FRUITLESS = 6
"""Give up after this many attempts in a row without a byte."""
BACKOFF_SECONDS = 0.25
LONGEST_BACKOFF_SECONDS = 10.0

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


def download(
    node: Node,
    where: Where,
    snapshot: ListedSnapshot,
    *,
    stop: threading.Event | None = None,
    digest: StreamDigest | None = None,
    backoff_seconds: float = BACKOFF_SECONDS,
) -> Iterator[bytes]:
    """Yield the file in blocks of about 1 MiB; they are good only if the iterator ends cleanly.

    A checksum that the server announced is compared at the end. The reader updates `digest` with
    each block before it asks for the next, so what reached the reader is compared and nothing is
    hashed twice. Without `digest` the blocks are hashed here.

    After a cut it continues with `Range` and `If-Match` as long as attempts bring bytes. If the
    file was replaced on the server (412, another size), it starts again if nothing was yielded yet.
    Servers that store snapshots in S3 send no ETag and no length: then a cut cannot be resumed.
    Raise DownloadInterrupted, DownloadMismatch (size or SHA-256 differs from the server's answer to
    `create`, the body is encoded, the file is gone), Interrupted, AccessDenied, CollectionVanished
    or ServerFailed."""
    transfer = _Transfer(node, scope_of(where), snapshot)
    own = hashlib.sha256()
    fruitless = 0
    while not transfer.complete:
        had = transfer.received
        try:
            for block in transfer.attempt():
                if stop is not None and stop.is_set():
                    raise Interrupted(f"asked to stop in the download of {snapshot.name}")
                if digest is None and snapshot.checksum:
                    own.update(block)
                yield block
            continue
        except (NodeBusy, NodeUnreachable) as cut:
            fruitless = 0 if transfer.received > had else fruitless + 1
            if fruitless >= FRUITLESS or not transfer.resumable:
                raise DownloadInterrupted(
                    f"download of {snapshot.name} ended after {transfer.received} of "
                    f"{snapshot.size_bytes} bytes: {cut.message}"
                ) from None
        except _Exchanged:
            fruitless += 1
            if fruitless >= FRUITLESS:
                raise transfer.mismatch("the file keeps changing on the server") from None
        if (stop or threading.Event()).wait(pause(fruitless, backoff_seconds)):
            raise Interrupted(f"asked to stop in the download of {snapshot.name}")
    transfer.verify(digest.sha256 if digest else own.hexdigest())


def pause(fruitless: int, backoff_seconds: float) -> float:
    """Seconds before the next attempt, each reader's its own: all that were cut off together do not
    come back together."""
    return min(LONGEST_BACKOFF_SECONDS, backoff_seconds * 2.0**fruitless) * random.uniform(0.5, 1)


class _Exchanged(Exception):
    """The file was replaced under the same name, before any byte of it was yielded."""


@dataclass
class _Transfer:
    """The state of a transfer over all attempts."""

    node: Node
    scope: SnapshotScope
    snapshot: ListedSnapshot
    received: int = 0
    etag: str | None = None
    ended: bool = False

    @property
    def complete(self) -> bool:
        """Say whether all announced bytes have come, or the server ended a body of unknown
        length."""
        return self.ended or self.received >= self.snapshot.size_bytes

    @property
    def resumable(self) -> bool:
        """Say whether there is nothing to resume yet, or an ETag with which to resume."""
        return self.received == 0 or self.etag is not None

    def attempt(self) -> Iterator[bytes]:
        """Make one request from the present position. Yield what came before a cut, then raise."""
        headers = {}
        if self.received:
            headers["range"] = f"bytes={self.received}-"
        if self.etag is not None:
            headers["if-match"] = self.etag
        path = self.scope.path(self.snapshot.name)
        doing = f"download the snapshot {self.snapshot.name} of {self.scope}"
        with self.node.stream(path, doing, headers=headers) as response:
            self._accept(response, doing)
            buffer = bytearray()
            try:
                for piece in response.iter_raw():
                    self._take(piece)
                    buffer += piece
                    if len(buffer) >= BLOCK:
                        yield bytes(buffer)
                        buffer.clear()
            except httpx.RequestError:
                if buffer:
                    yield bytes(buffer)
                raise
            if buffer:
                yield bytes(buffer)
        self.ended = True

    def verify(self, sha256: str) -> None:
        """Raise DownloadMismatch unless size and SHA-256 are what the server answered."""
        if self.received != self.snapshot.size_bytes:
            raise self.mismatch(f"{self.received} bytes came")
        announced = self.snapshot.checksum
        if announced and sha256 != announced.strip().lower():
            raise self.mismatch(f"SHA-256 is {sha256}, the server announced {announced}")

    def mismatch(self, what: str) -> DownloadMismatch:
        """Build the error, with what was announced."""
        return DownloadMismatch(
            f"snapshot {self.snapshot.name} of {self.snapshot.size_bytes} bytes: {what}"
        )

    def _accept(self, response: httpx.Response, doing: str) -> None:
        """Check that this answer continues what we have."""
        status = response.status_code
        if status == httpx.codes.PRECONDITION_FAILED:
            if self.received == 0:
                self.etag = None
                raise _Exchanged
            raise self.mismatch(f"it was replaced on the server after {self.received} bytes")
        if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise self.mismatch(f"it ends before byte {self.received} on the server")
        self.node.must_be_good(response, doing, write=False, collection=self.scope.collection)
        encoding = response.headers.get("content-encoding", "identity")
        if encoding != "identity":
            raise self.mismatch(f"it was sent {encoding}-encoded, probably by a proxy")
        if self.received:
            self._continues(response)
        else:
            self.etag = _strong(response.headers.get("etag"))
            length = response.headers.get("content-length")
            if length is not None and int(length) != self.snapshot.size_bytes:
                raise self.mismatch(f"the server now sends {length} bytes under this name")

    def _continues(self, response: httpx.Response) -> None:
        span = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        if response.status_code != httpx.codes.PARTIAL_CONTENT or span is None:
            raise DownloadInterrupted(
                f"download of {self.snapshot.name} was cut off after {self.received} bytes, and "
                f"{self.node.url} cannot resume it (status {response.status_code})",
                "check whether a proxy removes `Range`; if so, connect to the node directly.",
            )
        first, _, total = map(int, span.groups())
        if (first, total) != (self.received, self.snapshot.size_bytes):
            raise self.mismatch(f"asked for byte {self.received} onwards, got {span.group()}")

    def _take(self, piece: bytes) -> None:
        self.received += len(piece)
        if self.received > self.snapshot.size_bytes:
            raise self.mismatch(f"it is longer than announced: {self.received} bytes so far")


def _strong(etag: str | None) -> str | None:
    """Return a strong ETag only: a weak one does not promise equal bytes."""
    return etag if etag and not etag.startswith("W/") else None
