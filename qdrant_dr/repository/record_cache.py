"""Records read before need not be fetched again: they never change, and the store says if one did.

For those who only look, and look often (`watch`, `report`, `status`, `list`): a listing tells of
every object the store's own mark of its content (the ETag), and what was read under that mark is
taken from a file on this machine. What this machine never read is taken from bundles, as far as the
same listing confirms their bytes. Whoever proves, heals, restores or deletes reads the store.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections.abc import Container, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from qdrant_dr import layout
from qdrant_dr.digests import StreamDigest
from qdrant_dr.errors import DRError
from qdrant_dr.records import Location
from qdrant_dr.repository.record_bundles import decode, is_current, is_small, worth_reading
from qdrant_dr.repository.record_memory import InBundle, RecordMemory, Remembered
from qdrant_dr.repository.repository import Repository
from qdrant_dr.stores.base import Deletion, OpenUpload, Sink, Stat, Store, inside

log = logging.getLogger(__name__)

_PENDING = 2**20  # bytes that wait to be written down
_FEW = 8  # so many records are fetched one by one, without a look at bundles
_BUNDLES_AT_ONCE = 2  # a bundle is some MiB


def remembering(repository: Repository) -> Repository:
    """Return the same repository with a cache for its records; on a local disk there is nothing to
    save."""
    if repository.location.protocol in ("file", "memory"):
        return repository
    file: Path | None = None
    try:
        file = memory_of(repository.id, repository.location)
    except RuntimeError as e:  # a container may run under an id without a home
        log.info("records of %s are not remembered for the next run: %s", repository.name, e)
    return replace(repository, store=RememberingStore(repository.store, file))


def memory_of(repository_id: str, location: Location) -> Path:
    """Return the cache file for one repository at one place, below $XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    where = hashlib.sha256(str(location).encode()).hexdigest()[:8]
    return Path(base) / "qdrant-dr" / f"{repository_id}-{where}.sqlite"


class RememberingStore:
    """A store whose small objects are read once. Only what was listed with a mark is remembered.

    Neither a file nor a bundle that cannot be used is an error: then everything is fetched, as
    without.
    """

    def __init__(self, store: Store, file: Path | None) -> None:
        self.name = store.name
        self.memory = RecordMemory(store.name, file)
        self.listed: dict[str, dict[str, Stat]] = {}
        """What a bundle may hold, by the folder that was listed."""
        self._store = store
        self._marks: dict[str, str] = {}
        self._pending: dict[str, Remembered] = {}
        self._pending_bytes = 0
        self._lock = threading.Lock()

    def read(self, path: str) -> bytes:
        mark = self._marks.get(path)
        if mark is None:
            return self._store.read(path)
        if (known := self.memory.recall(path, mark)) is not None:
            return known.data
        data = self._store.read(path)
        self._remember(path, Remembered(mark, int(time.time()), data))
        return data

    def find(self, folder: str) -> list[Stat]:
        """List, and learn the marks; what was read since the last listing is written down."""
        self.write_down()
        found = self._store.find(folder)
        marks = {s.path: mark_of(s) for s in found if s.mark}
        with self._lock:  # what is not listed any more has no mark any more
            kept = {p: m for p, m in self._marks.items() if not p.startswith(inside(folder))}
            self._marks = kept | marks
        if (place := layout.bundles_of(folder)) is not None:
            listed = {s.path: s for s in found if is_small(s) and layout.may_be_bundled(s.path)}
            with self._lock:
                self.listed[folder] = listed
            self._fetch_bundled(folder, place)
        return found

    def write_down(self) -> None:
        """Write down what was read."""
        with self._lock:
            read, self._pending, self._pending_bytes = self._pending, {}, 0
        self.memory.keep(read)

    def bundled(self, folder: str, bundles: Container[str]) -> dict[str, InBundle]:
        """Return the records of a listed folder that one of these bundles has as they are now."""
        listed = self.listed[folder]
        return {
            path: of
            for path, of in self.memory.bundled(folder).items()
            if of.bundle in bundles and path in listed and of.mark == mark_of(listed[path])
        }

    def unbundle(
        self, folder: str, wanted: Sequence[Stat], bundles: Mapping[str, Stat]
    ) -> set[str]:
        """Remember what bundles have of the records of a listed folder, and which bundle it is: of
        all `bundles` that are there, the newest. Return those that could be read."""
        with ThreadPoolExecutor(_BUNDLES_AT_ONCE) as pool:
            found = list(pool.map(partial(self._unbundle, self.listed[folder]), wanted))
        self.write_down()
        bundled = self.bundled(folder, bundles)
        for bundle, records in zip(wanted, found, strict=True):
            for path, of in (records or {}).items():
                known = bundled.get(path)
                if known is None or bundles[known.bundle].modified_at <= bundle.modified_at:
                    bundled[path] = of
        self.memory.keep_bundled(bundled)
        return {s.path for s, records in zip(wanted, found, strict=True) if records is not None}

    def _unbundle(self, listed: Mapping[str, Stat], bundle: Stat) -> dict[str, InBundle] | None:
        """What one bundle has as it is now; None if it could not be read."""
        now = time.time()
        found: dict[str, InBundle] = {}
        try:
            for entry, data in decode(self._store.read(bundle.path)):
                there = listed.get(entry.path)
                if there is None or not is_current(entry, data, there, now):
                    continue
                mark, read_at = mark_of(there), min(entry.read_at, int(now))
                found[entry.path] = InBundle(mark, read_at, bundle.path)
                if self.memory.recall(entry.path, mark) is None:
                    self._remember(entry.path, Remembered(mark, read_at, data))
        except DRError as e:
            log.debug("%s/%s is not read: %s", self.name, bundle.path, e.message)
            return None
        except ValueError as e:
            log.debug("%s/%s is no bundle of records: %s", self.name, bundle.path, e)
        return found

    def _fetch_bundled(self, folder: str, place: str) -> None:
        """Take what was never read here from bundles, where that saves requests."""
        known = self.memory.marks(folder)
        missing = [s for p, s in self.listed[folder].items() if known.get(p) != mark_of(s)]
        if len(missing) <= _FEW or not self.memory.usable:
            return
        try:
            bundles = {s.path: s for s in self._store.find(place) if layout.is_ours(s.path)}
        except DRError as e:
            log.debug("bundles of %s/%s are not listed: %s", self.name, folder, e.message)
            return
        before = {of.bundle for of in self.memory.bundled(folder).values()}
        if wanted := worth_reading(bundles.values(), missing, datetime.now(UTC), before):
            self.unbundle(folder, wanted, bundles)

    def _remember(self, path: str, read: Remembered) -> None:
        with self._lock:
            self._pending[path] = read
            self._pending_bytes += len(read.data)
            full = self._pending_bytes > _PENDING
        if full:
            self.write_down()

    # everything else is the store's

    def create(self, path: str, data: bytes) -> None:
        self._store.create(path, data)

    def read_range(self, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        return self._store.read_range(path, start, end)

    def stat(self, path: str) -> Stat | None:
        return self._store.stat(path)

    def folders(self, folder: str) -> list[str]:
        return self._store.folders(folder)

    def sink(
        self,
        path: str,
        *,
        size_hint: int | None = None,
        replace: bool = False,
        digest: StreamDigest | None = None,
    ) -> Sink:
        return self._store.sink(path, size_hint=size_hint, replace=replace, digest=digest)

    def delete(self, path: str) -> None:
        self._store.delete(path)

    def deletion(self, path: str) -> Deletion:
        return self._store.deletion(path)

    def open_uploads(self, folder: str) -> list[OpenUpload]:
        return self._store.open_uploads(folder)

    def discard_upload(self, upload: OpenUpload) -> None:
        self._store.discard_upload(upload)

    def free_bytes(self) -> int | None:
        return self._store.free_bytes()

    def signed_url(self, path: str, seconds: int) -> str:
        return self._store.signed_url(path, seconds)


def mark_of(there: Stat) -> str:
    """Return what a record was read under: whatever of it changes, it is read again."""
    return f"{there.size_bytes} {there.mark} {there.modified_at.timestamp():.6f}"
