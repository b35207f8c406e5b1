"""Write an object of any size to an object storage, in parts."""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from qdrant_dr.digests import StreamDigest
from qdrant_dr.errors import DRError, ObjectMissing, RepositoryMissing, RepositoryUnreachable
from qdrant_dr.stores.body import Body
from qdrant_dr.stores.provider import Upload

if TYPE_CHECKING:
    from qdrant_dr.stores.object_store import ObjectStore

log = logging.getLogger(__name__)


class ObjectSink:
    """Cuts blocks into parts of equal size; some are being sent while the next is filled. A part
    is the pieces of blocks in it: nothing is copied."""

    def __init__(
        self,
        store: ObjectStore,
        path: str,
        size: int,
        *,
        replace: bool,
        digest: StreamDigest | None,
    ) -> None:
        self._store, self._path, self._size, self._replace = store, path, size, replace
        self._digest = digest
        self._pieces: list[bytes | memoryview] = []
        self._filled = 0  # bytes in them
        self._upload: Upload | None = None
        self._running: deque[Future[None]] = deque()
        self._number = self._offset = 0
        self._aborted = False

    def write(self, block: bytes) -> None:
        rest: bytes | memoryview = block
        # send only when there is more than one part, because the last must not be empty
        while self._filled + len(rest) > self._size:
            room = self._size - self._filled
            view = memoryview(rest)
            self._take(view[:room])
            self._send(last=False)
            rest = view[room:]
        self._take(rest)

    def _take(self, piece: bytes | memoryview) -> None:
        if piece:
            self._pieces.append(piece)
            self._filled += len(piece)

    def commit(self) -> None:
        if self._aborted:
            raise RuntimeError(f"{self._path} was given up: what was written is no more")
        if self._upload is None and self._filled <= self._store.one_request:
            data = b"".join(self._pieces)
            if self._replace:
                self._store.pipe(self._path, data, mode="overwrite")
            else:
                self._store.create(self._path, data)
            return
        self._send(last=True)
        while self._running:
            self._wait()
        assert self._upload is not None
        self._finish(self._upload)
        self._upload = None

    def abort(self) -> None:
        self._aborted = True
        self._pieces.clear()
        self._filled = 0
        while self._running:
            self._running.popleft().cancel()
        if (upload := self._upload) is None:
            return
        self._upload = None
        try:
            with suppress(ObjectMissing):
                self._store.run("aborting the upload of", self._path, upload.abort)
        except DRError as e:
            log.info("an open upload is left for the sweep: %s", e.message)

    def _send(self, *, last: bool) -> None:
        if self._upload is None:
            upload = self._store.upload(self._path, create=not self._replace)
            self._store.run(
                "creating",
                self._path,
                upload.begin,
                absent=RepositoryMissing,
                creating=not self._replace,
            )
            self._upload = upload
        while len(self._running) >= self._upload.IN_FLIGHT:
            self._wait()
        known = self._digest.of(self._offset, self._filled) if self._digest else None
        body = Body(*self._pieces, sha256=known)
        self._pieces.clear()
        self._filled = 0
        call = self._upload.put(self._number, self._offset, body, last=last)
        self._running.append(self._store.submit(call, patient=True))
        self._number += 1
        self._offset += len(body)

    def _wait(self) -> None:
        self._store.result(
            self._running.popleft(), "writing", self._path, creating=not self._replace
        )

    def _finish(self, upload: Upload) -> None:
        with suppress(ObjectMissing):  # a retry of our own finish gets "no such upload"
            self._store.run(
                "finishing", self._path, upload.finish, patient=True, creating=not self._replace
            )
        there = self._store.stat(self._path)
        if there is None or there.size_bytes != self._offset:
            raise RepositoryUnreachable(
                f"repository {self._store.name}: {self._path} was sent with {self._offset} bytes "
                f"and has {there.size_bytes if there else 'none'}"
            )
