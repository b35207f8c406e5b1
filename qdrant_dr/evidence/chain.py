"""Whether the entries of a ledger hang together: dense numbers, each with the hash of the last.

Pure: it is fed with lines in order, and remembers little of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from qdrant_dr.evidence.check import Check, Examples
from qdrant_dr.evidence.ledger_reader import Line
from qdrant_dr.records import Location
from qdrant_dr.records.ledger import FIRST
from qdrant_dr.text import count

BRING = (
    "by hand: compare with an older copy or version of the bucket: who could write there, and when?"
)


@dataclass(frozen=True, slots=True)
class Link:
    """What is remembered of one entry for the checks that look at all of them."""

    number: int
    sha256: str
    at: datetime
    previous_stored_at: datetime | None
    adopted: bool = False


@dataclass(slots=True)
class Chain:
    """The chain so far."""

    links: list[Link] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    """Entries of a newer version: chained by their hash, and not understood."""
    repository_id: str | None = None
    location: Location | None = None
    hashes: dict[int, str] = field(default_factory=dict)
    """Of every entry that is there, believed or not."""
    adopted: list[tuple[str, int]] = field(default_factory=list)
    """Ids that this repository had before, each with the entry from which on it had the next."""
    _problems: Examples = field(default_factory=Examples)
    _gaps: Examples = field(default_factory=Examples)
    _missing: int = 0
    _last: tuple[int, str] = (0, FIRST)
    _begins: tuple[int, str | None] | None = None
    _cuts: set[tuple[int, str]] = field(default_factory=set)

    def add(self, line: Line) -> None:
        """Take the next entry that is there."""
        number, sha256 = self._last
        if not number and line.number > 1:
            self._begins = (line.number, line.previous)
        elif line.number != number + 1:
            self._gap(number + 1, line.number - 1)
        elif line.previous is not None and line.previous != sha256:
            self._problems.add(
                f"entry {line.number} does not name the bytes of entry {number}"
                if number
                else "entry 1 names an entry before it"
            )
        self._last = (line.number, line.sha256)
        self.hashes[line.number] = line.sha256
        if line.entry is None:
            self._strange(line)
            return
        self._told(line)

    def _gap(self, first: int, last: int) -> None:
        self._missing += last - first + 1
        self._gaps.add(f"entry {first}" if first == last else f"entries {first} to {last}")

    def _strange(self, line: Line) -> None:
        if line.previous is not None:
            self.unknown.append(line.number)
        else:
            self._problems.add(f"entry {line.number} cannot be believed: {line.error_words}")

    def _told(self, line: Line) -> None:
        entry = line.entry
        assert entry is not None
        if entry.number != line.number:
            self._problems.add(f"{line.path} says that it is entry {entry.number}")
        adopted = False
        if self.repository_id is not None and self.repository_id != entry.repository_id:
            if adopted := entry.adopted_from == self.repository_id:
                self.adopted.append((self.repository_id, line.number))
            else:
                self._problems.add(
                    f"entry {line.number} is of repository {entry.repository_id}, those before it "
                    f"of {self.repository_id}"
                )
        self.repository_id, self.location = entry.repository_id, entry.location
        if entry.cut is not None:
            self._cuts.add((entry.cut.first_kept, entry.cut.previous))
        self.links.append(
            Link(line.number, line.sha256, entry.at, entry.previous_stored_at, adopted)
        )

    @property
    def head(self) -> tuple[int, str] | None:
        """Number and hash of the last entry that is there."""
        return self._last if self._last[0] else None

    @property
    def first(self) -> int:
        """The number of the first entry that is there."""
        return self._begins[0] if self._begins else 1

    @property
    def kept_from(self) -> int:
        """The first entry that is to be there: those before it were cut off on record."""
        return self.first if self._begins in self._cuts else 1

    def check(self) -> Check:
        """Say whether the chain is whole."""
        if self.head is None:
            return Check(
                "chain",
                "failed",
                "no ledger: nothing says what was written here, when and by whom",
                "run `qdrant-dr signing init`, then `qdrant-dr backup`: entries begin with the "
                "next run. If there were some before, they were deleted: look for an older copy.",
            )
        if self._begins is not None and self.kept_from == 1:
            self._gap(1, self._begins[0] - 1)
        number, sha256 = self.head
        words = []
        if self._missing:
            words.append(f"{count(self._missing, 'entry')} missing: {self._gaps}")
        if self._problems:
            words.append(str(self._problems))
        if words:
            return Check("chain", "failed", "; ".join(words), BRING)
        whole = f"{count(number - self.first + 1, 'entry')}, whole; head {number}:{sha256}"
        if self._begins is not None:
            whole = f"begins at entry {self.first} by a cut that is on record; {whole}"
        if self.adopted:
            whole += f"; until entry {self.adopted[-1][1] - 1} of repository {self.adopted[-1][0]}"
        if self.unknown:
            return Check(
                "chain",
                "doubt",
                f"{whole}; {count(len(self.unknown), 'entry')} of a newer version, the first is "
                f"{self.unknown[0]}: chained, and not understood",
                "by hand: `pip install --upgrade qdrant-dr`, then verify again.",
            )
        return Check("chain", "ok", whole)
