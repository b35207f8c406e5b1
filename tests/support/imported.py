"""All of `qdrant_dr`, imported beforehand: for processes that fork."""

from __future__ import annotations

import importlib
import pkgutil

SELDOM = ("__main__", "_client", "sandbox", "engine_child", "prefect_block")
"""Not imported: programs of their own, what stores in clouds need, and Prefect."""


def import_all() -> None:
    import qdrant_dr

    for module in pkgutil.walk_packages(qdrant_dr.__path__, "qdrant_dr."):
        if not module.name.endswith(SELDOM):
            importlib.import_module(module.name)
