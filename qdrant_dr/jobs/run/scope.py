"""Which collections and repositories a run is about: `None` means all, nothing is an error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from qdrant_dr.config import Config
from qdrant_dr.errors import NothingSelected
from qdrant_dr.jobs.run.backup_selector import FIRST, select
from qdrant_dr.repository import Backup, Catalog


def selected_names(
    asked: Sequence[str] | None, known: Iterable[str], *, what: str
) -> frozenset[str]:
    """Return the names asked for; all known ones for None.

    Raise NothingSelected for an empty list, or a name that is not known: never a silent nothing.
    """
    there = frozenset(known)
    if asked is None:
        return there
    if not asked:
        raise NothingSelected(f"an empty list selects no {what}", "leave it out to select all.")
    if unknown := sorted(set(asked) - there):
        raise NothingSelected(
            f"no {what} is named {', '.join(unknown)}; "
            f"there are: {', '.join(sorted(there)) or 'none'}",
            *([] if there else [FIRST]),
        )
    return frozenset(asked)


def selected_repositories(config: Config, asked: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the repositories asked for, in the order of the configuration."""
    names = [r.name for r in config.repositories]
    wanted = selected_names(asked, names, what="repository")
    return tuple(n for n in names if n in wanted)


def selected_backups(
    catalog: Catalog,
    config: Config,
    selectors: Sequence[str] | None,
    collections: Sequence[str] | None,
    *,
    now: datetime,
) -> tuple[Backup, ...]:
    """Return the backups that selectors mean, else all of the collections asked for (None = of
    all).

    Raise NothingSelected, BackupNotFound or UsageError: a job on no backup did not do its work.
    """
    if selectors is not None:
        if not selectors:
            raise NothingSelected("an empty list selects no backup", "leave it out to select all.")
        proven = config.objectives.proven
        return tuple(select(s, catalog, proven=proven, now=now) for s in selectors)
    wanted = selected_names(collections, catalog.collections, what="backed up collection")
    return tuple(b for b in catalog.backups if b.manifest.collection in wanted)
