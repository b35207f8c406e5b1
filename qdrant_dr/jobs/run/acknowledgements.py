"""The acknowledgements that count now, read from every repository."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from qdrant_dr.config import Config
from qdrant_dr.errors import DRError
from qdrant_dr.records import Acknowledgement
from qdrant_dr.repository import (
    Read,
    Repository,
    acknowledgements_that_count,
    read_acknowledgements,
)

log = logging.getLogger(__name__)


def acknowledgements_of(
    config: Config,
    opened: Mapping[str, Repository],
    *,
    now: datetime,
    lost: Collection[str] = (),
) -> tuple[Acknowledgement, ...]:
    """Return those that count now. One that cannot be read or confirmed counts for nothing: then
    the finding it was to settle is reported, and the backup kept.

    `lost` are repositories that need not confirm it, for whoever brings something back when they
    are gone: nothing may be deleted or forgotten on the word of one.
    """
    asked = [r.name for r in config.repositories if r.name not in lost]
    read = read_everywhere(opened, config.cluster.name)
    return acknowledgements_that_count(
        {name: found.records for name, found in read.items()}, repositories=len(asked), now=now
    )


def read_everywhere(
    opened: Mapping[str, Repository], cluster: str
) -> dict[str, Read[Acknowledgement]]:
    """Return what each repository has; nothing for one that cannot be read."""

    def read(name: str) -> Read[Acknowledgement]:
        try:
            return read_acknowledgements(opened[name], cluster)
        except DRError as e:
            log.warning("acknowledgements in %s cannot be read: %s", name, e.message)
            return Read()

    with ThreadPoolExecutor(max(1, len(opened))) as pool:
        return dict(zip(opened, pool.map(read, opened), strict=True))
