"""Read snapshots of servers in S3 mode from their bucket, without any checksum of the server.

Such a server states no checksum, sends no length and cannot resume a download. Its object can be
truncated without an error, because a read error of its local disk ends the upload as if it were the
end of the file (snapshot_storage_ops.rs of Qdrant 1.18.3). So we compare the size, read the tar to
its end with all members complete, and make our own SHA-256: a truncated object raises an error
before any manifest is written.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from qdrant_dr.cluster.download import BACKOFF_SECONDS, FRUITLESS, download, pause
from qdrant_dr.cluster.node import Node
from qdrant_dr.cluster.snapshot_scope import SnapshotScope, Where, key_piece, scope_of
from qdrant_dr.cluster.stream_completeness import check_tar_is_complete
from qdrant_dr.config import ClusterConfig, SnapshotsInS3
from qdrant_dr.digests import StreamDigest
from qdrant_dr.errors import (
    AccessDenied,
    ConfigInvalid,
    DownloadInterrupted,
    DownloadMismatch,
    DRError,
    Interrupted,
    RepositoryDenied,
    RepositoryError,
    ServerFailed,
)
from qdrant_dr.location_key import split_url
from qdrant_dr.records import ListedSnapshot
from qdrant_dr.secrets import resolve_options
from qdrant_dr.stores.errors import is_absent, translate
from qdrant_dr.stores.providers import make_filesystem

RANGE = 8 * 2**20
"""Bytes of one request; after a cut at most this many are read again."""
_LOOK = "check that `cluster.snapshots_s3` is the bucket and `snapshots_path` of this server."


def blocks_of(
    node: Node,
    where: Where,
    snapshot: ListedSnapshot,
    config: ClusterConfig,
    *,
    stop: threading.Event | None = None,
    digest: StreamDigest | None = None,
) -> Iterator[bytes]:
    """Yield the bytes of a snapshot in the best way; they are good only if the iterator ends
    cleanly.

    With a checksum: through the server, compared with it (`digest` as in `download`). Without one:
    from the bucket if `snapshots_s3` is configured, else through the server, and the tar must be
    complete.
    Raise what `download` and `read_object` raise, ArchiveTruncated.
    """
    if snapshot.checksum:
        return download(node, where, snapshot, stop=stop, digest=digest)
    if config.snapshots_s3 is None:
        return check_tar_is_complete(download(node, where, snapshot, stop=stop), snapshot.name)
    return check_tar_is_complete(
        read_object(config.snapshots_s3, where, snapshot, stop=stop), snapshot.name
    )


def checksum_doubts(snapshot: ListedSnapshot, config: ClusterConfig) -> tuple[str, ...]:
    """Return doubts about a snapshot for which the server states no checksum."""
    if snapshot.checksum or config.snapshots_s3 is not None:
        return ()
    doubt = (
        "the server states no checksum of its snapshot: only the size and the end of the tar could "
        "be compared; if it stores snapshots in S3, set `cluster.snapshots_s3`"
    )
    return (doubt,)


def read_object(
    bucket: SnapshotsInS3,
    where: Where,
    snapshot: ListedSnapshot,
    *,
    stop: threading.Event | None = None,
    backoff_seconds: float = BACKOFF_SECONDS,
) -> Iterator[bytes]:
    """Yield a snapshot's object range by range; a failed range is requested again.

    Raise DownloadMismatch (absent, of another size than the server said, or replaced meanwhile),
    DownloadInterrupted, AccessDenied, ConfigInvalid (no such client), Interrupted.
    """
    reader = _Reader(bucket, object_path(bucket, scope_of(where), snapshot.name), snapshot)
    found = reader.stat()
    if found.size_bytes != snapshot.size_bytes:
        raise reader.mismatch(
            f"the object has {found.size_bytes} bytes, {snapshot.size_bytes} were announced"
        )
    start, fruitless = 0, 0
    while start < snapshot.size_bytes:
        if stop is not None and stop.is_set():
            raise Interrupted(f"asked to stop in the download of {snapshot.name}")
        try:
            block = reader.read(start, min(start + RANGE, snapshot.size_bytes))
        except DownloadInterrupted:
            fruitless += 1
            if fruitless >= FRUITLESS:
                raise
            if (stop or threading.Event()).wait(pause(fruitless, backoff_seconds)):
                raise Interrupted(f"asked to stop in the download of {snapshot.name}") from None
            continue
        fruitless = 0
        start += len(block)
        yield block
    if reader.stat() != found:
        raise reader.mismatch("it was replaced in the bucket while it was read")


def object_path(bucket: SnapshotsInS3, scope: SnapshotScope, name: str) -> str:
    """Return `<bucket>/<prefix>/<collection>/<file>`, each piece encoded as the server does."""
    _, root = split_url(bucket.url)
    pieces = [*scope.key.split("/"), name]
    return "/".join([root.strip("/"), *(key_piece(p) for p in pieces if p)])


def probe(bucket: SnapshotsInS3) -> int:
    """Count the objects directly below the configured prefix. Raise as `read_object` does."""
    _, root = split_url(bucket.url)
    reader = _Reader(bucket, root.strip("/"), None)
    return len(reader.ask("ls", detail=False))


@dataclass(frozen=True, slots=True)
class _Stat:
    size_bytes: int
    version: str


class _Reader:
    """One object. Errors of its library are told in our words: their text may hold keys."""

    def __init__(self, bucket: SnapshotsInS3, path: str, snapshot: ListedSnapshot | None) -> None:
        self.path, self.snapshot = path, snapshot
        self._fs = _filesystem(bucket)

    def stat(self) -> _Stat:
        info = self.ask("info")
        marks = [info.get(k) for k in ("ETag", "etag", "LastModified", "mtime")]
        return _Stat(int(info["size"]), " ".join(str(m) for m in marks if m is not None))

    def read(self, start: int, end: int) -> bytes:
        block: bytes = self.ask("cat_file", start=start, end=end)
        if len(block) != end - start:
            raise self.interrupted(f"{len(block)} bytes came for {start}-{end}")
        return block

    def ask(self, call: str, **arguments: Any) -> Any:
        try:
            return getattr(self._fs, call)(self.path, **arguments)
        except Exception as e:  # noqa: BLE001 -- the table knows it, or names it
            if is_absent(e):
                raise DownloadMismatch(f"there is no {self.path} in the bucket", _LOOK) from None
            if isinstance(e, TypeError | ValueError):  # it makes its client at the first call
                raise _no_client(e) from None
            raise self._ours(e) from None

    def _ours(self, error: Exception) -> DRError:
        """Translate an error. A refusal is final; a temporary or unknown error may be retried."""
        found = translate(error, repository="cluster.snapshots_s3", doing=f"reading {self.path}")
        if isinstance(found, RepositoryDenied):
            return AccessDenied(found.message, found.hint)
        definite = type(found) is not RepositoryError and not found.transient
        kind = ServerFailed if definite else DownloadInterrupted
        return kind(found.message, found.hint)

    def interrupted(self, why: str) -> DownloadInterrupted:
        return DownloadInterrupted(
            f"{self.path} could not be read from the server's bucket ({why})",
            "check `cluster.snapshots_s3`, then run the backup again.",
        )

    def mismatch(self, what: str) -> DownloadMismatch:
        return DownloadMismatch(f"{self.path} in the server's bucket: {what}")


def _filesystem(bucket: SnapshotsInS3) -> Any:
    options = resolve_options(bucket.options, bucket.credentials)
    try:
        return make_filesystem("s3", options, bucket.tls)
    except ImportError:
        raise ConfigInvalid("cluster.snapshots_s3: no package for s3:// is installed") from None
    except (TypeError, ValueError) as e:
        raise _no_client(e) from None


def _no_client(error: Exception) -> ConfigInvalid:
    return ConfigInvalid(
        f"cluster.snapshots_s3: no client can be made with its options ({type(error).__name__})",
        "compare `options:` with the documentation of s3fs.",
    )
