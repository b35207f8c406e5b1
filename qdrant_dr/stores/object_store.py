"""A store in an object storage, through fsspec: S3, GCS or Azure with native preconditions.

Every call has a deadline. The libraries below retry for minutes; a dead endpoint must be detected
in seconds, but a busy one must not count as dead.
"""

# ruff: noqa: SLF001 -- the coroutines of fsspec begin with an underscore
from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from qdrant_dr.digests import StreamDigest
from qdrant_dr.errors import (
    CannotSign,
    Conflict,
    DRError,
    ObjectMissing,
    RepositoryDenied,
    RepositoryError,
    RepositoryMissing,
    RepositoryRefuses,
    RepositoryUnreachable,
)
from qdrant_dr.layout import may_hold_ours
from qdrant_dr.records.base import LARGEST
from qdrant_dr.stores.base import (
    Deletion,
    OpenUpload,
    Sink,
    Stat,
    in_utc,
    part_size,
    within_bounds,
)
from qdrant_dr.stores.errors import is_absent, is_taken, refusal_of, translate
from qdrant_dr.stores.ignored_files import is_known
from qdrant_dr.stores.lifecycle import Rule
from qdrant_dr.stores.object_sink import ObjectSink
from qdrant_dr.stores.provider import Upload, Versions
from qdrant_dr.stores.providers import PROVIDERS

_READ = 8 * 2**20  # bytes per range request
_AHEAD = 2  # range requests that run ahead of the reader
_ASKED = 16  # how many objects are asked at once whether they can be read


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that a call may take: the very first one, one for a record, one for much data."""

    contact: float = 10.0
    quick: float = 30.0
    patient: float = 90.0


class ObjectStore:
    """Objects below `bucket/prefix` of an fsspec file system with its own event loop."""

    def __init__(
        self, name: str, fs: Any, kind: str, bucket: str, prefix: str, deadlines: Deadlines
    ) -> None:
        self.name = name
        self._fs, self._provider, self._deadlines = fs, PROVIDERS[kind], deadlines
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self._met = False
        self._versions: Versions | None = None
        self.one_request = self._provider.one_request

    def create(self, path: str, data: bytes) -> None:
        try:
            self.pipe(path, data, mode="create")
        except Conflict:
            # a retry after our own success gets this answer too: only other bytes are a conflict
            if self._begin(path, len(data) + 1) != data:
                raise Conflict(
                    f"repository {self.name}: {path} exists with other content"
                ) from None

    def read(self, path: str) -> bytes:
        return within_bounds(self._begin(path, LARGEST + 1), self.name, path)

    def _begin(self, path: str, size: int) -> bytes:
        """Return up to `size` first bytes of an object in one request."""
        call = partial(self._fs._cat_file, self._full(path), start=0, end=size)
        try:
            data: bytes = self.run("reading", path, call)
        except RepositoryError as e:
            # an empty object has no first byte: each store refuses the range in its own way
            refused = isinstance(e, RepositoryRefuses)
            if refused and (there := self.stat(path)) and not there.size_bytes:
                return b""
            raise
        return data

    def read_range(self, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        there = self.stat(path)
        if there is None:
            raise ObjectMissing(f"repository {self.name}: {path} is not there")
        end = there.size_bytes if end is None else min(end, there.size_bytes)
        ranges = deque((at, min(at + _READ, end)) for at in range(start, end, _READ))
        running: deque[tuple[int, Future[bytes]]] = deque()
        try:
            while ranges or running:
                while ranges and len(running) <= _AHEAD:
                    a, b = ranges.popleft()
                    call = self._fs._cat_file(self._full(path), start=a, end=b)
                    running.append((b - a, self.submit(call, patient=True)))
                size, future = running.popleft()
                block = self.result(future, "reading", path)
                if len(block) != size:
                    raise RepositoryUnreachable(
                        f"repository {self.name}: {len(block)} of {size} bytes were answered "
                        f"while reading {path}"
                    )
                yield block
        finally:
            for _, future in running:
                future.cancel()

    def stat(self, path: str) -> Stat | None:
        try:
            info = self.run("looking at", path, lambda: self._fs._info(self._full(path)))
        except ObjectMissing:
            return None
        if info["type"] == "directory":
            return None
        return self._asked([self._stat(path, info)])[0]

    def find(self, folder: str) -> list[Stat]:
        top, cut = self._full(folder).rstrip("/"), len(self._full(""))
        found = self.run(
            "listing", folder, lambda: self._provider.below(self._fs, top), patient=True
        )
        stats = sorted(
            (
                self._stat(full[cut:], info)
                for full, info in found.items()
                if full.startswith(f"{top}/")
                and full[cut:]
                and info["type"] != "directory"
                and not is_known(full[cut:], info["size"] or 0)
                and not (not info["size"] and may_hold_ours(full[cut:]))  # marks a folder
            ),
            key=lambda there: there.path,
        )
        return self._asked(stats)

    def folders(self, folder: str) -> list[str]:
        top = self._full(folder).rstrip("/")
        try:
            found = self.run("listing", folder, lambda: self._fs._ls(top, detail=True))
        except ObjectMissing:
            return []
        names = (str(info["name"]).rstrip("/") for info in found if info["type"] == "directory")
        return sorted(name[len(top) + 1 :] for name in names if name.startswith(f"{top}/"))

    def _stat(self, path: str, info: dict[str, Any]) -> Stat:
        mark = str(info.get("ETag") or info.get("etag") or "").strip('"')
        storage, md5 = self._provider.listed(info), self._provider.md5(info)
        return Stat(path, info["size"], _time(info), mark, storage, md5)

    def _asked(self, stats: list[Stat]) -> list[Stat]:
        """Ask each object itself if a listing does not tell whether it can be read."""
        found = list(stats)
        running: deque[tuple[int, Future[Any]]] = deque()

        def take() -> None:
            at, future = running.popleft()
            # for one that is gone meanwhile, or may not be asked, the listing counts
            with suppress(ObjectMissing, RepositoryDenied, RepositoryRefuses):
                head = self.result(future, "looking at", found[at].path)
                found[at] = replace(
                    found[at], storage=self._provider.asked(found[at].storage, head)
                )

        try:
            for at, there in enumerate(stats):
                if not self._provider.tells_more(there.storage, there.size_bytes):
                    continue
                if len(running) == _ASKED:
                    take()
                call = self._provider.head(self._fs, self._bucket, self._prefix + there.path)
                running.append((at, self.submit(call, patient=False)))
            while running:
                take()
        finally:
            for _, future in running:
                future.cancel()
        return found

    def sink(
        self,
        path: str,
        *,
        size_hint: int | None = None,
        replace: bool = False,
        digest: StreamDigest | None = None,
    ) -> Sink:
        if not replace and self.stat(path) is not None:
            raise Conflict(f"repository {self.name}: {path} already exists")
        return ObjectSink(self, path, part_size(size_hint), replace=replace, digest=digest)

    def delete(self, path: str) -> None:
        with suppress(ObjectMissing):
            self.run("deleting", path, lambda: self._fs._rm_file(self._full(path)))

    def deletion(self, path: str) -> Deletion:
        if self._versions is None:
            self._versions = self._provider.versions(self, self._bucket)
        if self._versions is None or self._versions.hidden is None:
            return Deletion()
        return Deletion(self._versions.hidden, self._versions.locked_until(self._prefix + path))

    def lifecycle(self) -> tuple[Rule, ...]:
        """Return the bucket's lifecycle rules for objects here; empty if it does not tell."""
        return self._provider.lifecycle(self, self._bucket, self._prefix)

    def replaced(self, folder: str) -> list[str] | None:
        """List objects that were written over or deleted; None if the bucket keeps no versions, or
        does not tell of them."""
        return self._provider.replaced(self, self._bucket, self._prefix, folder)

    def call(self, doing: str, path: str, method: str, *args: Any, **given: Any) -> Any:
        """Make a call of the file system, by the name of its coroutine."""
        return self.run(doing, path, lambda: getattr(self._fs, method)(*args, **given))

    def open_uploads(self, folder: str) -> list[OpenUpload]:
        return self._provider.open_uploads(self, self._bucket, self._prefix, folder)

    def discard_upload(self, upload: OpenUpload) -> None:
        with suppress(ObjectMissing):  # another sweep was faster, or it was finished
            self._provider.discard_upload(self, self._bucket, self._prefix + upload.path, upload)

    def free_bytes(self) -> int | None:
        return None

    def signed_url(self, path: str, seconds: int) -> str:
        try:
            url = str(self._fs.sign(self._full(path), expiration=seconds))
        except Exception as e:  # noqa: BLE001 -- each library has errors of its own for a key it lacks
            raise CannotSign(
                f"repository {self.name}: its credentials cannot sign a URL ({type(e).__name__})",
                "give the repository a key that can sign, or use `--way upload`.",
            ) from None
        if "?" not in url:
            raise CannotSign(f"repository {self.name}: the URL it gives is not signed")
        return url

    # for the sink

    def upload(self, path: str, *, create: bool) -> Upload:
        return self._provider.upload(self._fs, self._bucket, self._prefix + path, create=create)

    def pipe(self, path: str, data: bytes, *, mode: str) -> None:
        """Write in one request; `mode` is fsspec's: `create` or `overwrite`."""
        self.run(
            "creating",
            path,
            lambda: self._provider.pipe(
                self._fs, self._bucket, self._prefix + path, data, mode=mode
            ),
            patient=len(data) > 2**20,
            absent=RepositoryMissing,
            creating=mode == "create",
        )

    def _full(self, path: str) -> str:
        return f"{self._bucket}/{self._prefix}{path}"

    def run(
        self,
        doing: str,
        path: str,
        call: Callable[[], Coroutine[Any, Any, Any]],
        *,
        patient: bool = False,
        absent: type[DRError] = ObjectMissing,
        creating: bool = False,
    ) -> Any:
        """Make one call and wait for it. `absent` is the error of a 404; a call that is `creating`
        may raise Conflict because the name is taken."""
        future = self.submit(call(), patient=patient)
        return self.result(future, doing, path, absent=absent, creating=creating)

    def submit(self, call: Coroutine[Any, Any, Any], *, patient: bool) -> Future[Any]:
        """Start one call, bounded by its deadline."""
        limits = self._deadlines
        seconds = limits.patient if patient else limits.quick
        bounded = asyncio.wait_for(call, seconds if self._met else limits.contact)
        return asyncio.run_coroutine_threadsafe(bounded, self._fs.loop)

    def result(
        self,
        future: Future[Any],
        doing: str,
        path: str,
        *,
        absent: type[DRError] = ObjectMissing,
        creating: bool = False,
    ) -> Any:
        """Wait for a call that was started. Raise errors of the tree."""
        # asked for, not raised: raised in an exception handler it would get the handled error as
        # its context, which would be taken for its cause
        error = future.exception()
        if error is None:
            self._met = True
            return future.result()
        if not isinstance(error, Exception):
            raise error
        answered = refusal_of(error)
        self._met = self._met or answered is not None
        about = f"repository {self.name}"
        if isinstance(error, TimeoutError) and answered is None:
            raise RepositoryUnreachable(f"{about}: no answer in time while {doing} {path}")
        if is_absent(error):
            self._met = True
            what = path if absent is ObjectMissing else "the bucket or container"
            raise absent(f"{about}: {what} is missing")
        if creating and is_taken(error):
            raise Conflict(f"{about}: {path} already exists")
        raise translate(error, repository=self.name, doing=f"{doing} {path}")


def _time(info: dict[str, Any]) -> datetime:
    for name in ("LastModified", "last_modified", "updated"):
        if value := info.get(name):
            return in_utc(value)
    raise RepositoryUnreachable("an object was listed without its time")
