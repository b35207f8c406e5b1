"""What the entries name: every record once, with its hash, its size and the entry that named it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import zip_longest

from qdrant_dr import layout
from qdrant_dr.evidence.check import Check, Examples
from qdrant_dr.evidence.ledger_reader import Line
from qdrant_dr.records.ledger import LedgerEntry, Since, Written
from qdrant_dr.text import count

LATE = timedelta(days=2)
"""No run is so long: a record that claims to be older than the entry before by more than this was
written afterwards, or lay there unseen."""
_CLAIMS = (layout.BACKUPS, layout.PROOFS, layout.RUNS, layout.EXPIRED)
"""Folders of records that say what was kept, proven, done or let go."""
_OF_RUNS = (layout.RUNS, layout.EXPIRED)
"""Folders of records that are named after their run."""
_DATED = (layout.RUNS, layout.PROOFS, layout.HOLDS, layout.EXPIRED)
"""Folders of records whose names tell when they were made, here and not elsewhere."""


@dataclass(frozen=True, slots=True)
class Named:
    """What an entry says of a record."""

    sha256: bytes
    size_bytes: int
    number: int


@dataclass(slots=True)
class Names:
    """All that the entries name, and what is odd about how they do."""

    records: dict[str, Named] = field(default_factory=dict)
    """Those that are to be there, as the last entry names them."""
    removed: dict[str, Named] = field(default_factory=dict)
    """Those that a run removed, and that no later entry names again, as they were."""
    since: Since | None = None
    """What lay there before the first entry."""
    first: frozenset[str] = frozenset()
    """The paths that the first entry names itself."""
    older_removed: dict[str, int | None] = field(default_factory=dict)
    """Records that a run removed, and that no entry had named; their sizes, if it says."""
    _twice: Examples = field(default_factory=Examples)
    _late: Examples = field(default_factory=Examples)
    _unexplained: Examples = field(default_factory=Examples)
    _before: datetime | None = None
    _expired: dict[str, int] = field(default_factory=dict)
    """Folders of backups, each with the last entry that names why that one was to go."""

    def add(self, line: Line) -> None:
        """Take what the next entry names."""
        entry = line.entry
        if entry is None:
            return
        for path, size in zip_longest(entry.removed, entry.removed_sizes):
            if (was := self.records.pop(path, None)) is not None:
                self.removed[path] = was
            elif path not in self.removed:
                self.older_removed.setdefault(path, size)
        if entry.since is not None:
            self.since, self.first = entry.since, frozenset(w.path for w in entry.records)
        for written, found in _each(entry):
            self._take(entry, written, found=found)
        self._before = entry.at

    def _take(self, entry: LedgerEntry, written: Written, *, found: bool) -> None:
        path, number = written.path, entry.number
        named = Named(bytes.fromhex(written.sha256), written.size_bytes, number)
        before = self.records.get(path)
        if before is not None and before.sha256 != named.sha256 and not self._anew(path, before):
            self._twice.add(f"{path} has one hash in entry {before.number}, another in {number}")
            return
        self.records[path] = named
        self.removed.pop(path, None)
        if path.startswith(f"{layout.EXPIRED}/") and (of := layout.read_backup_path(path)):
            self._expired[of.folder] = number
        if before is None or before.sha256 != named.sha256:
            self._judge_new(entry, path, found=found)

    def _anew(self, path: str, before: Named) -> bool:
        """Whether this may be another record: of a repository that was adopted, or of a copy that
        was to go, and was brought back."""
        if path == layout.REPOSITORY:
            return True
        taken = layout.read_backup_path(path) if path.startswith(f"{layout.BACKUPS}/") else None
        return taken is not None and self._expired.get(taken.folder, 0) >= before.number

    def _judge_new(self, entry: LedgerEntry, path: str, *, found: bool) -> None:
        number = entry.number
        if found and number > 1 and not is_explained(path, entry.crashed):
            self._unexplained.add(f"{path}, found by entry {number}")
        made = made_at(path)
        if made is not None and self._before is not None and made < self._before - LATE:
            how = "found" if found else "named"
            self._late.add(
                f"{path}, {how} by entry {number}, claims {made:%Y-%m-%d %H:%M} UTC, and "
                f"the entry before it of {self._before:%Y-%m-%d %H:%M} UTC did not name it"
            )

    def late(self) -> Check:
        """Say which records turned up long after the time that they claim."""
        if self._twice:
            return Check("insertions", "failed", str(self._twice), _WHO)
        if self._late:
            return Check(
                "insertions",
                "doubt",
                f"{count(self._late.count, 'record')} much older than the entry before: "
                f"{self._late}",
                "by hand: had a run died, or a machine been away, at that time? Else it was put "
                "there afterwards: do not rely on what it says.",
            )
        if self._unexplained:
            return Check(
                "insertions",
                "doubt",
                f"{count(self._unexplained.count, 'record')} that no run wrote into the ledger, "
                "and whoever found them knew of no such run that had died: "
                f"{self._unexplained}",
                "by hand: had a run died on another machine, or without its spool? Else it was "
                "put there by somebody else: do not rely on what it says.",
            )
        return Check("insertions", "ok", "no record turned up long after the time it claims")


_WHO = "by hand: find out who wrote there: an older copy or version of the bucket tells which."


def is_explained(path: str, crashed: Sequence[str]) -> bool:
    """Say whether a record that no run named may be of one of those that had died. Signing what was
    found vouches for nobody: else a forged record would be well on the next day."""
    top, _, below = path.partition("/")
    if top not in _CLAIMS:
        return True
    if top in _OF_RUNS:
        return below.rpartition("/")[2].partition(".")[0] in crashed
    return bool(crashed)


def made_at(path: str) -> datetime | None:
    """The time that a record's name claims; None where it may have come from another repository."""
    top, _, below = path.partition("/")
    if top not in _DATED:
        return None
    return layout.time_if_id(below.rpartition("/")[2].partition(".")[0])


def _each(entry: LedgerEntry) -> Iterator[tuple[Written, bool]]:
    yield from ((w, False) for w in entry.records)
    yield from ((w, True) for w in entry.found)
