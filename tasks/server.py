"""Is the Prefect server there? Asked before anything that is only nice to have."""

from __future__ import annotations

from prefect.client.orchestration import get_client

PATIENCE_SECONDS = 5


def reachable() -> bool:
    """Whether the API answers, found out quickly.

    A client that was connected before retries for a minute when the server is gone, and Prefect
    serialises callers that wait for one limit; a new client with a short time-out does not.
    """
    try:
        with get_client(sync_client=True, httpx_settings={"timeout": PATIENCE_SECONDS}) as client:
            return client.api_healthcheck() is None
    except Exception:  # noqa: BLE001  no URL, no route, no answer: all mean no
        return False
