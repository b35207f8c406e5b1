"""Restores whose calls are not answered."""

from __future__ import annotations

from typing import Any

from qdrant_dr.records import RunEnd
from tests.support.driving import do
from tests.support.loopback import loopback
from tests.support.world import World


def bring_back(world: World, url: str, collection: str, **request: Any) -> RunEnd:
    asked = {"backups": [f"{collection}@latest-proven"], "to": url, "dry_run": False}
    return do(world, "restore", **asked, **request)


def names(url: str) -> list[str]:
    found = loopback.get(f"{url}/collections", timeout=30).json()["result"]["collections"]
    return sorted(c["name"] for c in found)
