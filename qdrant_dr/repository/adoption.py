"""A repository that was copied elsewhere becomes one of its own: what is known about it, and the
one record that is ever written over."""

from __future__ import annotations

import secrets
from datetime import datetime
from functools import partial

from qdrant_dr import layout
from qdrant_dr.errors import Conflict
from qdrant_dr.records import Location, RunEnd
from qdrant_dr.repository.catalog import CLOCK_TOLERANCE
from qdrant_dr.repository.delete_permission import clean
from qdrant_dr.repository.holds_and_deletions import withdraw
from qdrant_dr.repository.repository import Repository
from qdrant_dr.vault.pack_deletion_rules import ORPHAN_GRACE
from qdrant_dr.version import __version__

_RUNS = 20
"""End records that are read, the newest ones: each names every repository of its run."""


def adopt_repository(found: Repository, now: datetime) -> str:
    """Give it an id of its own and return that. The ids it had stay in its record.

    What the original let go, and lives here, is not on record as gone any more. The record is
    replaced last, in one step: a call that was cut short is repeated. Raise Conflict if another one
    is there than was read, or than was written.
    """
    was = found.record
    record = was.model_copy(
        update={
            "id": secrets.token_hex(4),
            "tool_version": __version__,
            "adopted_from": (*was.adopted_from, was.id),
            "adopted_at": now,
        }
    )
    if found.store.read(layout.REPOSITORY) != was.to_bytes():
        raise Conflict(
            f"repository {found.name}: {layout.REPOSITORY} was written by somebody else meanwhile"
        )
    for folder in _let_go(found):
        withdraw(found, folder)
    data = record.to_bytes()
    found.replace_record(layout.REPOSITORY, data)
    if found.store.read(layout.REPOSITORY) != data:
        raise Conflict(
            f"repository {found.name}: {layout.REPOSITORY} is not as it was just written",
            "end whatever copies into it, then look with `qdrant-dr repository show NAME`.",
        )
    return record.id


def _let_go(found: Repository) -> set[str]:
    """Folders of the copies, of all clusters, that are on record as deleted."""
    taken = (layout.read_backup_path(s.path) for s in found.find(layout.EXPIRED))
    return {t.folder for t in taken if t is not None}


def same_place(one: Repository, other: Repository) -> bool:
    """Say whether what is written into one appears in the other: then they are one, however they
    are reached (a bind mount, a second name of an endpoint). One small object is written and
    removed, or stays where nothing may be deleted."""
    path = f"{layout.PROBES}/{secrets.token_hex(8)}"
    one.store.create(path, b"are we one?")
    try:
        return other.store.stat(path) is not None
    finally:
        clean(one, partial(one.store.delete, path))


def places_of_id(found: Repository) -> frozenset[Location]:
    """Return where its newest runs have reached the repository of its id."""
    ends = [s.path for s in found.find(layout.RUNS) if s.path.endswith(".end.json")]
    read = found.read_records(RunEnd, sorted(ends)[-_RUNS:])
    return frozenset(
        seen.location
        for end in read.records
        for seen in end.repositories
        if seen.repository_id == found.id and seen.location is not None
    )


def under_way(found: Repository, now: datetime) -> tuple[str, ...]:
    """Return runs that began and have no end, as long as they may still commit: a later one is
    dead."""
    since = now - ORPHAN_GRACE / 2
    there = {
        s.path.rpartition("/")[2]
        for month in layout.run_months(since, now + CLOCK_TOLERANCE)
        for s in found.find(month)
    }
    begun = [name.removesuffix(".start.json") for name in there if name.endswith(".start.json")]
    return tuple(
        sorted(
            run for run in begun if f"{run}.end.json" not in there and layout.time_of(run) > since
        )
    )
