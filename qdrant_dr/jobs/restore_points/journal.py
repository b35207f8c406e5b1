"""Which restore of points into a collection is under way, in a file that outlives a kill.

It is written when the undo record is complete, before the first point is, and dropped at the end:
whoever finds it knows that some points may be written, and where their former state is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from qdrant_dr.disk import own_folder, read_regular
from qdrant_dr.errors import PlanRefused, RecordError, StorageFull
from qdrant_dr.jobs.run.locked_journal import drop, locked, write_durably
from qdrant_dr.jobs.run.scratch_dir import JOURNALS, SETTING, own_spool
from qdrant_dr.records import Record
from qdrant_dr.records.base import LARGEST, Time


class PointsJournal(Record):
    """`undo_id` is the run whose undo record has the former state, `asked` what it was to do."""

    KIND: ClassVar[str] = "restore-points-journal"

    undo_id: str
    target: str
    name: str
    asked: str
    began_at: Time


@dataclass(slots=True)
class OpenPointsJournal:
    """The journal of a restore of points at work: nobody else has it. `found` lay there before."""

    path: Path
    found: PointsJournal | None

    def begin(self, journal: PointsJournal) -> None:
        """Say that from now on points may be written."""
        write_durably(self.path, journal.to_bytes())

    def drop(self) -> None:
        """Remove it: nothing is left to continue."""
        drop(self.path)


def unfinished_points(spool: str | Path, target: str, name: str) -> PointsJournal | None:
    """Return the journal of a restore of points that did not end. Raise PlanRefused if it cannot
    be read, FolderUnsafe if others may write there."""
    path = _path(spool, target, name)
    try:
        if path.parent.exists():
            own_folder(path.parent, SETTING)
        return PointsJournal.from_bytes(read_regular(path, LARGEST, follow=False), where=str(path))
    except FileNotFoundError:
        return None
    except (RecordError, OSError) as e:
        why = e.message if isinstance(e, RecordError) else f"{path}: {e.strerror}"
        raise PlanRefused(
            f"the journal of an earlier restore of points into {name!r} cannot be read: {why}",
            f"`qdrant-dr restore --undo RUN` takes it back by its run id; then delete {path}.",
        ) from None


@contextmanager
def points_journal(spool: str | Path, target: str, name: str) -> Iterator[OpenPointsJournal]:
    """Lock and yield the journal for one target and name. Raise PlanRefused if another restore of
    points is at work there, StorageFull if the spool cannot be written, FolderUnsafe."""
    own_spool(spool)
    path = _path(spool, target, name)
    try:
        own_folder(path.parent, SETTING)
        lock = locked(path.with_suffix(".lock"))
    except OSError as e:
        raise StorageFull(
            f"no journal can be kept at {path.parent}: {e.strerror}", "set `capture.spool.path`."
        ) from None
    if lock is None:
        raise PlanRefused(
            f"another restore of points into {name!r} on {target} is at work on this machine",
            "wait for its end.",
        )
    try:
        yield OpenPointsJournal(path, unfinished_points(spool, target, name))
    finally:
        if not path.exists():
            Path(lock.name).unlink(missing_ok=True)
        lock.close()


def _path(spool: str | Path, target: str, name: str) -> Path:
    digest = hashlib.sha256(f"points\n{target.rstrip('/')}\n{name}".encode()).hexdigest()[:16]
    return Path(spool).expanduser() / JOURNALS / f"{digest}.json"
