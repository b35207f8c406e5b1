"""Once a day a time server says that the newest entry of a ledger existed: an independent clock."""

from __future__ import annotations

import logging
import secrets
import time
from queue import Empty, Queue
from threading import Thread

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
    answers: Queue[tuple[int, bytes] | Exception] = Queue()
    query = timestamps.request(message, nonce)
    # a server that sends a byte now and then is never late for httpx
    Thread(target=_post, args=(url, query, answers), daemon=True).start()
    try:
        answer = answers.get(timeout=_SECONDS)
    except Empty:
        raise TimestampFailed(f"the time server took longer than {_SECONDS:.0f} s") from None
    if isinstance(answer, Exception):
        raise TimestampFailed(f"the time server does not answer ({type(answer).__name__})")
    status, reply = answer
    if status != httpx.codes.OK or len(reply) > _LARGEST:
        raise TimestampFailed(f"the time server answered with status {status}")
    timestamps.check_reply(reply, message, nonce)
    return reply


def _post(url: str, query: bytes, answers: Queue[tuple[int, bytes] | Exception]) -> None:
    """Put the status and no more than the first bytes of the answer, or why there is none."""
    reply, headers = b"", {"content-type": _QUERY}
    end = time.monotonic() + _SECONDS
    try:
        with httpx.stream("POST", url, content=query, headers=headers, timeout=_SECONDS) as answer:
            for block in answer.iter_bytes():
                reply += block
                if len(reply) > _LARGEST or time.monotonic() > end:
                    break
            answers.put((answer.status_code, reply))
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        answers.put(e)
