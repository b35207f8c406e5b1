"""The file on this machine that remembers records, and which of them a bucket has in bundles."""

from __future__ import annotations

import hashlib
import logging
import sqlite3
import threading
import time
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from qdrant_dr.disk import closed_to_others
from qdrant_dr.repository.record_bundles import DAYS

log = logging.getLogger(__name__)

_TABLES = {
    "records": "path TEXT PRIMARY KEY, mark TEXT NOT NULL, read_at INTEGER NOT NULL, "
    "sha256 BLOB NOT NULL, data BLOB NOT NULL",
    "bundled": "path TEXT PRIMARY KEY, mark TEXT NOT NULL, read_at INTEGER NOT NULL, "
    "bundle TEXT NOT NULL",
}


class Remembered(NamedTuple):
    """A record as it was read, under the mark that a listing gave to it, and when."""

    mark: str
    read_at: int
    data: bytes


class InBundle(NamedTuple):
    """The bundle that has a record, as it was under that mark."""

    mark: str
    read_at: int
    bundle: str


class RecordMemory:
    """Records by path and mark. Without a usable file they are remembered until the end of the
    process, and whatever fails is no error: then everything is fetched. Safe to use from several
    threads."""

    def __init__(self, name: str, file: Path | None) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._db = (_open(file) if file is not None else None) or _until_the_end()
        if self._db is not None:  # a repository has no end of its own
            weakref.finalize(self, self._db.close)

    @property
    def usable(self) -> bool:
        """Say whether anything is remembered at all."""
        return self._db is not None

    def recall(self, path: str, mark: str) -> Remembered | None:
        """Return what was read of a record under this mark, if its bytes are unchanged since."""
        rows = self._ask(
            "SELECT read_at, sha256, data FROM records WHERE path = ? AND mark = ?", path, mark
        )
        for read_at, sha256, data in rows:
            if isinstance(data, bytes) and hashlib.sha256(data).digest() == sha256:
                return Remembered(mark, read_at, data)
        return None

    def marks(self, folder: str) -> dict[str, str]:
        """Return the mark of each record that is remembered below a folder."""
        rows = self._ask(
            "SELECT path, mark FROM records WHERE path > ? AND path < ?", *_below(folder)
        )
        return dict(rows)

    def bundled(self, folder: str) -> dict[str, InBundle]:
        """Return the records below a folder that are known to be in a bundle."""
        rows = self._ask(
            "SELECT path, mark, read_at, bundle FROM bundled WHERE path > ? AND path < ?",
            *_below(folder),
        )
        return {path: InBundle(*row) for path, *row in rows}

    def keep(self, read: Mapping[str, Remembered]) -> None:
        """Write down what was read."""
        rows = [
            (path, r.mark, r.read_at, hashlib.sha256(r.data).digest(), r.data)
            for path, r in read.items()
        ]
        self._write("INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)", rows)

    def keep_bundled(self, found: Mapping[str, InBundle]) -> None:
        """Write down what a bundle has."""
        rows = [(path, *of) for path, of in found.items()]
        self._write("INSERT OR REPLACE INTO bundled VALUES (?, ?, ?, ?)", rows)

    def forget_bundles(self, bundles: Iterable[str]) -> None:
        """Forget bundles that are gone."""
        self._write("DELETE FROM bundled WHERE bundle = ?", [(bundle,) for bundle in bundles])

    def give_up(self, error: sqlite3.Error) -> None:
        """Remember nothing any more."""
        log.info("records of %s are not remembered: %s", self._name, error)
        if self._db is not None:
            self._db.close()
        self._db = None

    def _ask(self, sql: str, *values: str) -> list[tuple[Any, ...]]:
        with self._lock:
            if self._db is None:
                return []
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as e:
                self.give_up(e)
                return []

    def _write(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        with self._lock:
            if self._db is None or not rows:
                return
            try:
                with self._db:
                    self._db.executemany(sql, rows)
            except sqlite3.Error as e:
                self.give_up(e)


def _below(folder: str) -> tuple[str, str]:
    """Between which paths everything below a folder lies: `0` comes after `/`."""
    return f"{folder}/", f"{folder}0"


def _until_the_end() -> sqlite3.Connection | None:
    """A database of no name: in memory while it is small, else in a file that nobody can open."""
    try:
        return _connected("")
    except sqlite3.Error as e:
        log.info("nothing is remembered: %s", e)
        return None


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


def _connected(file: Path | str) -> sqlite3.Connection:
    memory = sqlite3.connect(file, timeout=1, check_same_thread=False)
    try:
        # it can be read again: neither speed nor a crash is worth a flush to disk
        memory.execute("PRAGMA synchronous = OFF")
        now = int(time.time())
        with memory:
            for table, columns in _TABLES.items():
                memory.execute(f"CREATE TABLE IF NOT EXISTS {table} ({columns}) WITHOUT ROWID")
                # what was read in the future was read by a clock that says nothing of its age
                memory.execute(
                    f"DELETE FROM {table} WHERE read_at NOT BETWEEN ? AND ?",  # noqa: S608
                    (now - DAYS * 86400, now),
                )
    except BaseException:
        memory.close()
        raise
    return memory
