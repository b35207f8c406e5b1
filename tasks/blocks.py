"""What Prefect keeps in blocks, read as it is stored, and kept while Prefect is away."""

from __future__ import annotations

import logging
import time
from typing import Any

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.utilities.asyncutils import run_coro_as_sync

log = logging.getLogger(__name__)

FRESH = 20.0
"""Seconds for which a block is not asked for again: two hundred units that each open three
repositories would spend Cloud's rate limit on it."""

_seen: dict[tuple[str, str], tuple[float, dict[str, Any]]] = {}


class BlockMissing(LookupError):
    """The server answered that there is no such block."""


class ServerAway(ConnectionError):
    """The server did not answer, and this process has never read the block."""


def read_block(kind: str, name: str) -> dict[str, Any]:
    """Read the fields of the block `kind/name`, secrets in plain text. Raise BlockMissing,
    ServerAway.

    The document is read, not an object of its class: that needs none of the packages which blocks
    of clouds come from, and runs none of what they do when they are made (GcpCredentials asks
    Google for a project). What was read stands in while the server is away: a run that has begun
    does not lose its keys with the API.
    """
    at, kept = _seen.get((kind, name), (-FRESH, None))
    if kept is not None and time.monotonic() - at < FRESH:
        return kept
    try:
        found = run_coro_as_sync(_read(kind, name))
    except ObjectNotFound:
        _seen.pop((kind, name), None)
        raise BlockMissing(f"{kind}/{name}") from None
    except Exception as error:  # noqa: BLE001  a lost API shows as many things
        log.warning(
            "Prefect was not reached for block %s/%s (%s)", kind, name, type(error).__name__
        )
        if kept is None:
            raise ServerAway(type(error).__name__) from None
        found = kept
    _seen[kind, name] = time.monotonic(), found
    return found


def read_anew() -> None:
    """Ask the server again, at the next use, for all that was read: a run begins."""
    for key, (_, kept) in list(_seen.items()):
        _seen[key] = -FRESH, kept


async def _read(kind: str, name: str) -> dict[str, Any]:
    async with get_client() as client:
        return dict((await client.read_block_document_by_name(name, kind)).data)
