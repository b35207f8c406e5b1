"""This machine's own memory of the create calls that it made, and of what was answered.

Records in a bucket are not enough to delete by: whoever may write there could order us to delete
anybody's snapshot. What lies here was written by us, below the spool, for nobody else to write to.
An entry is forgotten once the node says that nothing of its call is there.
"""

from __future__ import annotations

import logging
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from qdrant_dr.errors import RecordError
from qdrant_dr.records import Intent, Record, SnapshotAnswer

log = logging.getLogger(__name__)

FOLDER = "calls"
_FILE = re.compile(r"^(\d{8}T\d{6}Z-[0-9a-f]{6})\.([1-9]\d{0,5})\.intent\.json$")
_MOST = 2**24
"""Bytes of one entry; what is larger is none of ours."""

R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True)
class Call:
    """One entry: the records as they went to the repositories. `written_at` is the disk's time."""

    number: int
    intent: Intent
    answer: SnapshotAnswer | None
    written_at: datetime


class CallJournal:
    """Safe to use from several threads and processes: a call has files of its own.

    One that cannot be written is told in the log, and a capture goes on: what it leaves is then
    reported by the next run instead of deleted.
    """

    def __init__(self, spool: str | Path) -> None:
        self._folder = Path(spool).expanduser() / FOLDER

    def intend(self, number: int, intent: Intent) -> None:
        """Say what is about to be created, before it is."""
        self._write(_intent_file(intent.backup_id, number), intent)

    def answered(self, number: int, answer: SnapshotAnswer) -> None:
        """Keep what the server answered to that call."""
        self._write(_answer_file(answer.backup_id, number), answer)

    def forget(self, backup_id: str, number: int) -> None:
        """Forget a call of which nothing is left on the node."""
        with suppress(OSError):
            (self._folder / _answer_file(backup_id, number)).unlink(missing_ok=True)
            (self._folder / _intent_file(backup_id, number)).unlink(missing_ok=True)
            self._folder.rmdir()  # if it was the last

    def calls(self) -> tuple[Call, ...]:
        """Return every entry that can be believed, oldest first."""
        return tuple(self._calls())

    def knows(self, number: int, intent: Intent, answer: SnapshotAnswer | None) -> bool:
        """Say whether this machine wrote these very records."""
        if not self._ours():
            return False
        mine = self._read(Intent, _intent_file(intent.backup_id, number))
        if mine is None or mine[0].to_bytes() != intent.to_bytes():
            return False
        if answer is None:
            return True
        said = self._read(SnapshotAnswer, _answer_file(intent.backup_id, number))
        return said is not None and said[0].to_bytes() == answer.to_bytes()

    def _calls(self) -> Iterator[Call]:
        if not self._ours():
            return
        try:
            names = sorted(path.name for path in self._folder.iterdir())
        except OSError as e:
            log.warning("%s cannot be listed: %s", self._folder, e.strerror)
            return
        for name in names:
            if (match := _FILE.match(name)) and (found := self._read(Intent, name)) is not None:
                intent, written_at = found
                answer = self._read(SnapshotAnswer, _answer_file(match[1], int(match[2])))
                if intent.backup_id == match[1]:
                    yield Call(int(match[2]), intent, answer[0] if answer else None, written_at)

    def _ours(self) -> bool:
        """Whether the folder is there, and nobody but us can write to it."""
        try:
            there = self._folder.lstat()
        except OSError:
            return False
        alone = stat.S_ISDIR(there.st_mode) and _alone(there)
        if not alone:
            log.warning("%s is not believed: it is not ours alone", self._folder)
        return alone

    def _read(self, kind: type[R], name: str) -> tuple[R, datetime] | None:
        """A record and when it was written; None if it is not there or not to be believed."""
        try:
            file = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        with os.fdopen(file, "rb") as source:
            there = os.fstat(source.fileno())
            if not stat.S_ISREG(there.st_mode) or not _alone(there) or there.st_size > _MOST:
                log.warning("%s is not believed: it is not ours alone", self._folder / name)
                return None
            try:
                record = kind.from_bytes(source.read(), where=str(self._folder / name))
            except (RecordError, OSError) as e:
                log.warning("%s is not believed: %s", self._folder / name, e)
                return None
        return record, datetime.fromtimestamp(there.st_mtime, UTC)

    def _write(self, name: str, record: Record) -> None:
        """Durably, and in one step."""
        new = self._folder / f".{name}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        try:
            while True:
                self._folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                with suppress(FileExistsError):
                    self._folder.mkdir(mode=0o700)
                if not self._ours():
                    if not os.path.lexists(self._folder):
                        continue  # another capture forgot its last call in between
                    return
                try:
                    new.unlink(missing_ok=True)
                    file = os.open(new, flags, 0o600)
                    break
                except FileNotFoundError:
                    continue
            with os.fdopen(file, "wb") as out:
                out.write(record.to_bytes())
                out.flush()
                os.fsync(out.fileno())
            new.rename(self._folder / name)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as e:
            log.warning("no journal of create calls at %s: %s", self._folder, e.strerror)


def _alone(there: os.stat_result) -> bool:
    return there.st_uid == os.getuid() and not there.st_mode & 0o022


def _intent_file(backup_id: str, number: int) -> str:
    return f"{backup_id}.{number}.intent.json"


def _answer_file(backup_id: str, number: int) -> str:
    return f"{backup_id}.{number}.snapshot.json"
