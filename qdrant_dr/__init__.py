"""Disaster recovery for Qdrant: every backup proven restorable, by content, on every cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qdrant_dr.api import Recovery
    from qdrant_dr.api import open_config as open  # noqa: A004 - read as `qdrant_dr.open(...)`

__version__ = "0.1.0"
__all__ = ["Recovery", "__version__", "open"]


def __getattr__(name: str) -> Any:
    """Import the API when it is asked for: the package itself starts fast, without pandas."""
    if name == "open":
        from qdrant_dr.api import open_config

        return open_config
    if name == "Recovery":
        from qdrant_dr.api import Recovery

        return Recovery
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
