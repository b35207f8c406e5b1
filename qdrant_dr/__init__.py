"""Disaster recovery for Qdrant: every backup proven restorable, by content, on every cloud.

`qdrant_dr.open(config)` is the public API; see `qdrant_dr.api`.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from qdrant_dr.version import __version__ as __version__

_API = {"open": "open_config", "Recovery": "Recovery"}


def __getattr__(name: str) -> Any:
    """Import the API when it is asked for: the package itself starts fast, without pandas."""
    if name in _API:
        return getattr(import_module("qdrant_dr.api"), _API[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
