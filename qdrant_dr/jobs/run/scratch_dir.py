"""Folders that do not outlive their work: a lock in each says whether its owner lives.

The spool may lie where others write, as below /tmp: only folders of this user count, never links.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from qdrant_dr.disk import is_own_folder, own_folder, why_unsafe
from qdrant_dr.errors import FolderUnsafe, StorageFull
from qdrant_dr.jobs.run import call_journal as calls
from qdrant_dr.jobs.run import undelivered
from qdrant_dr.proof.crash_cause import MORE_ROOM, OURS

LOCK = ".lock"
PREFIX = "qdr-"
NEW = ".qdr-new-"
JOURNALS = "restores"
SETTING = "`capture.spool.path`"
TELLING = (f"{PREFIX}capture-", f"{PREFIX}drill-")
"""What these left on servers must be found first: the sweep that does so removes them."""


@contextmanager
def scratch_folder(spool: str | Path, name: str) -> Iterator[Path]:
    """Make a new folder `qdr-<name>` below the spool, lock it while in use, and remove it
    afterwards.

    Folders whose owner was killed are removed first: the kernel drops a lock with its process.
    Raise StorageFull if the spool cannot be written, at first or while it is in use, FolderUnsafe
    if others may write to it.
    """
    base = own_spool(spool)
    folder = base / f"{PREFIX}{name}"
    try:
        sweep_scratch(base)
        # locked under another name first: a sweep must never see it without its lock
        new = Path(tempfile.mkdtemp(prefix=NEW, dir=base))
        lock = (new / LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(folder)
    except OSError as e:
        raise _no_space(base, e) from None
    try:
        yield folder
    except OSError as e:
        if e.errno in OURS:
            raise StorageFull(f"{e.strerror} at {e.filename or folder}", MORE_ROOM) from e
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.close()


def own_spool(spool: str | Path) -> Path:
    """Return the spool, and make it if it is missing. Raise StorageFull, FolderUnsafe."""
    base = Path(spool).expanduser()
    try:
        own_folder(base, SETTING, _is_ours)
    except OSError as e:
        raise _no_space(base, e) from None
    return base


def unsafe_spool(spool: str | Path) -> FolderUnsafe | None:
    """Say what is wrong with the spool as it is now, without making or changing it. Raise
    OSError."""
    base = Path(spool).expanduser()
    return why_unsafe(base, SETTING, _is_ours) if base.exists() else None


def _is_ours(name: str) -> bool:
    """Whether a name in the spool is one that we give."""
    return name.startswith((PREFIX, NEW)) or name in (JOURNALS, calls.FOLDER, undelivered.FOLDER)


def _no_space(base: Path, error: OSError) -> StorageFull:
    return StorageFull(f"no scratch space at {base}: {error.strerror}", "set `capture.spool.path`.")


def abandoned(spool: str | Path, name: str) -> bool | None:
    """Say whether this folder's owner was killed; None if there is no such folder here (or it ended
    well)."""
    folder = Path(spool).expanduser() / f"{PREFIX}{name}"
    return _unlocked(folder) if is_own_folder(folder) else None


def sweep_scratch(base: Path) -> tuple[str, ...]:
    """Remove folders without a living owner, but those that tell another sweep who died."""
    removed = []
    for folder in base.iterdir():
        ours = folder.name.startswith(PREFIX) and not folder.name.startswith(TELLING)
        if is_own_folder(folder) and ((ours and _unlocked(folder)) or _left_new(folder)):
            shutil.rmtree(folder, ignore_errors=True)
            removed.append(folder.name)
    return tuple(sorted(removed))


def dead_folders(spool: str | Path, kind: str) -> tuple[str, ...]:
    """Return the names, without `qdr-`, of the folders `<kind>-...` whose owner was killed."""
    base = Path(spool).expanduser()
    found = filter(is_own_folder, base.glob(f"{PREFIX}{kind}-*")) if base.is_dir() else ()
    return tuple(sorted(f.name.removeprefix(PREFIX) for f in found if _unlocked(f)))


def empty_scratch(spool: str | Path, name: str) -> None:
    """Remove what is in a folder whose owner is known to be dead; its lock stays, and tells."""
    folder = Path(spool).expanduser() / f"{PREFIX}{name}"
    for path in folder.iterdir() if is_own_folder(folder) else ():
        if path.name == LOCK:
            continue
        if is_own_folder(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def remove_scratch(spool: str | Path, name: str) -> None:
    """Remove a folder whose owner is known to be dead."""
    folder = Path(spool).expanduser() / f"{PREFIX}{name}"
    if is_own_folder(folder):
        shutil.rmtree(folder, ignore_errors=True)


def _unlocked(folder: Path) -> bool:
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
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
