"""What the ledgers of the repositories say: their heads, signatures, breaks and witnesses. Pure.

This is what a report shows of them; `evidence verify` checks every record that an entry names.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final, Literal

from qdrant_dr import layout
from qdrant_dr.errors import DRError, SignatureInvalid
from qdrant_dr.evidence.earliest import CLOCKS, Earliest
from qdrant_dr.records import LedgerEntry
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.ledger_read import LedgerRead, ReadEntry
from qdrant_dr.signing import sshsig
from qdrant_dr.signing.allowed_signers import LEDGER, AllowedSigner, find

State = Literal["unreadable", "none", "broken", "unsigned", "unknown", "signed"]
LEDGER_STATES: Final[tuple[State, ...]] = (
    "unreadable", "none", "broken", "unsigned", "unknown", "signed",
)  # fmt: skip


@dataclass(frozen=True)
class Anchor:
    """An entry that an entry of another repository names."""

    number: int
    sha256: str
    repository: str
    by: LedgerEntry


@dataclass(frozen=True)
class Signed:
    """A good signature of an entry: the name of who made it, if the key is an allowed one then."""

    fingerprint: str
    name: str | None

    @property
    def words(self) -> str:
        return self.name or f"{self.fingerprint} (not an allowed signer)"


@dataclass(frozen=True)
class LedgerState:
    """The ledger of one repository. `entries` are those that were read, oldest first; `signed` has,
    for each, its own good signature. A later one fixes the bytes of those before it, and does not
    vouch for one that nobody signed: somebody without a key may have put that there. `anchor` is
    the newest entry that another ledger saw as it is here."""

    repository: str
    error: DRError | None
    first: ReadEntry | None
    entries: tuple[ReadEntry, ...]
    signed: tuple[Signed | None, ...]
    breaks: tuple[str, ...]
    anchor: Anchor | None

    @property
    def head(self) -> ReadEntry | None:
        return self.entries[-1] if self.entries else None

    @property
    def unsigned_tail(self) -> int:
        """Return how many of the last entries have no signature."""
        return next((n for n, s in enumerate(reversed(self.signed)) if s), len(self.signed))

    @property
    def unsigned_between(self) -> int:
        """Return how many entries after the first signed one, and before the last, have none."""
        first = next((n for n, s in enumerate(self.signed) if s), len(self.signed))
        return self.signed[first : len(self.signed) - self.unsigned_tail].count(None)

    @property
    def signers(self) -> tuple[str, ...]:
        return tuple(sorted({s.words for s in self.signed if s is not None}))

    @property
    def timestamped(self) -> int | None:
        """Return the number of the newest entry with a token."""
        return max((e.entry.number for e in self.entries if e.stamped), default=None)

    @property
    def state(self) -> State:
        if self.error is not None:
            return "unreadable"
        if self.breaks:
            return "broken"
        if not self.entries:
            return "none"
        if self.unsigned_tail or self.unsigned_between:
            return "unsigned"
        return "unknown" if any(s and s.name is None for s in self.signed) else "signed"


@dataclass(frozen=True)
class InLedgers:
    """The entries that name the end of one run, by repository, and who signed them."""

    numbers: tuple[tuple[str, int], ...]
    signers: tuple[str, ...]


def ledger_states(evidence: Evidence, reads: Sequence[LedgerRead]) -> tuple[LedgerState, ...]:
    """Judge each of the ledgers that were read, in their order."""
    return tuple(_state(read, reads, evidence) for read in reads)


def named_in(states: Sequence[LedgerState], evidence: Evidence) -> dict[str, InLedgers]:
    """Return, by run id, the entries that name its end with the digest that it has here."""
    digests = {e.start.run_id: e.sha256 for e in evidence.run_ends}
    numbers: dict[str, list[tuple[str, int]]] = {}
    signers: dict[str, set[str]] = {}
    for state in states:
        for read, signed in zip(state.entries, state.signed, strict=True):
            for run_id in _ends_in(read.entry, digests):
                numbers.setdefault(run_id, []).append((state.repository, read.entry.number))
                if signed is not None and _vouched(read.entry, run_id):
                    signers.setdefault(run_id, set()).add(signed.words)
    return {
        run_id: InLedgers(tuple(named), tuple(sorted(signers.get(run_id, ()))))
        for run_id, named in numbers.items()
    }


def _ends_in(entry: LedgerEntry, digests: dict[str, str]) -> Iterator[str]:
    for written in (*entry.records, *entry.found):
        run_id = written.path.rpartition("/")[2].removesuffix(".end.json")
        if layout.run_of(written.path) and digests.get(run_id) == written.sha256:
            yield run_id


def _vouched(entry: LedgerEntry, run_id: str) -> bool:
    """Whether the signer of an entry says that this run was theirs: what was merely found there,
    anybody may have put there."""
    return run_id in entry.crashed or any(
        layout.run_of(w.path) and f"/{run_id}." in w.path for w in entry.records
    )


def _state(read: LedgerRead, reads: Sequence[LedgerRead], evidence: Evidence) -> LedgerState:
    if read.error is not None:  # what nobody could read is not broken
        return LedgerState(read.repository, read.error, None, (), (), (), None)
    entries = _until(read.entries, evidence.as_of)
    others = [r for r in reads if r.repository != read.repository]
    anchors = sorted(
        _anchors(read, others, evidence), key=lambda a: (a.number, a.by.at, a.repository)
    )
    earliest = Earliest()
    signed = [
        _signature(e, evidence.signers, earliest.time(e.entry.at, e.entry.previous_stored_at))
        for e in entries
    ]
    here = {e.entry.number: e.entry.sha256 for e in read.entries}
    agreed = [a for a in anchors if here.get(a.number) == a.sha256]
    breaks = [
        *(f"{u.path}: {u.error.message}" for u in read.unreadable),
        *_lost_beginning(read, entries),
        *_chain_breaks(entries),
        *_strange_head(read, entries),
        *(f"the signature of entry {e.entry.number}: {s.message}"
          for e, s in zip(entries, signed, strict=True) if isinstance(s, SignatureInvalid)),
        *_anchor_breaks(read.entries, anchors),
        *_lost_ends(entries, evidence),
    ]  # fmt: skip
    return LedgerState(
        read.repository,
        None,
        read.first,
        entries,
        tuple(None if isinstance(s, SignatureInvalid) else s for s in signed),
        tuple(dict.fromkeys(breaks)),
        agreed[-1] if agreed else None,
    )


def _until(entries: Sequence[ReadEntry], as_of: datetime) -> tuple[ReadEntry, ...]:
    """Take all up to the last one of then: the clocks of two machines differ, and an entry between
    others is not left out for that."""
    length = max((n for n, e in enumerate(entries, 1) if e.entry.at <= as_of), default=0)
    return tuple(entries[:length])


def _lost_beginning(read: LedgerRead, entries: Sequence[ReadEntry]) -> Iterator[str]:
    """Find that the first entry is gone, and that no entry says so."""
    if entries and read.first is None and not any(e.entry.cut for e in entries):
        yield "entry 1 is not there, and none of the entries read says that it was cut off"


def _chain_breaks(entries: Sequence[ReadEntry]) -> Iterator[str]:
    """Find numbers that are not there, and entries that do not name the one before."""
    for before, after in pairwise(entries):
        if after.entry.number != before.entry.number + 1:
            yield f"entries {before.entry.number + 1} to {after.entry.number - 1} are not there"
        elif after.entry.previous != before.entry.sha256:
            yield f"entry {after.entry.number} does not follow entry {before.entry.number} as it is"


def _strange_head(read: LedgerRead, entries: Sequence[ReadEntry]) -> Iterator[str]:
    known = (read.repository_id, *read.former_ids)
    if entries and (owner := entries[-1].entry.repository_id) not in known:
        yield f"its last entry is of repository {owner}, not of {read.repository_id}"


def _anchors(
    read: LedgerRead, others: Iterable[LedgerRead], evidence: Evidence
) -> Iterator[Anchor]:
    for other in others:
        for by in (e.entry for e in other.entries if e.entry.at <= evidence.as_of):
            for head in by.heads:
                if head.repository_id == read.repository_id:
                    yield Anchor(head.number, head.sha256, other.repository, by)


def _anchor_breaks(entries: Sequence[ReadEntry], anchors: Sequence[Anchor]) -> Iterator[str]:
    """Find what other repositories saw here, and is not so any more: `entries` are all that are
    there, as the clock of the one who looked may be behind."""
    known = {e.entry.number: e.entry for e in entries}
    last = entries[-1].entry.number if entries else 0
    for anchor in anchors:
        entry = known.get(anchor.number)
        if anchor.number > last:
            yield f"{anchor.repository} saw entry {anchor.number}, and the last one here is {last}"
        elif entry is not None and entry.sha256 != anchor.sha256:
            yield f"{anchor.repository} saw another entry {anchor.number}"


def _lost_ends(entries: Sequence[ReadEntry], evidence: Evidence) -> Iterator[str]:
    """Find ends of runs that an entry names and no repository has, or not as they were named: a
    drill that failed may have been taken away everywhere. Those of the last minutes are left out:
    records are read before ledgers, and clocks differ."""
    known = {e.start.run_id: e.sha256 for e in evidence.run_ends}
    unreadable = {u.path for u in evidence.unreadable}
    for entry in (e.entry for e in entries if e.entry.at <= evidence.as_of - CLOCKS):
        if entry.cluster != evidence.config.cluster.name:
            continue
        for written in entry.records:
            run = layout.run_of(written.path)
            if run is None or not written.path.endswith(".end.json") or run[1] < evidence.since:
                continue
            run_id = written.path.rpartition("/")[2].removesuffix(".end.json")
            if known.get(run_id) != written.sha256 and written.path not in unreadable:
                is_there = "is not as it was" if run_id in known else "is in no repository"
                yield f"the end of run {run_id}, which entry {entry.number} names, {is_there}"


def _signature(
    read: ReadEntry, signers: Sequence[AllowedSigner], at: datetime
) -> Signed | SignatureInvalid | None:
    if read.signature is None:
        return None
    try:
        key = sshsig.verify(read.entry.to_bytes(), read.signature, LEDGER)
    except SignatureInvalid as e:
        return e
    try:
        return Signed(key.fingerprint, find(signers, key, LEDGER, at).principals)
    except SignatureInvalid:
        return Signed(key.fingerprint, None)
