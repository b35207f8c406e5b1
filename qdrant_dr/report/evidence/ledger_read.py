"""What was read of one ledger: the entries of the period, the first one, and their signatures."""

from __future__ import annotations

from dataclasses import dataclass

from qdrant_dr.errors import DRError
from qdrant_dr.records import LedgerEntry
from qdrant_dr.repository import Unreadable


@dataclass(frozen=True)
class ReadEntry:
    """An entry, its signature if there is one, and whether a token of a time server is there."""

    entry: LedgerEntry
    signature: bytes | None = None
    stamped: bool = False


@dataclass(frozen=True)
class LedgerRead:
    """The ledger of one repository as it was read; `error`: why nothing could be. `former_ids` are
    those that the repository had before it was adopted."""

    repository: str
    repository_id: str | None
    former_ids: tuple[str, ...] = ()
    first: ReadEntry | None = None
    entries: tuple[ReadEntry, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    error: DRError | None = None
