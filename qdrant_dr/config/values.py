"""Types of values that several sections use: names, rates, addresses, credentials."""

from __future__ import annotations

import re
import zoneinfo
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from qdrant_dr.location_key import BLOCKS, split_url, store_url
from qdrant_dr.secrets import BLOCK

RATE = {"type": "string", "pattern": r"^\d+(\.\d+)?[kKMGT]?i?B(/s)?$", "examples": ["200MiB/s"]}


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


def wrong(at: str, message: str) -> PydanticCustomError:
    """Build an error that knows its key path, so that `configfile` can name the line."""
    return PydanticCustomError("adds_up", "{message}", {"at": at, "message": message})


def time_zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("is not a time zone such as Europe/Berlin or UTC") from None
    return name


def rest_url(at: str, url: str) -> str:
    """Check the address of a server. An error omits it, because it may hold a password."""
    if not url.startswith(("http://", "https://")):
        raise wrong(at, "a REST URL starts with http:// or https://, in lower case")
    if "@" in url.split("//", 1)[1].split("/", 1)[0]:
        raise wrong(at, "a server's URL must not contain a user; use a key")
    try:
        parts = urlsplit(url)
        whole = bool(parts.hostname) and (parts.port or 1) > 0 and " " not in url
    except ValueError:  # an invalid port, or an unclosed bracket
        whole = False
    if not whole or parts.query or parts.fragment:
        raise wrong(at, "a REST URL is a host and its port, such as http://qdrant-0:6333")
    return url.rstrip("/")


StoreUrl = Annotated[str, AfterValidator(store_url)]
"""A path or the URL of a store, in the one form of an Azure container that others build upon."""


OWN_KEYS = frozenset({
    "key", "secret", "token", "profile", "anon",
    "connection_string", "account_name", "account_host", "account_key", "sas_token", "credential",
    "client_id", "client_secret", "tenant_id",
})  # fmt: skip
"""Options that hold credentials or an account: beside a block the two would be mixed."""


def opens(block: str, info: ValidationInfo) -> str:
    """Check that the block's type fits the URL, and that no key is given beside it."""
    if "url" not in info.data:
        return block  # already reported as wrong
    named, kind = block.removeprefix("block:").partition("/")[0], split_url(info.data["url"])[0]
    if BLOCKS.get(named) != kind:
        fitting = [f"block:{name}/NAME" for name, opens in BLOCKS.items() if opens == kind]
        raise ValueError(
            f"must be {' or '.join(fitting)} for {kind}://"
            if fitting
            else f"is for {', '.join(f'{k}://' for k in sorted(set(BLOCKS.values())))} only"
        )
    if beside := sorted(OWN_KEYS.intersection(info.data.get("options", {}))):
        raise ValueError(f"and {', '.join(f'`options.{k}`' for k in beside)}: use one of the two")
    inner = info.data.get("options", {}).get("client_kwargs")
    if isinstance(inner, dict) and "endpoint_url" in inner:
        raise ValueError("is beside an endpoint in `client_kwargs`: use `options.endpoint_url`")
    return block


Credentials = Annotated[
    str,
    Field(
        pattern=BLOCK,
        description="block:TYPE/NAME, a credentials block of Prefect; `options` override it",
    ),
    AfterValidator(opens),
]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


HTTP_OR_REF = {"type": "string", "pattern": r"^(https?://|(env|file|secret):).+$"}


def http_or_ref(value: str) -> str:
    """Check a URL or reference. An error omits it, because it may be the secret itself."""
    if not re.match(HTTP_OR_REF["pattern"], value):
        raise ValueError("must be an http(s):// URL, or env:NAME, file:PATH or secret:NAME")
    return value


HttpOrRef = Annotated[str, AfterValidator(http_or_ref), WithJsonSchema(HTTP_OR_REF)]
