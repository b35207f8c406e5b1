"""Where a ledger ends, and what is wrong there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from qdrant_dr.errors import EvidenceError
from qdrant_dr.records.ledger import FIRST


@dataclass(frozen=True, slots=True)
class LedgerHead:
    """The newest entry: what the next one follows. `number` 0: there is none.

    `unsigned` entries at the end have no signature; those `missing` were deleted, as far as the
    last folder tells. `doubts` are what is wrong with it; the chain goes on from the bytes that lie
    there, so that nothing later hides them."""

    number: int = 0
    sha256: str = FIRST
    stored_at: datetime | None = None
    size_bytes: int = 0
    md5: str = ""
    mark: str = ""
    unsigned: int = 0
    missing: tuple[int, ...] = ()
    adopted_from: str | None = None
    doubts: tuple[EvidenceError, ...] = ()
