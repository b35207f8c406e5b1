"""What a restore has done so far, in a file that outlives a kill: one per target and name.

A restore writes down what it is about to make before it makes it. Whoever comes next then knows
that a half-made collection is ours, and which parts need not be sent again.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from qdrant_dr.disk import own_folder, read_regular
from qdrant_dr.errors import PlanRefused, RecordError, StorageFull
from qdrant_dr.jobs.run.locked_journal import drop, locked, write_durably
from qdrant_dr.jobs.run.scratch_dir import JOURNALS, SETTING, own_spool
from qdrant_dr.records import Record
from qdrant_dr.records.base import LARGEST, Time, later


class Journal(Record):
    """`created`: the collection was not there before, this restore makes it. `recovered` are the
    pieces that the target confirmed, `uploads` files that may lie in its snapshot folder, `route`
    how the pieces are cut. `complete`: the target has all of them; from then on none of us removes
    it. `differs`: what was found of it then, and none of us goes on. `proven`: so many points were
    compared and found equal, only aliases were left to set; `operations` are the numbers that its
    replicas had then. `asked`: the target was told to create it, which may take effect later than
    it answers. `vectors` and `holds`, the points of each shard, tell what is half-made from
    what somebody else has made."""

    KIND: ClassVar[str] = "restore-journal"

    restore_id: str
    target: str
    name: str
    backup: str
    route: str
    began_at: Time
    created: bool = False
    recovered: tuple[str, ...] = ()
    uploads: tuple[str, ...] = ()
    proven: int | None = None
    operations: dict[str, int | None] = later({})
    asked: bool = later(False)
    vectors: str = later("")
    holds: dict[str, int] = later({})
    complete: bool = later(False)
    differs: str = later("")

    @property
    def whole(self) -> bool:
        """Say whether all of it is on the target, equal or not: then it is like any other
        collection."""
        return self.complete or self.proven is not None


@dataclass(slots=True)
class OpenJournal:
    """The journal of a restore at work: nobody else has it. `found` is what lay there before."""

    path: Path
    found: Journal | None
    now: Journal | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, journal: Journal) -> None:
        """Say what is about to be made, before it is."""
        with self._lock:
            self._write(journal)

    def note(self, *, recovered: str = "", upload: str = "", asked: bool = False) -> None:
        """Write down one more thing; from any thread."""
        with self._lock:
            assert self.now is not None
            changes = {
                "asked": self.now.asked or asked,
                "recovered": (*self.now.recovered, *filter(None, [recovered])),
                "uploads": (*self.now.uploads, *filter(None, [upload])),
            }
            self._write(self.now.model_copy(update=changes))

    def complete(self) -> None:
        """Write down that the target has every piece."""
        self._change(complete=True)

    def differ(self, what: str) -> None:
        """Write down what was found of a collection that is there in whole."""
        self._change(differs=what)

    def prove(self, points: int, operations: Mapping[str, int | None]) -> None:
        """Write down that the content was compared and is equal."""
        self._change(proven=points, operations=dict(operations))

    def _change(self, **changes: object) -> None:
        with self._lock:
            assert self.now is not None
            self._write(self.now.model_copy(update=changes))

    @property
    def recovered(self) -> tuple[str, ...]:
        """Return the pieces that need not be sent again."""
        return self.now.recovered if self.now else ()

    def drop(self) -> None:
        """Remove the journal: nothing is left to continue."""
        drop(self.path)
        self.now = None

    def _write(self, journal: Journal) -> None:
        """Durably, and in one step. Raise StorageFull; what is true stays known to this process."""
        self.now = journal
        write_durably(self.path, journal.to_bytes())


def unfinished(spool: str | Path, target: str, name: str) -> Journal | None:
    """Return the journal of a restore that did not end, whether it is at work or dead.

    Raise PlanRefused if it cannot be read: nobody knows then what is ours there. FolderUnsafe if
    others may write there: what it says is then no word of ours.
    """
    path = _path(spool, target, name)
    try:
        if path.parent.exists():
            own_folder(path.parent, SETTING)
        return Journal.from_bytes(read_regular(path, LARGEST, follow=False), where=str(path))
    except FileNotFoundError:
        return None
    except (RecordError, OSError) as e:
        why = e.message if isinstance(e, RecordError) else f"{path}: {e.strerror}"
        raise PlanRefused(
            f"the journal of an earlier restore into {name!r} cannot be read: {why}",
            f"look at {name!r} on {target}; delete it if it is half-made, and {path}.",
        ) from None


@contextmanager
def journal_of(spool: str | Path, target: str, name: str) -> Iterator[OpenJournal]:
    """Lock and yield the journal for one target and name; the kernel drops the lock with its
    process.

    Raise PlanRefused if another restore is at work there, or if what lies there cannot be read;
    StorageFull if the spool cannot be written, FolderUnsafe if others may write there.
    """
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
            f"another restore into {name!r} on {target} is at work on this machine",
            "wait for its end.",
        )
    try:
        yield OpenJournal(path, unfinished(spool, target, name))
    finally:
        if not path.exists():
            Path(lock.name).unlink(missing_ok=True)
        lock.close()


def _path(spool: str | Path, target: str, name: str) -> Path:
    digest = hashlib.sha256(f"{target.rstrip('/')}\n{name}".encode()).hexdigest()[:16]
    return Path(spool).expanduser() / JOURNALS / f"{digest}.json"
