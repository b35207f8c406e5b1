"""The records that entries name, read and compared; and those that lie there and none names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from qdrant_dr import layout
from qdrant_dr.errors import DRError, RecordError, RecordUnknown
from qdrant_dr.evidence.check import Check, Examples, some
from qdrant_dr.evidence.ledger_reader import Reader, in_batches, read_or_error
from qdrant_dr.evidence.named import Named, Names, made_at
from qdrant_dr.evidence.older_records import judge_older
from qdrant_dr.records import Expired
from qdrant_dr.records.base import parse_canonical
from qdrant_dr.text import count

BOX = b"QDRBOX"
"""How a record begins that lies in a box; ciphers are not needed to see it."""
RUNS_LAST = timedelta(hours=12)
"""A record that began so long before the last entry may be of a run that still goes on."""


@dataclass(slots=True)
class Contents:
    """What reading the named records showed."""

    read: int = 0
    _newer: int = 0
    _wrong: Examples = field(default_factory=Examples)
    _unreadable: Examples = field(default_factory=Examples)
    _expired: dict[str, Expired] = field(default_factory=dict)

    def take(self, path: str, named: Named, data: bytes | DRError) -> None:
        """Compare one record with what an entry says of it."""
        if isinstance(data, DRError):
            self._unreadable.add(data.message)
            return
        self.read += 1
        if len(data) != named.size_bytes or hashlib.sha256(data).digest() != named.sha256:
            self._wrong.add(f"{path} is not what entry {named.number} names")
            return
        try:
            _own_digest(path, data)
            if path.startswith(f"{layout.EXPIRED}/"):
                self._expired[path] = Expired.from_bytes(data, where=path)
        except RecordUnknown:
            self._newer += 1  # a tombstone that is not understood explains nothing
        except RecordError as e:
            self._wrong.add(e.message)

    def standing(self) -> frozenset[str]:
        """Return the tombstones that were not taken back."""
        over = {(_folder(p), e.withdraws) for p, e in self._expired.items() if e.withdraws}
        return frozenset(
            path
            for path, e in self._expired.items()
            if e.withdraws is None and (_folder(path), e.run_id) not in over
        )

    def check(self, named: int) -> Check:
        """Say whether every record is what an entry names."""
        if self._wrong:
            return Check(
                "records",
                "failed",
                f"{count(self._wrong.count, 'record')} changed: {self._wrong}",
                "`qdrant-dr replicate` brings a good copy from another repository; an older "
                "version of the bucket tells what was changed.",
            )
        if self._unreadable:
            return Check("records", "failed", f"cannot be read: {self._unreadable}", _AGAIN)
        if not named:
            return Check("records", "doubt", "no entry names any record", _AGAIN)
        if self._newer:
            return Check(
                "records",
                "doubt",
                f"{count(self.read, 'record')} as they were named, {self._newer} of a newer "
                "version: what those explain is not known",
                "by hand: `pip install --upgrade qdrant-dr`, then verify again.",
            )
        return Check("records", "ok", f"{count(self.read, 'record')} read, each as it was named")


_AGAIN = "run `qdrant-dr check`."


def read_contents(reader: Reader, named: Mapping[str, Named], present: Iterable[str]) -> Contents:
    """Read every record that is named and there."""
    contents = Contents()
    paths = sorted(set(present) & named.keys())
    for path, data in zip(
        paths, in_batches(lambda p: read_or_error(reader, p), paths), strict=True
    ):
        contents.take(path, named[path], data)
    return contents


def judge_unnamed(present: Mapping[str, int], names: Names, head_at: datetime) -> Check:
    """Say which records no entry names: of a run that goes on or died, or put there afterwards.
    `present` are the records that are there, with their sizes."""
    # what repository.json says, each entry says, too
    unnamed = {
        p: s for p, s in present.items() if p not in names.records and p != layout.REPOSITORY
    }
    older = judge_older(present, unnamed, names)
    newer: list[str] = []
    late: list[str] = []
    for path in sorted(unnamed.keys() - older.paths):
        (newer if _newer(path, head_at) else late).append(path)
    if late:
        return Check(
            "unnamed",
            "doubt",
            f"{some(late, 'record')} named by no entry: put there afterwards, or left by a run "
            f"that died{older.known}{f'; {older.wrong}' if older.wrong else ''}",
            "`qdrant-dr verify` lists them as found from then on; what they claim of an earlier "
            "time is not shown by this ledger.",
        )
    if older.wrong:
        return Check(
            "unnamed",
            "doubt",
            older.wrong,
            "`qdrant-dr replicate` brings back what another repository still has; an older "
            "version of the bucket tells what was there.",
        )
    if newer:
        return Check(
            "unnamed",
            "doubt",
            f"{some(newer, 'record')} newer than the last entry: of a run that goes on, or that "
            f"died before its entry{older.known}",
            "`qdrant-dr verify` writes an entry that lists what dead runs have left.",
        )
    return Check("unnamed", "ok", f"every record is named by an entry{older.known}")


def _newer(path: str, head_at: datetime) -> bool:
    made = made_at(path)
    if made is None and (taken := layout.read_backup_path(path)) is not None:
        made = layout.time_if_id(taken.backup_id)
    return made is not None and made >= head_at - RUNS_LAST


def _own_digest(path: str, data: bytes) -> None:
    """Compare a record with its own digest; one that lies in a box tells nobody without a key.
    Raise RecordDamaged."""
    if not (layout.is_boxed(path) and data.startswith(BOX)):
        parse_canonical(data, where=path)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
