"""What names a run: its id, who runs it, and the versions of what decides its result."""

from __future__ import annotations

import getpass
import os
import platform
import secrets
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version

from qdrant_dr.version import __version__


def versions() -> dict[str, str]:
    """Return the versions of what decides a result."""
    found = {"qdrant-dr": __version__, "python": platform.python_version()}
    for package in ("qdrant-edge-py", "qdrant-client", "fsspec", "pandas"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "absent"
    return found


def new_run_id(now: datetime) -> str:
    """Make an id that sorts by time: `20261122T101530Z-7f3a9c`."""
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def user_name() -> str:
    """Return who runs this, as the system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid-{os.getuid()}"  # a container may run under an id without a name
