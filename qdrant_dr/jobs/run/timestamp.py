"""Once a day a time server says that the newest entry of a ledger existed: an independent clock."""

from __future__ import annotations

import logging
import secrets

import httpx

from qdrant_dr import layout
from qdrant_dr.errors import DRError, TimestampFailed
from qdrant_dr.records.ledger import LedgerEntry
from qdrant_dr.repository import Repository
from qdrant_dr.signing import timestamps

log = logging.getLogger(__name__)

_SECONDS = 5.0
_LARGEST = 2**16
_QUERY = "application/timestamp-query"


def timestamp_entry(repository: Repository, entry: LedgerEntry, url: str) -> None:
    """Keep the answer of the time server beside the entry. A failure is logged, and no more: a
    server that is away must not hold up a backup."""
    try:
        reply = ask_for_time(url, entry.to_bytes())
        path = layout.ledger_entry(entry.number) + layout.TIMESTAMP
        repository.store.create(path, reply)
    except DRError as e:
        log.warning("entry %d of the ledger of %s has no timestamp: %s",
                    entry.number, repository.name, e.message)  # fmt: skip


def ask_for_time(url: str, message: bytes) -> bytes:
    """Return the server's checked answer as it came. Raise TimestampFailed."""
    nonce = int.from_bytes(secrets.token_bytes(timestamps.NONCE_BYTES))
    try:
        answer = httpx.post(
            url,
            content=timestamps.request(message, nonce),
            headers={"content-type": _QUERY},
            timeout=_SECONDS,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        raise TimestampFailed(f"the time server does not answer ({type(e).__name__})") from None
    if answer.status_code != httpx.codes.OK or len(answer.content) > _LARGEST:
        raise TimestampFailed(f"the time server answered with status {answer.status_code}")
    timestamps.check_reply(answer.content, message, nonce)
    return answer.content
