"""What lies on this machine: whose folder it is, and how much of a file is read.

What we put into a folder is believed later, and removed by name. So nobody else may write to it:
not to the folder itself, and what lies in it counts only if it is ours and no link. Of a file no
more is read than it may hold, and nothing of what is no file: a FIFO would never end.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from qdrant_dr.errors import FolderUnsafe

_AT_FDCWD, _RENAME_NOREPLACE = -100, 1  # of Linux
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NOT_SUPPORTED = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
OPEN_TO_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class NoFile(OSError):
    """It is there and no regular file; `strerror` says what it is instead."""


class TooLarge(OSError):
    """It holds more than may be read at once."""


class NoSuchRename(OSError):
    """This system or file system has no rename that refuses an existing name."""


Ours = Callable[[str], bool]


def own_folder(folder: Path, setting: str, ours: Ours = lambda _: True) -> None:
    """Make a folder that only we can write to, or check the one that is there.

    It must be ours or root's. Where others may write, the sticky bit must keep them from what is
    ours, as in /tmp; that root gave it to a group, as Kubernetes does with a volume, is root's
    choice. One that is ours, and holds nothing but what `ours` knows by its name, is closed to
    others instead: an earlier version made it under a loose umask.
    Raise FolderUnsafe, which names `setting`; OSError if it cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if unsafe := why_unsafe(folder, setting, ours):
        raise unsafe
    there = folder.stat()
    if there.st_uid == os.getuid() and _others_may_change(there):
        folder.chmod(stat.S_IMODE(there.st_mode) & ~OPEN_TO_OTHERS)


def why_unsafe(folder: Path, setting: str, ours: Ours = lambda _: True) -> FolderUnsafe | None:
    """What `own_folder` would raise; nothing is changed. Raise OSError."""
    us = os.getuid()
    for there in (folder.lstat(), folder.stat()):  # who owns a link says where it leads
        if there.st_uid not in (us, 0):
            return FolderUnsafe(
                f"{folder} belongs to another user (uid {there.st_uid}; we are {us})",
                f"set {setting} to a folder of your own, or give it to the user who runs this: "
                f"`chown -R {us} {folder}`.",
            )
    if not _others_may_change(there):
        return None
    if there.st_uid == us and all(ours(p.name) for p in folder.iterdir()):
        return None
    return FolderUnsafe(
        f"other users may write to {folder} (mode {stat.S_IMODE(there.st_mode):o})",
        f"`chmod go-w {folder}`, or set {setting} to a folder below it, which is then made for "
        "this user alone.",
    )


def _others_may_change(there: os.stat_result) -> bool:
    """Whether somebody else may rename or remove what we make in this folder."""
    given_by_root = there.st_uid == 0 != os.getuid()
    others = stat.S_IWOTH if given_by_root else OPEN_TO_OTHERS
    return bool(there.st_mode & others) and not there.st_mode & stat.S_ISVTX


def is_own_folder(path: Path) -> bool:
    """Whether a folder of ours is there: no link, no file, nobody else's."""
    try:
        there = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(there.st_mode) and there.st_uid == os.getuid()


def closed_to_others(path: Path) -> bool:
    """Whether nobody but us can write there, as far as a file system tells."""
    there = path.stat()
    return there.st_uid == os.getuid() and not there.st_mode & OPEN_TO_OTHERS


def open_regular(file: Path, *, follow: bool = True) -> BinaryIO:
    """Open a file to read. Raise NoFile for anything else, at once."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        opened = os.open(file, flags)
    except OSError:
        if kind := _kind(file, follow=follow):  # sockets, and links that are not followed
            raise NoFile(None, kind, str(file)) from None
        raise
    mode = os.fstat(opened).st_mode
    if not stat.S_ISREG(mode):
        os.close(opened)
        raise NoFile(None, next((k for test, k in _KINDS if test(mode)), "no file"), str(file))
    return os.fdopen(opened, "rb", buffering=0)


def read_regular(file: Path, largest: int, *, follow: bool = True) -> bytes:
    """All of a file of at most `largest` bytes. Raise NoFile, TooLarge."""
    with open_regular(file, follow=follow) as opened:
        size = os.fstat(opened.fileno()).st_size
        data = bytearray()
        while size <= largest and len(data) <= largest:
            block = opened.read(min(2**20, largest + 1 - len(data)))
            if not block:
                return bytes(data)
            data += block
        raise TooLarge(None, f"{max(size, len(data))} bytes", str(file))


def _kind(file: Path, *, follow: bool) -> str | None:
    try:
        mode = (file.stat if follow else file.lstat)().st_mode
    except OSError as e:
        return "a link to itself" if e.errno == errno.ELOOP else None
    return next((kind for test, kind in _KINDS if test(mode)), None)


def take_name(old: Path, new: Path) -> None:
    """Give a file a name that is free, in one step; its old name may stay, as a second one.

    Raise FileExistsError, NoSuchRename if this file system cannot do that, OSError."""
    try:
        os.link(old, new)
    except OSError as e:
        if e.errno not in _NO_LINKS:
            raise
        rename_new(old, new)


def rename_new(old: Path, new: Path) -> None:
    """Rename within a file system unless the new name exists, in one step.

    Raise FileExistsError, NoSuchRename, OSError."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise NoSuchRename(errno.ENOSYS, "no renameat2", str(new))
    if rename(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), _RENAME_NOREPLACE) == 0:
        return
    number = ctypes.get_errno()
    kind = NoSuchRename if number in _NOT_SUPPORTED else OSError
    raise kind(number, os.strerror(number), str(old), None, str(new))


def free_below(path: str) -> int:
    """Free bytes where a folder is, or will be made."""
    folder = Path(path).expanduser()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free
