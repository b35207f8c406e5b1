"""What the environment adds to a repository's options: fsspec's configuration, an endpoint or an
account of this machine.

The clients below look for these by themselves. We look first, by the same rules, and give them what
was found: so the place that is recorded is the place that is reached."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from qdrant_dr.secrets import laid_over

CONNECTION: Final = "AZURE_STORAGE_CONNECTION_STRING"
ACCOUNT: Final = "AZURE_STORAGE_ACCOUNT_NAME"
EMULATOR: Final = "STORAGE_EMULATOR_HOST"
_FSSPEC = {"s3": ("s3", "s3a"), "gs": ("gs", "gcs"), "az": ("abfs", "az", "abfss")}
"""The names under which fsspec looks for options of a file system; the last one wins."""


def with_ambient(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a client of `s3`, `gs` or `az` with all that decides where it goes.

    What is configured wins. Applied again, it changes nothing."""
    found = laid_over(_of_fsspec(kind), options)
    if kind == "s3" and not endpoint_of(found):
        name, value = "endpoint_url", _of_aws(found.get("profile"))
    elif kind == "gs" and not found.get("endpoint_url"):
        name, value = "endpoint_url", _of_google()
    elif kind == "az" and not (found.get("connection_string") or found.get("account_name")):
        name = "connection_string" if os.environ.get(CONNECTION) else "account_name"
        value = os.environ.get(CONNECTION) or os.environ.get(ACCOUNT, "")
    else:
        return found
    return {**found, name: value} if value else found


def endpoint_of(options: Mapping[str, Any]) -> Any:
    """Return the endpoint in options of S3, which has two places for it."""
    inner = options.get("client_kwargs")
    within = inner.get("endpoint_url") if isinstance(inner, Mapping) else None
    return options.get("endpoint_url") or within


def _of_fsspec(kind: str) -> dict[str, Any]:
    """Return what `FSSPEC_...` and the files in fsspec's folder say of this kind."""
    folder = os.environ.get("FSSPEC_CONFIG_DIR") or "~/.config/fsspec"
    told = any(name.startswith("FSSPEC_") for name in os.environ)
    if not (told or "fsspec" in sys.modules or Path(folder).expanduser().is_dir()):
        return {}  # loading fsspec takes longer than reading a configuration
    from fsspec.config import conf

    found: dict[str, Any] = {}
    for name in _FSSPEC.get(kind, ()):
        found.update(conf.get(name, {}))
    return found


def _of_aws(profile: object) -> str:
    """Return the endpoint that the AWS tools would use: of a variable, or of the profile."""
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return ""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if found := os.environ.get(name):
            return found
    files = (
        os.environ.get("AWS_CONFIG_FILE") or "~/.aws/config",
        os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials",
    )
    if not any("endpoint_url" in _text(Path(name).expanduser()) for name in files):
        return ""  # loading botocore takes longer than reading a configuration
    from botocore.exceptions import BotoCoreError
    from botocore.session import Session

    try:
        session = Session(profile=str(profile) if profile else None)
        scoped, services = session.get_scoped_config(), session.full_config.get("services", {})
    except BotoCoreError:  # no such profile, or a file that cannot be parsed: the client says so
        return ""
    if str(scoped.get("ignore_configured_endpoint_urls", "")).lower() == "true":
        return ""
    of_s3 = services.get(scoped.get("services"), {}).get("s3", {})
    return str(of_s3.get("endpoint_url") or scoped.get("endpoint_url") or "")


def _of_google() -> str:
    """Return where Google's storage is said to be, if not at its usual address."""
    host = os.environ.get(EMULATOR, "")
    if host in {"", "default"}:
        universe = os.environ.get("GOOGLE_CLOUD_UNIVERSE_DOMAIN", "googleapis.com")
        return "" if universe == "googleapis.com" else f"https://storage.{universe}"
    return host if host.startswith(("http://", "https://")) else f"http://{host}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
