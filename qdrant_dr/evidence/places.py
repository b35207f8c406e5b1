"""From what an auditor names (a folder, a bundle, a URL) to repositories that can be read.

No configuration is needed: a bucket is opened with what the environment knows of keys."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

from qdrant_dr import layout
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import UsageError
from qdrant_dr.evidence.verify import Source
from qdrant_dr.repository.open_store import open_place
from qdrant_dr.stores.local import LocalStore

_PATIENCE = timedelta(seconds=90)


def configured(cfg: RepositoryConfig, stall_timeout: timedelta) -> Source:
    """Open a configured repository, whatever is in it."""
    location, store = open_place(cfg, stall_timeout=stall_timeout)
    return Source(cfg.name, str(location), store, location, cfg.id)


def at_url(url: str) -> Source:
    """Open a bucket by its URL alone, with the keys that the environment has."""
    name = re.sub(r"[^a-z0-9]+", "-", url.partition("://")[2].lower()).strip("-")[:40] or "bucket"
    location, store = open_place(
        RepositoryConfig(name=name, url=url, domain="unknown"), stall_timeout=_PATIENCE
    )
    return Source(url, str(location), store, location)


def in_folder(folder: Path, name: str) -> Source:
    """Open a copy of a repository's files. Raise UsageError if it is none."""
    if not (folder / layout.REPOSITORY).is_file() and not (folder / layout.EVIDENCE).is_dir():
        below = sorted(p.parent.name for p in folder.glob(f"*/{layout.REPOSITORY}"))
        others = f"; below it are {', '.join(below)}: name those" if below else ""
        raise UsageError(
            f"{folder} holds neither {layout.REPOSITORY} nor {layout.EVIDENCE}/: it is no copy of "
            f"a repository{others}",
            "name the folder into which the whole bucket, or its prefix, was copied.",
        )
    return Source(name, str(folder), LocalStore(name, folder))
