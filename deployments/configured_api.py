"""The Prefect API that is configured: does it answer, does it let us in, is it one we know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import prefect
from packaging.version import Version
from prefect.client.base import ServerType
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.settings import get_current_settings

from qdrant_dr.errors import SetupFailed

KEYS = (
    "set PREFECT_API_KEY for Prefect Cloud, or PREFECT_API_AUTH_STRING as the server has it in "
    "PREFECT_SERVER_API_AUTH_STRING."
)
BROKEN = "read the log of that server."
ADDRESS = "is the address right, down to its /api? `prefect config view` shows it."


def configured_api() -> str | None:
    """Return the Prefect API of the environment or the active profile. An ephemeral one does not
    count."""
    return get_current_settings().api.url or None


def shown(url: str) -> str:
    """Return an address without the password that may be in it."""
    return re.sub(r"//[^/@]*@", "//", url)


def look_at(api: str) -> list[str]:
    """Return what to tell of the configured API. Raise SetupFailed if it cannot be worked with."""
    named = f"the Prefect API that is configured, {shown(api)},"
    try:
        with get_client(sync_client=True) as client:
            error = client.api_healthcheck()
            if isinstance(error, httpx.HTTPStatusError):  # without its /api a server answers, too
                raise error
            if error:
                raise SetupFailed(
                    f"{named} does not answer: {error}",
                    "start it or log in (`prefect config view` shows where the address comes "
                    "from); without any address `qdrant-dr up` starts a server here.",
                )
            client.read_work_pools(limit=1)  # its health needs no key: this does
            return _of_its_version(client, named)
    except httpx.HTTPStatusError as e:
        status = e.response.status_code
        raise SetupFailed(f"{named} answers {status}", _hint(status)) from None
    except ValueError:  # a page for people, or somebody else's JSON
        raise SetupFailed(f"{named} does not speak as Prefect's API does", ADDRESS) from None


@contextmanager
def refusals_named(api: str) -> Iterator[None]:
    """Turn what the API refuses on the way, such as the writing of a key that may only read, into
    SetupFailed."""
    try:
        yield
    except httpx.HTTPStatusError as e:
        status, asked = e.response.status_code, e.request
        said = e.response.text.strip().splitlines()
        raise SetupFailed(
            f"the Prefect API that is configured, {shown(api)}, answers {status} to "
            f"{asked.method} {asked.url.path}" + (f": {said[0][:300]}" if said else ""),
            f"{_hint(status)} What was done stays; `qdrant-dr up` goes on from there.",
        ) from None


def _hint(status: int) -> str:
    if status in {401, 403}:
        return KEYS
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return BROKEN
    return ADDRESS if status in {404, 405} else "change what it names, then run this again."


def _of_its_version(client: SyncPrefectClient, named: str) -> list[str]:
    if client.server_type == ServerType.CLOUD:
        return []
    theirs, ours = client.api_version(), prefect.__version__
    if Version(theirs).major != Version(ours).major:
        raise SetupFailed(
            f"{named} is of Prefect {theirs}, and Prefect {ours} is installed here",
            f"`pip install prefect=={ours}` where the server runs, then `prefect server database "
            "upgrade`.",
        )
    if Version(theirs) < Version(ours):
        return [f"prefect server: {theirs}, older than the {ours} here: upgrade the server first"]
    return []
