"""Decide why an engine failed: because of the bytes it read, or because of this machine. Pure,
except for one test of the disk.

A panic over verified bytes is a finding. What the kernel, a `kill` or a full disk did to the
process says nothing about the bytes. A crash without a message may be either: a page of a mapped
file that cannot be read (SIGBUS) may mean a full disk or a truncated file."""

from __future__ import annotations

import errno
import os
import re
import signal
from contextlib import suppress
from pathlib import Path

from qdrant_dr.errors import DRError, EngineCrashed, EngineFailed, EngineHindered, StorageFull

MORE_MEMORY = "raise `proof.memory`, or verify on a machine with more memory."
MORE_ROOM = "free space there, or set `capture.spool.path`; this says nothing about the copy."
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
OURS = FULL | {
    errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
    errno.EAGAIN, errno.EINTR,
}  # fmt: skip
"""Error numbers that concern the machine. ENOENT and EINVAL concern the archive."""
_NUMBERED = re.compile(r"os error (\d+)|\[Errno (\d+)\]|Os \{ code: (\d+)")
_OF_ITSELF = frozenset({
    signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP,
    signal.SIGSYS,
})  # fmt: skip
_PROBE_BYTES = 1 << 20
_SHOWN = 600


def failure(said: str, folder: Path) -> DRError:
    """Return the error for a failure that a living engine reports. `folder` is its scratch
    space."""
    return _of_machine(said, f"the engine failed: {said}", folder) or EngineFailed(
        f"the engine failed: {said}"
    )


def death(code: int, said: str, folder: Path) -> DRError:
    """Return the error for the end of an engine, by its exit code and last words."""
    how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
    shown = said[-_SHOWN:].strip()
    words = f"the engine {how}{': ' + shown if shown else ''}"
    if ours := _of_machine(said, words, folder):
        return ours
    if "panicked at" in said or "PanicException" in said:
        return EngineFailed(words)
    if -code not in _OF_ITSELF:
        return EngineHindered(words)
    if why := refusal(folder):
        return StorageFull(f"{words}; no scratch space is left below {folder}: {why}", MORE_ROOM)
    return EngineCrashed(words)


def _of_machine(said: str, words: str, folder: Path) -> DRError | None:
    numbers = {int(n) for match in _NUMBERED.findall(said) for n in match if n}
    if numbers & FULL:
        return StorageFull(f"{words}; below {folder}", MORE_ROOM)
    if "memory allocation" in said or "MemoryError" in said or errno.ENOMEM in numbers:
        return EngineHindered(words, MORE_MEMORY)
    return EngineHindered(words) if numbers & OURS else None


def refusal(folder: Path) -> str | None:
    """Say why nothing more can be written below a folder, by disk or quota; None if it can."""
    probe = folder / f"room-{os.getpid()}"
    try:
        with probe.open("wb", buffering=0) as file:
            left = _PROBE_BYTES
            while left:
                left -= file.write(bytes(left)) or 0
            os.fsync(file.fileno())
    except OSError as e:
        return e.strerror or type(e).__name__
    finally:
        with suppress(OSError):
            probe.unlink()
    return None
