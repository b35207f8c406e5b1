"""Find where the records of a figure lie: in which repositories, with which digest as stored, and
which entry of the ledger there names each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from qdrant_dr import layout
from qdrant_dr.errors import DRError, ObjectMissing
from qdrant_dr.records import LedgerEntry, Record
from qdrant_dr.report.evidence.read_ledgers import read_ledger
from qdrant_dr.report.frames.provenance import path_of
from qdrant_dr.repository import Repository

_READERS = 16
_EARLIER = timedelta(days=1)
"""Clocks differ: an entry is looked for from so long before the record that it names."""


@dataclass(frozen=True)
class Located:
    """One record in one repository; `entry` is the number of the entry there that names it with
    this digest, None if none that was read does."""

    repository: str
    path: str
    sha256: str
    size_bytes: int
    entry: int | None


@dataclass(frozen=True)
class Places:
    """The records of some cells, by path; `errors` by name of the repositories that could not be
    read to their end."""

    by_path: Mapping[str, tuple[Located, ...]]
    errors: Mapping[str, DRError]

    def of(self, record: Record) -> tuple[Located, ...]:
        """Return where a record lies; an entry of a ledger in its own repository, for each has one
        of that number."""
        found = self.by_path[path_of(record)]
        if isinstance(record, LedgerEntry):
            return tuple(at for at in found if at.sha256 == record.sha256)
        return found


def locate(records: Iterable[Record], repositories: Mapping[str, Repository]) -> Places:
    """Read every record in every repository that has it, and the ledgers from the oldest on.

    What is stored is hashed: of an encrypted repository that is not what the record itself says.
    """
    wanted = list(records)
    entries = {(e.repository_id, path_of(e)) for e in wanted if isinstance(e, LedgerEntry)}
    paths = sorted({path_of(r) for r in wanted})
    began = [at for path in paths if (at := _time_in(path)) is not None]
    found: dict[str, list[Located]] = {path: [] for path in paths}
    errors: dict[str, DRError] = {}
    for name, repository in repositories.items():
        mine = [p for p in paths if layout.entry_number(p) is None or (repository.id, p) in entries]
        try:
            named = _named(repository, min(began) - _EARLIER) if began else {}
            for located in _read(repository, mine, named):
                found[located.path].append(located)
        except DRError as e:
            errors[name] = e
    return Places({path: tuple(each) for path, each in found.items()}, errors)


def _named(repository: Repository, since: datetime) -> dict[tuple[str, str], int]:
    """Return the first entry that names each record, by its path and digest."""
    named: dict[tuple[str, str], int] = {}
    for read in read_ledger(repository, since).entries:
        for written in (*read.entry.records, *read.entry.found):
            named.setdefault((written.path, written.sha256), read.entry.number)
    return named


def _read(
    repository: Repository, paths: list[str], named: Mapping[tuple[str, str], int]
) -> Iterator[Located]:
    def read(path: str) -> Located | None:
        try:
            data = repository.store.read(path)
        except ObjectMissing:
            return None
        digest = hashlib.sha256(data).hexdigest()
        return Located(repository.name, path, digest, len(data), named.get((path, digest)))

    with ThreadPoolExecutor(_READERS) as pool:
        yield from (found for found in pool.map(read, paths) if found is not None)


def _time_in(path: str) -> datetime | None:
    """Return the earliest time that the ids in a path tell."""
    times = (layout.time_if_id(step.partition(".")[0]) for step in path.split("/"))
    return min((at for at in times if at is not None), default=None)
