"""Read the ledgers of all repositories as far back as a report looks, and whom to believe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

from qdrant_dr import layout
from qdrant_dr.config import Config
from qdrant_dr.errors import (
    DRError,
    ObjectArchived,
    ObjectMissing,
    SignatureInvalid,
    SigningKeyUnusable,
)
from qdrant_dr.records import LedgerEntry
from qdrant_dr.report.evidence.ledger_read import LedgerRead, ReadEntry
from qdrant_dr.repository import Repository, RepositoryState
from qdrant_dr.signing.allowed_signers import AllowedSigner, parse
from qdrant_dr.stores.base import Stat

_READERS = 16


def read_ledgers(
    repositories: Mapping[str, Repository], states: Sequence[RepositoryState], since: datetime
) -> tuple[LedgerRead, ...]:
    """Read the entries since then of every repository, and the one before them, at once; one that
    could not be read before, or cannot be read now, has its error."""

    def read(state: RepositoryState) -> LedgerRead:
        repository = repositories.get(state.name)
        if state.error is not None or repository is None:
            return LedgerRead(state.name, state.id, error=state.error)
        try:
            return read_ledger(repository, since)
        except DRError as e:
            return LedgerRead(state.name, state.id, error=e)

    with ThreadPoolExecutor(max(1, len(states))) as pool:
        return tuple(pool.map(read, states))


def read_ledger(repository: Repository, since: datetime) -> LedgerRead:
    """Read the entries of one repository since then, by the times that the store gave to them, and
    the one before. Their folders are listed from the last one backwards, no further. Raise
    ObjectArchived if one of them has to be brought back first."""
    listed = _list_back(repository, since)
    entries = {n: s for path, s in listed.items() if (n := layout.entry_number(path)) is not None}
    numbers = sorted(entries)
    first_new = next((n for n in numbers if entries[n].modified_at >= since), None)
    wanted = [n for n in numbers if first_new is None or n >= first_new - 1]
    wanted = wanted if first_new is not None else wanted[-1:]
    read = repository.read_records(LedgerEntry, [layout.ledger_entry(n) for n in wanted])
    for unreadable in read.unreadable:
        if isinstance(unreadable.error, ObjectArchived):  # whole, and out of reach: no break
            raise unreadable.error
    with ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(lambda e: _with_signature(repository, e, listed), read.records))
    found.sort(key=lambda e: e.entry.number)
    return LedgerRead(
        repository.name,
        repository.id,
        repository.record.adopted_from,
        first=_first(repository, found) if found else None,
        entries=tuple(found),
        unreadable=read.unreadable,
    )


def read_signers(config: Config) -> tuple[tuple[AllowedSigner, ...], DRError | None]:
    """Return whom the configured file allows to sign, nobody without one; and why it cannot be
    read: then nobody is believed, and everything else is said as well."""
    if config.signing.allowed_signers is None:
        return (), None
    path = Path(config.signing.allowed_signers).expanduser()
    try:
        return parse(path.read_text(), str(path)), None
    except SignatureInvalid as e:
        return (), e
    except (OSError, UnicodeDecodeError) as e:
        why = e.strerror if isinstance(e, OSError) else "it is no text"
        return (), SigningKeyUnusable(
            f"`signing.allowed_signers` {path} cannot be read: {why}",
            "correct the path, or make the file with `qdrant-dr signing trust KEY --as NAME`.",
        )


def _list_back(repository: Repository, since: datetime) -> dict[str, Stat]:
    """List the last folders: all with entries since then, and one with an entry before that."""
    listed: dict[str, Stat] = {}
    for name in reversed(repository.store.folders(layout.EVIDENCE)):
        files = repository.find(f"{layout.EVIDENCE}/{name}")
        listed |= {s.path: s for s in files}
        if any(s.modified_at < since for s in files if layout.entry_number(s.path) is not None):
            break
    return listed


def _with_signature(
    repository: Repository, entry: LedgerEntry, listed: Mapping[str, Stat]
) -> ReadEntry:
    path = layout.ledger_entry(entry.number)
    signature = None
    if f"{path}{layout.SIGNATURE}" in listed:
        signature = repository.store.read(f"{path}{layout.SIGNATURE}")
    return ReadEntry(entry, signature, f"{path}{layout.TIMESTAMP}" in listed)


def _first(repository: Repository, found: Sequence[ReadEntry]) -> ReadEntry | None:
    if found[0].entry.number == 1:
        return found[0]
    path = layout.ledger_entry(1)
    try:
        return ReadEntry(LedgerEntry.from_bytes(repository.store.read(path), where=path))
    except ObjectMissing:
        return None  # it was cut, which is an entry itself, or it vanished
