"""What the entries name: every record once, with its hash, its size and the entry that named it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

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
    removed: dict[str, int] = field(default_factory=dict)
    """Paths that runs removed, each with the last entry that says so."""
    since: Since | None = None
    """What lay there before the first entry."""
    _twice: Examples = field(default_factory=Examples)
    _late: Examples = field(default_factory=Examples)
    _unexplained: Examples = field(default_factory=Examples)
    _before: datetime | None = None

    def add(self, line: Line) -> None:
        """Take what the next entry names."""
        entry = line.entry
        if entry is None:
            return
        self.removed.update(dict.fromkeys(entry.removed, entry.number))
        self.since = entry.since or self.since
        for written, found in _each(entry):
            self._take(entry.number, written, found=found)
            if found and entry.number > 1 and not is_explained(written.path, entry.crashed):
                self._unexplained.add(f"{written.path}, found by entry {entry.number}")
        self._before = entry.at

    def _take(self, number: int, written: Written, *, found: bool) -> None:
        named = Named(bytes.fromhex(written.sha256), written.size_bytes, number)
        if written.path == layout.REPOSITORY:  # written anew when a copy is adopted
            self.records[written.path] = named
        before = self.records.setdefault(written.path, named)
        if before.sha256 != named.sha256:
            self._twice.add(
                f"{written.path} has one hash in entry {before.number}, another in {number}"
            )
        made = made_at(written.path)
        if made is not None and self._before is not None and made < self._before - LATE:
            how = "found" if found else "named"
            self._late.add(
                f"{written.path}, {how} by entry {number}, claims {made:%Y-%m-%d %H:%M} UTC, and "
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
