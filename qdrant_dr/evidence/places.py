"""From what an auditor names (a folder, a bundle, a URL) to repositories that can be read.

No configuration is needed: a bucket is opened with what the environment knows of keys."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

from qdrant_dr import layout
from qdrant_dr.config import RepositoryConfig
from qdrant_dr.errors import DRError, RecordError, RepositoryError, UsageError
from qdrant_dr.evidence.bundle import CONTENTS, REPOSITORIES, left_out_of
from qdrant_dr.evidence.ledger_reader import Reader
from qdrant_dr.evidence.verify import Source
from qdrant_dr.records.evidence_bundle import EvidenceBundle
from qdrant_dr.repository.open_store import location_of, open_store
from qdrant_dr.stores.base import Stat
from qdrant_dr.stores.local import LocalStore

_PATIENCE = timedelta(seconds=90)


@dataclass(frozen=True, slots=True)
class Away:
    """A repository that could not be opened: whoever reads it is told why."""

    name: str
    error: DRError

    def read(self, path: str) -> bytes:  # noqa: ARG002
        raise self.error

    def find(self, folder: str) -> list[Stat]:  # noqa: ARG002
        raise self.error


def configured(cfg: RepositoryConfig, stall_timeout: timedelta) -> Source:
    """Open a configured repository, whatever is in it; one that is away is told when it is read, so
    that it does not hold up the others."""
    location = location_of(cfg)
    try:
        reader: Reader = open_store(cfg, stall_timeout=stall_timeout)
    except RepositoryError as e:
        reader = Away(cfg.name, e)
    return Source(cfg.name, str(location), reader, location, cfg.id)


def at_url(url: str) -> Source:
    """Open a bucket by its URL alone, with the keys that the environment has."""
    name = re.sub(r"[^a-z0-9]+", "-", url.partition("://")[2].lower()).strip("-")[:40] or "bucket"
    found = configured(RepositoryConfig(name=name, url=url, domain="unknown"), _PATIENCE)
    return replace(found, name=url)


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
    return Source(name, str(folder), LocalStore(name, folder), left_out=_left_out(folder))


def _left_out(folder: Path) -> tuple[str, ...]:
    """What a bundle leaves out, if this is a repository of one that was unpacked."""
    above = folder.resolve().parent
    contents = above.parent / CONTENTS
    if above.name != REPOSITORIES or not contents.is_file():
        return ()
    try:
        return left_out_of(EvidenceBundle.from_bytes(contents.read_bytes(), where=CONTENTS))
    except (OSError, RecordError):
        return ()
