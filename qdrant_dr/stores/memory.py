"""A store in the memory of this process, for tests: `memory://<name>`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

from qdrant_dr.digests import StreamDigest
from qdrant_dr.errors import CannotSign, Conflict, ObjectMissing
from qdrant_dr.stores.base import BLOCK, Deletion, OpenUpload, Sink, Stat, inside, within_bounds
from qdrant_dr.stores.ignored_files import is_known

_spaces: dict[str, dict[str, tuple[bytes, datetime]]] = {}
_lock = threading.Lock()


class MemoryStore:
    """Objects of one name are shared by all stores of that name in this process."""

    def __init__(self, name: str, space: str) -> None:
        self.name = name
        with _lock:
            self._objects = _spaces.setdefault(space, {})

    def create(self, path: str, data: bytes) -> None:
        with _lock:
            there = self._objects.setdefault(path, (bytes(data), datetime.now(UTC)))
        if there[0] != data:
            raise Conflict(f"repository {self.name}: {path} exists with other content")

    def read(self, path: str) -> bytes:
        if (there := self._objects.get(path)) is None:
            raise ObjectMissing(f"repository {self.name}: {path} is not there")
        return within_bounds(there[0], self.name, path)

    def read_range(self, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        if (there := self._objects.get(path)) is None:
            raise ObjectMissing(f"repository {self.name}: {path} is not there")
        data = memoryview(there[0])[start:end]
        for at in range(0, len(data), BLOCK):
            yield bytes(data[at : at + BLOCK])

    def stat(self, path: str) -> Stat | None:
        there = self._objects.get(path)
        return None if there is None else Stat(path, len(there[0]), there[1])

    def find(self, folder: str) -> list[Stat]:
        with _lock:
            found = sorted(p for p in self._objects if p.startswith(inside(folder)))
        return [s for p in found if (s := self.stat(p)) and not is_known(p, s.size_bytes)]

    def folders(self, folder: str) -> list[str]:
        with _lock:
            top = inside(folder)
            names = [p.removeprefix(top) for p in self._objects if p.startswith(top)]
        return sorted({name.partition("/")[0] for name in names if "/" in name})

    def sink(
        self,
        path: str,
        *,
        size_hint: int | None = None,  # noqa: ARG002 -- a disk needs no parts
        replace: bool = False,
        digest: StreamDigest | None = None,  # noqa: ARG002 -- nobody here asks for one
    ) -> Sink:
        if not replace and path in self._objects:
            raise Conflict(f"repository {self.name}: {path} already exists")
        return _MemorySink(self, path, replace=replace)

    def put(self, path: str, data: bytes) -> None:
        """Write without checking what exists."""
        with _lock:
            self._objects[path] = (data, datetime.now(UTC))

    def delete(self, path: str) -> None:
        with _lock:
            self._objects.pop(path, None)

    def deletion(self, path: str) -> Deletion:  # noqa: ARG002 - what is gone here is gone
        return Deletion()

    def open_uploads(self, folder: str) -> list[OpenUpload]:  # noqa: ARG002 -- it has none
        return []

    def discard_upload(self, upload: OpenUpload) -> None:
        """Do nothing: there are no open uploads."""

    def signed_url(self, path: str, seconds: int) -> str:  # noqa: ARG002
        raise CannotSign(f"repository {self.name}: memory has no URL that a server could fetch")

    def free_bytes(self) -> int | None:
        return None


class _MemorySink:
    def __init__(self, store: MemoryStore, path: str, *, replace: bool) -> None:
        self._store, self._path, self._replace = store, path, replace
        self._blocks: list[bytes] = []

    def write(self, block: bytes) -> None:
        self._blocks.append(bytes(block))

    def commit(self) -> None:
        data = b"".join(self._blocks)
        if self._replace:
            self._store.put(self._path, data)
        else:
            self._store.create(self._path, data)

    def abort(self) -> None:
        self._blocks.clear()
