"""Read what a report needs from every configured repository."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TypeAlias

from qdrant_dr import layout
from qdrant_dr.config import Config, RepositoryConfig
from qdrant_dr.errors import Conflict, DRError, UsageError
from qdrant_dr.jobs.run.acknowledgements import read_everywhere
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.ledger import ledger_heads, read_signer
from qdrant_dr.records import Location, RunEnd, RunStart
from qdrant_dr.records.key_slot import KeySlot
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.read_ledgers import read_ledgers, read_signers
from qdrant_dr.repository import (
    REACH,
    Read,
    Repository,
    RepositoryState,
    Unreadable,
    acknowledgements_that_count,
    last_backups,
    location_of,
    measure_packs,
    read_catalog,
    runs_missed,
)
from qdrant_dr.repository.keyrings import read_slots

log = logging.getLogger(__name__)

Runs: TypeAlias = tuple[Read[RunStart], Read[RunEnd]]


def gather(
    config: Config,
    as_of: datetime,
    period: timedelta,
    *,
    remember: bool = False,
    packs: bool = True,
    ledgers: bool = True,
    among: tuple[Mapping[str, Repository], Mapping[str, DRError]] | None = None,
) -> Evidence:
    """Read the evidence of all configured repositories in parallel.

    A repository that cannot be read is listed with its error; no exception is raised for it. Runs
    are read back over the period or the longest objective (drills, proofs), whichever is longer, so
    that the newest drill is known even if the period is shorter; the catalog uses those within
    `REACH`. `remember`: see `open_all`; `among`: what that gave, where they are open already.
    What takes long is left out by saying so: without `packs`, which packs the newest backups use
    (recipes and tables are read for it); without `ledgers`, their entries of the period and the key
    slots. Frames and pages are made only of evidence with ledgers.
    """
    signers, untrusting = read_signers(config)
    opened, failed = among or open_all(config, remember=remember)
    promises = config.objectives
    back = max(period, promises.drill_every, promises.proven.max_age, promises.rpo)
    runs, broken = _read_runs(tuple(opened.values()), as_of - max(back, REACH), as_of)
    ends = {name: ends.records for name, (_, ends) in runs.items()}
    readable = [r for name, r in opened.items() if name not in broken]
    catalog = read_catalog(
        readable,
        cluster=config.cluster.name,
        unreachable=[
            RepositoryState(r.name, r.id, r.domain, _location(r), error=error)
            for r in config.repositories
            if (error := failed.get(r.name) or broken.get(r.name))
        ],
        ends=ends,
    )
    recorded = {
        name: {s.run_id for s in starts.records} | {e.start.run_id for e in ends.records}
        for name, (starts, ends) in runs.items()
    }
    newest = [
        (r.name, backup)
        for r in catalog.repositories
        if packs and r.layout == "chunked" and r.error is None
        for backup in last_backups(catalog, r.name, as_of)
    ]
    known = read_everywhere({r.name: r for r in readable}, config.cluster.name)
    return Evidence(
        config=config,
        as_of=as_of,
        period=period,
        catalog=catalog,
        run_starts=tuple(
            s for starts, _ in runs.values() for s in starts.records if s.started_at >= as_of - back
        ),
        run_ends=tuple(
            e for every in ends.values() for e in every if e.start.started_at >= as_of - back
        ),
        unreadable=(
            *(
                u
                for both in runs.values()
                for read in both
                for u in read.unreadable
                if (run := layout.run_of(u.path)) is None or run[1] >= as_of - back
            ),
            *disputed(ends),
            *(u for read in known.values() for u in read.unreadable),
        ),
        strangers=(
            *(s for starts, _ in runs.values() for s in starts.strangers),
            *(s for read in known.values() for s in read.strangers),
        ),
        packs_used=measure_packs(opened, newest),
        ledgers=read_ledgers(opened, catalog.repositories, as_of - period) if ledgers else None,
        signers=signers,
        signers_error=untrusting,
        key_slots=_key_slots(readable) if ledgers else {},
        ledger_heads=ledger_heads(config, {r.name: r for r in readable}),
        signing_error=read_signer(config)[1],
        only_read={name: e for name, r in opened.items() if (e := r.only_read)},
        runs_missed=runs_missed(recorded, ends, catalog, now=as_of),
        acknowledgements=acknowledgements_that_count(
            {name: read.records for name, read in known.items()},
            repositories=len(readable),
            now=as_of,
        ),
    )


def _key_slots(repositories: Sequence[Repository]) -> dict[str, tuple[KeySlot, ...]]:
    """Read the slots of the present key of each encrypted repository that can be read."""
    found = {}
    for repository in repositories:
        if repository.record.key_id is None:
            continue
        try:
            slots = read_slots(repository).records
        except DRError as e:
            log.info("the key slots of %s are not counted: %s", repository.name, e.message)
            continue
        found[repository.name] = tuple(s for s in slots if s.key_id == slots[-1].key_id)
    return found


def disputed(ends: Mapping[str, Sequence[RunEnd]]) -> Iterator[Unreadable]:
    """Find end records of one run that differ between repositories: none can be believed. Pure.

    A run writes the same record everywhere, so a different one was written by somebody else.
    """
    first: dict[str, tuple[str, RunEnd]] = {}
    for repository, every in ends.items():
        for end in every:
            run_id = end.start.run_id
            where, other = first.setdefault(run_id, (repository, end))
            if other.sha256 != end.sha256:
                path = layout.run_end(run_id, end.start.started_at)
                differs = Conflict(f"{repository}/{path} differs from the record in {where}")
                yield Unreadable(repository, path, differs)


def _read_runs(
    repositories: Sequence[Repository], since: datetime, until: datetime
) -> tuple[dict[str, Runs], dict[str, DRError]]:
    """Read run records by repository; a repository that fails meanwhile counts as unreachable."""

    def read(repository: Repository) -> Runs | DRError:
        try:
            return repository.read_runs(since, until)
        except DRError as e:
            return e

    if not repositories:
        return {}, {}
    with ThreadPoolExecutor(len(repositories)) as pool:
        found = list(zip(repositories, pool.map(read, repositories), strict=True))
    return (
        {r.name: runs for r, runs in found if not isinstance(runs, DRError)},
        {r.name: runs for r, runs in found if isinstance(runs, DRError)},
    )


def _location(repository: RepositoryConfig) -> Location | None:
    """Return the configured location; None if it cannot be determined because the URL is invalid or
    a secret that it needs is missing."""
    try:
        return location_of(repository)
    except UsageError:
        return None
