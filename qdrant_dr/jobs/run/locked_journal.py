"""Files that tell whoever comes after a kill what was begun: locked while at work, written
durably."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from qdrant_dr.errors import StorageFull


def write_durably(path: Path, data: bytes) -> None:
    """Replace the file in one step. Raise StorageFull."""
    new = path.with_suffix(".new")
    try:
        with new.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        new.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as e:
        raise StorageFull(
            f"the journal at {path.parent} cannot be written: {e.strerror}",
            "free space there, or set `capture.spool.path`.",
        ) from None


def drop(path: Path) -> None:
    """Remove the file: nothing is left to continue."""
    path.unlink(missing_ok=True)
    path.with_suffix(".new").unlink(missing_ok=True)


def locked(path: Path) -> IO[bytes] | None:
    """Return the lock file, held; None if somebody else holds it. The kernel drops a lock with its
    process."""
    while True:
        lock = path.open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        try:
            if os.fstat(lock.fileno()).st_ino == path.stat().st_ino:
                return lock
        except FileNotFoundError:
            pass  # its last owner removed it between our open and our lock
        lock.close()
