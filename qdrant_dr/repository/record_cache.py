"""Records read before need not be fetched again: they never change, and the store says if one did.

For those who only look, and look often (`watch`, `report`, `status`, `list`): a listing tells of
every object the store's own mark of its content (the ETag), and what was read under that mark is
taken from a file on this machine. Whoever proves, heals, restores or deletes reads the store.
"""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from qdrant_dr.digests import StreamDigest
from qdrant_dr.disk import closed_to_others
from qdrant_dr.records import Location
from qdrant_dr.repository.repository import Repository
from qdrant_dr.stores.base import Deletion, OpenUpload, Sink, Stat, Store

log = logging.getLogger(__name__)

_DAYS = 30
"""After so long everything is read anew: what a store lost behind an unchanged mark is seen then,
and what was expired is forgotten."""
_PENDING = 2**20  # bytes that wait to be written down
_TABLE = (
    "CREATE TABLE IF NOT EXISTS records (path TEXT PRIMARY KEY, mark TEXT NOT NULL, "
    "read_at INTEGER NOT NULL, sha256 BLOB NOT NULL, data BLOB NOT NULL) WITHOUT ROWID"
)


def remembering(repository: Repository) -> Repository:
    """Return the same repository with a cache for its records; on a local disk there is nothing to
    save."""
    if repository.location.protocol in ("file", "memory"):
        return repository
    try:
        file = memory_of(repository.id, repository.location)
    except RuntimeError as e:  # a container may run under an id without a home
        log.info("records of %s are not remembered: %s", repository.name, e)
        return repository
    return replace(repository, store=RememberingStore(repository.store, file))


def memory_of(repository_id: str, location: Location) -> Path:
    """Return the cache file for one repository at one place, below $XDG_CACHE_HOME or ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    where = hashlib.sha256(str(location).encode()).hexdigest()[:8]
    return Path(base) / "qdrant-dr" / f"{repository_id}-{where}.sqlite"


class RememberingStore:
    """A store whose small objects are read once. Only what was listed with a mark is remembered.

    A file that cannot be used is no error: then everything is fetched, as without.
    """

    def __init__(self, store: Store, file: Path) -> None:
        self.name = store.name
        self._store = store
        self._marks: dict[str, str] = {}
        self._pending: dict[str, tuple[str, bytes]] = {}
        self._lock = threading.Lock()
        self._memory = _open(file)
        if self._memory is not None:  # a repository has no end of its own
            weakref.finalize(self, self._memory.close)

    def read(self, path: str) -> bytes:
        mark = self._marks.get(path)
        if mark is None:
            return self._store.read(path)
        if (known := self._recall(path, mark)) is not None:
            return known
        data = self._store.read(path)
        with self._lock:
            self._pending[path] = (mark, data)
            full = sum(len(d) for _, d in self._pending.values()) > _PENDING
        if full:
            self._keep()
        return data

    def find(self, folder: str) -> list[Stat]:
        """List, and learn the marks; what was read since the last listing is written down."""
        self._keep()
        found = self._store.find(folder)
        marks = {
            s.path: f"{s.size_bytes} {s.mark} {s.modified_at.timestamp():.6f}"
            for s in found
            if s.mark
        }
        with self._lock:  # what is not listed any more has no mark any more
            kept = {p: m for p, m in self._marks.items() if not p.startswith(f"{folder}/")}
            self._marks = kept | marks
        return found

    def _recall(self, path: str, mark: str) -> bytes | None:
        with self._lock:
            if self._memory is None:
                return None
            try:
                row = self._memory.execute(
                    "SELECT sha256, data FROM records WHERE path = ? AND mark = ?", (path, mark)
                ).fetchone()
            except sqlite3.Error as e:
                self._give_up(e)
                return None
        if row is None or not isinstance(row[1], bytes):
            return None
        data: bytes = row[1]
        return data if hashlib.sha256(data).digest() == row[0] else None

    def _keep(self) -> None:
        with self._lock:
            rows = [
                (path, mark, int(time.time()), hashlib.sha256(data).digest(), data)
                for path, (mark, data) in self._pending.items()
            ]
            self._pending.clear()
            if self._memory is None or not rows:
                return
            try:
                with self._memory:
                    self._memory.executemany(
                        "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)", rows
                    )
            except sqlite3.Error as e:
                self._give_up(e)

    def _give_up(self, error: sqlite3.Error) -> None:
        log.info("records of %s are not remembered: %s", self.name, error)
        if self._memory is not None:
            self._memory.close()
        self._memory = None

    # everything else is the store's

    def create(self, path: str, data: bytes) -> None:
        self._store.create(path, data)

    def read_range(self, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        return self._store.read_range(path, start, end)

    def stat(self, path: str) -> Stat | None:
        return self._store.stat(path)

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


def _open(file: Path) -> sqlite3.Connection | None:
    """The memory, without what is too old; a damaged file is thrown away. None if there is no place
    for it, or if somebody else may write to it: whoever does could tell us of backups at will."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.touch(mode=0o600)
        if strange := [p for p in (file.parent, file) if not closed_to_others(p)]:
            log.info("%s is not used: %s is not ours alone", file, strange[0])
            return None
        try:
            return _connected(file)
        except sqlite3.OperationalError:  # locked, or no place to write to
            raise
        except sqlite3.DatabaseError as e:
            log.info("%s is thrown away: %s", file, e)
            file.unlink(missing_ok=True)
            file.touch(mode=0o600)
            return _connected(file)
    except (sqlite3.Error, OSError) as e:
        log.info("%s is not used: %s", file, e)
        return None


def _connected(file: Path) -> sqlite3.Connection:
    memory = sqlite3.connect(file, timeout=1, check_same_thread=False)
    try:
        # it can be read again: neither speed nor a crash is worth a flush to disk
        memory.execute("PRAGMA synchronous = OFF")
        now = int(time.time())
        with memory:
            memory.execute(_TABLE)
            # what was read in the future was read by a clock that says nothing of its age
            memory.execute(
                "DELETE FROM records WHERE read_at NOT BETWEEN ? AND ?", (now - _DAYS * 86400, now)
            )
    except BaseException:
        memory.close()
        raise
    return memory
