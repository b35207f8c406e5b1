"""A store on a local disk or mount: temporary file, fsync, link, fsync of the folder.
Where a file system has no hard links, a rename that refuses an existing name takes their place.

fsspec's local create first checks and then opens (two threads both won 82 of 300 races), so we call
the system directly: `os.link` refuses an existing name in one step.

Files are readable by whoever may read the repository's folder, whatever the umask; only the owner
may write to a file, because files are never changed.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from qdrant_dr.digests import StreamDigest
from qdrant_dr.disk import (
    NoFile,
    NoSuchRename,
    TooLarge,
    open_regular,
    read_regular,
    take_name,
)
from qdrant_dr.errors import (
    CannotSign,
    Conflict,
    ObjectMissing,
    RepositoryMissing,
    StoreOverwrites,
)
from qdrant_dr.layout import is_ours, may_hold_ours
from qdrant_dr.quantities import format_size
from qdrant_dr.records.base import LARGEST
from qdrant_dr.stores.base import BLOCK, Deletion, OpenUpload, Sink, Stat, no_record
from qdrant_dr.stores.errors import translate
from qdrant_dr.stores.ignored_files import is_known

_SYNC_EVERY = 64 * 2**20  # bytes: leaves little work for the fsync at the end
_TEMPORARY = re.compile(r"\.[A-Za-z0-9].*\.[0-9a-f]{8}", re.DOTALL)


class LocalStore:
    """Files below one folder, which must stay the same one: a disk can be unmounted."""

    def __init__(self, name: str, root: Path, *, make: bool = False) -> None:
        self.name, self._root = name, root
        with self.speaking("opening", ""):
            if make:
                root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._identity = self._identify()
            mode = root.stat().st_mode
            self._file_mode, self._folder_mode = mode & 0o644 | 0o600, mode & 0o2775 | 0o700

    def create(self, path: str, data: bytes) -> None:
        with self.speaking("creating", path):
            sink = _LocalSink(self, path, replace=False)
            try:
                sink.write(data)
                sink.commit()
            except Conflict:
                if not self._holds(path, data):
                    raise
            finally:
                sink.abort()

    def read(self, path: str) -> bytes:
        with self.speaking("reading", path):
            try:
                return read_regular(self.file(path), LARGEST)
            except NoFile as e:
                raise no_record(self.name, path, f"is {e.strerror}, not a record") from None
            except TooLarge as e:
                most = format_size(LARGEST)
                what = f"has {e.strerror}, larger than any record may be ({most})"
                raise no_record(self.name, path, what) from None

    def _holds(self, path: str, data: bytes) -> bool:
        try:
            return read_regular(self.file(path), len(data)) == data
        except (NoFile, TooLarge):
            return False

    def read_range(self, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        with self.speaking("reading", path):
            try:
                file = open_regular(self.file(path))
            except NoFile as e:
                raise ObjectMissing(
                    f"repository {self.name}: {path} is {e.strerror}, not a file"
                ) from None
        with file:
            file.seek(start)
            left = (1 << 63) if end is None else max(0, end - start)
            while left:
                with self.speaking("reading", path):
                    block = file.read(min(BLOCK, left))
                if not block:
                    return
                left -= len(block)
                yield block

    def stat(self, path: str) -> Stat | None:
        with self.speaking("looking at", path):
            try:
                return _stat(path, self.file(path))
            except FileNotFoundError:
                self.same_root()
                return None

    def find(self, folder: str) -> list[Stat]:
        with self.speaking("listing", folder):
            return [there for there in self._walk(folder) if not _is_temporary(there.path)]

    def folders(self, folder: str) -> list[str]:
        with self.speaking("listing", folder):
            try:
                with os.scandir(self.file(folder)) as found:
                    return sorted(there.name for there in found if there.is_dir())
            except (FileNotFoundError, NotADirectoryError):
                self.same_root()
                return []

    def sink(
        self,
        path: str,
        *,
        size_hint: int | None = None,  # noqa: ARG002 -- a disk needs no parts
        replace: bool = False,
        digest: StreamDigest | None = None,  # noqa: ARG002 -- nobody here asks for one
    ) -> Sink:
        with self.speaking("creating", path):
            if not replace and self.file(path).exists():
                raise Conflict(f"repository {self.name}: {path} already exists")
            return _LocalSink(self, path, replace=replace)

    def delete(self, path: str) -> None:
        with self.speaking("deleting", path):
            self.same_root()
            file = self.file(path)
            file.unlink(missing_ok=True)
            for folder in file.parents:
                if folder == self._root:
                    break
                try:
                    folder.rmdir()
                except OSError:
                    break  # not empty, or already gone

    def deletion(self, path: str) -> Deletion:  # noqa: ARG002 - what is gone here is gone
        return Deletion()

    def open_uploads(self, folder: str) -> list[OpenUpload]:
        with self.speaking("listing", folder):
            return [
                OpenUpload(_target(there.path), there.path, there.modified_at)
                for there in self._walk(folder)
                if _is_temporary(there.path)
            ]

    def discard_upload(self, upload: OpenUpload) -> None:
        self.delete(upload.token)

    def signed_url(self, path: str, seconds: int) -> str:  # noqa: ARG002
        raise CannotSign(f"repository {self.name}: a disk has no URL that a server could fetch")

    def free_bytes(self) -> int | None:
        with self.speaking("looking at", ""):
            disk = os.statvfs(self._root)
            return disk.f_bavail * disk.f_frsize

    # for the sink

    def temporary(self, path: str) -> tuple[Path, BinaryIO]:
        """Open a new file beside its target, so that a link or rename never crosses disks."""
        self.same_root()
        target = self.file(path)
        for attempt in range(3):
            self._make_folder(target.parent)
            file = target.parent / f".{target.name}.{secrets.token_hex(4)}"
            try:
                made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:  # a delete just removed the empty folder
                if attempt == 2:
                    raise
            else:
                with suppress(OSError):  # FAT and some mounts have no file modes
                    os.fchmod(made, self._file_mode)
                return file, os.fdopen(made, "wb", buffering=0)
        raise AssertionError("unreachable")

    def _make_folder(self, folder: Path) -> None:
        missing = []
        while not folder.exists():
            missing.append(folder)
            folder = folder.parent
        for new in reversed(missing):
            try:
                new.mkdir(mode=self._folder_mode & 0o777)
            except FileExistsError:
                continue  # another writer was faster
            with suppress(OSError):
                new.chmod(self._folder_mode)
            _sync_folder(new.parent)

    def file(self, path: str) -> Path:
        return self._root / path

    def _walk(self, folder: str) -> Iterator[Stat]:
        self.same_root()
        found: list[str] = []  # names, not `Path`s: a listing has thousands

        def unless_not_ours(error: OSError) -> None:
            closed = str(error.filename or self._root)
            if isinstance(error, PermissionError) and not may_hold_ours(self._path_of(closed)):
                found.append(closed)  # it cannot hold anything of ours
            elif not isinstance(error, FileNotFoundError):
                raise error

        for where, folders, files in os.walk(self.file(folder), onerror=unless_not_ours):
            # a link to a folder is not followed, but must not look like an empty place
            names = (*files, *(f for f in folders if os.path.islink(f"{where}/{f}")))  # noqa: PTH114
            found += (f"{where}/{name}" for name in names)
            folders[:] = [f for f in folders if not is_known(self._path_of(f"{where}/{f}"), 1)]
        for file in sorted(found, key=lambda name: name.split("/")):
            path = self._path_of(file)
            if is_known(path, 1):
                continue
            try:
                yield _stat(path, file)
            except FileNotFoundError:
                continue  # another process removed it meanwhile
            except PermissionError:
                if is_ours(path) or _is_temporary(path):
                    raise
                yield Stat(path, 0, datetime.fromtimestamp(0, UTC))

    def _path_of(self, file: str) -> str:
        return file.removeprefix(str(self._root)).strip("/")

    def _identify(self) -> tuple[int, int]:
        try:
            there = self._root.stat()
        except FileNotFoundError:
            raise RepositoryMissing(
                f"repository {self.name}: the folder {self._root} does not exist"
            ) from None
        return there.st_dev, there.st_ino

    def same_root(self) -> None:
        if self._identify() != self._identity:
            raise RepositoryMissing(
                f"repository {self.name}: a different disk is now mounted at {self._root}"
            )

    @contextmanager
    def speaking(self, doing: str, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            self.same_root()
            raise ObjectMissing(f"repository {self.name}: {path} is not there") from None
        except OSError as e:
            raise translate(e, repository=self.name, doing=f"{doing} {path}") from None


class _LocalSink:
    def __init__(self, store: LocalStore, path: str, *, replace: bool) -> None:
        self._store, self._path, self._replace = store, path, replace
        self._target = store.file(path)
        self._temporary, self._file = store.temporary(path)
        self._unsynced = 0

    def write(self, block: bytes) -> None:
        with self._store.speaking("writing", self._path):
            left = memoryview(block)
            while left:
                left = left[self._file.write(left) :]
            self._unsynced += len(block)
            if self._unsynced >= _SYNC_EVERY:
                os.fdatasync(self._file.fileno())
                self._unsynced = 0

    def commit(self) -> None:
        with self._store.speaking("writing", self._path):
            os.fsync(self._file.fileno())
            self._file.close()
            self._store.same_root()
            if self._replace:
                self._temporary.replace(self._target)
            else:
                self._take_name()
                with suppress(OSError):  # the object exists; a second name for it is harmless
                    self._temporary.unlink(missing_ok=True)
            _sync_folder(self._target.parent)

    def _take_name(self) -> None:
        try:
            take_name(self._temporary, self._target)
        except FileExistsError:
            raise Conflict(
                f"repository {self._store.name}: {self._path} exists with other content"
            ) from None
        except NoSuchRename:
            raise StoreOverwrites(
                f"repository {self._store.name}: the file system at {self._store.file('')} has "
                "neither hard links nor a rename that refuses an existing name, so it cannot "
                "refuse to overwrite",
                "use another file system (ext4, xfs, btrfs, zfs, NFS) or an object storage; an SMB "
                "or FUSE mount may have an option for hard links (see docs/stores.md).",
            ) from None

    def abort(self) -> None:
        with suppress(OSError):  # a sweep finds what cannot be removed now
            self._file.close()
            self._temporary.unlink(missing_ok=True)


def _is_temporary(path: str) -> bool:
    return _TEMPORARY.fullmatch(path.rpartition("/")[2]) is not None


def _target(temporary: str) -> str:
    """Return the target of a temporary name: `a/b.snapshot` for `a/.b.snapshot.1f2e3d4c`."""
    folder, _, name = temporary.rpartition("/")
    return f"{folder}/{name[1:].rpartition('.')[0]}"


def _stat(path: str, file: Path | str) -> Stat:
    try:
        there = os.stat(file)  # noqa: PTH116 -- a name or a `Path`
    except OSError as e:
        if e.errno != errno.ELOOP:
            raise
        there = os.lstat(file)  # a link to itself: it is there, and nobody can read it
    return Stat(path, there.st_size, datetime.fromtimestamp(there.st_mtime, UTC))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
