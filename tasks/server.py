"""Is the Prefect server there? Asked before anything that is only nice to have."""

from __future__ import annotations

import time
from math import inf

from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL

PATIENCE_SECONDS = 5

_answered: dict[str | None, float] = {}
"""When the API at this address answered last, by the monotonic clock."""


def reachable(*, within: float = 0.0) -> bool:
    """Find out quickly whether the API answers, or did in the last `within` seconds.

    A client that was connected before retries for a minute when the server is gone, and Prefect
    serialises callers that wait for one limit; a new client with a short time-out does not.
    """
    address = PREFECT_API_URL.value()
    if time.monotonic() - _answered.get(address, -inf) < within:
        return True
    try:
        with get_client(sync_client=True, httpx_settings={"timeout": PATIENCE_SECONDS}) as client:
            answers = client.api_healthcheck() is None
    except Exception:  # noqa: BLE001  no URL, no route, no answer: all mean no
        answers = False
    if answers:
        _answered[address] = time.monotonic()
    else:
        _answered.pop(address, None)
    return answers
