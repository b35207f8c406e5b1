"""Folders that do not outlive their work: a lock in each says whether its owner lives."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qdrant_dr.errors import StorageFull
from qdrant_dr.proof.death import MORE_ROOM, OURS

LOCK = ".lock"
PREFIX = "qdr-"
NEW = ".qdr-new-"
TELLING = (f"{PREFIX}capture-", f"{PREFIX}drill-")
"""What these left on servers must be found first: the sweep that does so removes them."""


@contextmanager
def scratch_folder(spool: str | Path, name: str) -> Iterator[Path]:
    """A new folder `qdr-<name>` below the spool, locked while in use and removed afterwards.

    Folders whose owner was killed are removed first: the kernel drops a lock with its process.
    Raise StorageFull if the spool cannot be written, at first or while it is in use.
    """
    base = Path(spool).expanduser()
    folder = base / f"{PREFIX}{name}"
    try:
        base.mkdir(parents=True, exist_ok=True)
        sweep_scratch(base)
        # locked under another name first: a sweep must never see it without its lock
        new = Path(tempfile.mkdtemp(prefix=NEW, dir=base))
        lock = (new / LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(folder)
    except OSError as e:
        raise StorageFull(
            f"no scratch space at {base}: {e.strerror}", "set `capture.spool.path`."
        ) from None
    try:
        yield folder
    except OSError as e:
        if e.errno in OURS:
            raise StorageFull(f"{e.strerror} at {e.filename or folder}", MORE_ROOM) from e
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def abandoned(spool: str | Path, name: str) -> bool | None:
    """Was this folder's owner killed? None: there is no such folder here (or it ended well)."""
    folder = Path(spool).expanduser() / f"{PREFIX}{name}"
    if not folder.is_dir():
        return None
    return _unlocked(folder)


def sweep_scratch(base: Path) -> tuple[str, ...]:
    """Remove folders without a living owner, but those that tell another sweep who died."""
    removed = []
    for folder in base.iterdir():
        ours = folder.name.startswith(PREFIX) and not folder.name.startswith(TELLING)
        if folder.is_dir() and ((ours and _unlocked(folder)) or _left_new(folder)):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder.name)
    return tuple(sorted(removed))


def dead_folders(spool: str | Path, kind: str) -> tuple[str, ...]:
    """Names, without `qdr-`, of the folders `<kind>-...` whose owner was killed."""
    base = Path(spool).expanduser()
    found = base.glob(f"{PREFIX}{kind}-*") if base.is_dir() else ()
    return tuple(sorted(f.name.removeprefix(PREFIX) for f in found if _unlocked(f)))


def empty_scratch(spool: str | Path, name: str) -> None:
    """Remove what is in a folder whose owner is known to be dead; its lock stays, and tells."""
    for path in (Path(spool).expanduser() / f"{PREFIX}{name}").iterdir():
        if path.name != LOCK:
            path.unlink(missing_ok=True)


def remove_scratch(spool: str | Path, name: str) -> None:
    """Remove a folder whose owner is known to be dead."""
    shutil.rmtree(Path(spool).expanduser() / f"{PREFIX}{name}", ignore_errors=True)


def _unlocked(folder: Path) -> bool:
    try:
        lock = os.open(folder / LOCK, os.O_RDWR)
    except OSError:
        return not (folder / LOCK).exists() and folder.exists()
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _left_new(folder: Path) -> bool:
    """Killed in the instant between making the folder and locking it."""
    if not folder.name.startswith(NEW):
        return False
    try:
        return time.time() - folder.stat().st_mtime > 60
    except OSError:
        return False
