"""All configured repositories at once: opened, and read into one catalog."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import cache

from qdrant_dr.config import Config
from qdrant_dr.errors import DRError
from qdrant_dr.repository import (
    Catalog,
    Repository,
    RepositoryState,
    open_repository,
    read_catalog,
    remembering,
    write_bundles,
)

log = logging.getLogger(__name__)


def open_all(
    config: Config, names: Sequence[str] | None = None, *, remember: bool = False
) -> tuple[dict[str, Repository], dict[str, DRError]]:
    """Open the configured repositories in order; what cannot be opened is an error by name.

    `remember`, for those who only look: records read before, and unchanged, are not fetched again.
    """
    opened: dict[str, Repository] = {}
    failed: dict[str, DRError] = {}
    for wanted in config.repositories:
        if names is not None and wanted.name not in names:
            continue
        try:
            found = open_repository(wanted, stall_timeout=config.copies.stall_timeout)
            opened[wanted.name] = remembering(found) if remember else found
            if (why := found.only_read) is not None:
                _say_once(str(found.location), f"{why.message}: {why.hint}")
        except DRError as e:
            failed[wanted.name] = e
    return opened, failed


@cache
def _say_once(location: str, why: str) -> None:  # noqa: ARG001 -- each unit opens it again
    log.warning("%s", why)


def bundle_all(opened: Mapping[str, Repository]) -> None:
    """Keep what was read of these repositories, opened with `remember`, in bundles. Whatever comes
    of that: who has looked has done its work."""
    with ThreadPoolExecutor(max(1, len(opened))) as pool:
        list(pool.map(_bundle, opened.values()))


def _bundle(repository: Repository) -> None:
    try:
        write_bundles(repository, datetime.now(UTC))
    except Exception:  # a bundle saves requests, and nothing else
        log.warning("no bundles of %s were written", repository.name, exc_info=True)


def catalog_of(
    config: Config,
    opened: Mapping[str, Repository],
    failed: Mapping[str, DRError],
    *,
    collection: str | None = None,
    backup_id: str | None = None,
    runs: tuple[datetime, datetime] | None = None,
) -> Catalog:
    """Read the catalog over all configured repositories, including those that could not be
    opened."""
    return read_catalog(
        list(opened.values()),
        cluster=config.cluster.name,
        collection=collection,
        backup_id=backup_id,
        unreachable=[
            RepositoryState(r.name, r.id, r.domain, None, failed[r.name])
            for r in config.repositories
            if r.name in failed
        ],
        runs=runs,
    )
