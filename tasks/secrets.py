"""`secret:NAME` of a configuration, kept in a Prefect Secret block of that name."""

from __future__ import annotations

import logging
from typing import Any

from prefect.blocks.system import Secret
from prefect.utilities.asyncutils import run_coro_as_sync

log = logging.getLogger(__name__)

_seen: dict[str, str] = {}


def secret_block(name: str) -> str | None:
    """The text of the Secret block `name`; None if there is none, or no server to ask.

    Asked anew each time, so that a rotated key is used at once. What was read before stands in
    while the server is away: a run that has begun does not lose its keys with the API.
    """
    try:
        text = run_coro_as_sync(_read(name))
    except ValueError:
        _seen.pop(name, None)  # the server answered that there is no such block
        return None
    except Exception as error:  # noqa: BLE001  whatever a lost API raises; the caller reports
        log.warning("Prefect was not reached for secret:%s (%s)", name, type(error).__name__)
        return _seen.get(name)
    _seen[name] = text
    return text


async def _read(name: str) -> str:
    block: Any = await Secret.aload(name)
    return str(block.get())
