"""The public API: open a configuration, ask what its records say.

import qdrant_dr

recovery = qdrant_dr.open("qdrant-dr.yaml")
recovery.frames(period_days=30)["findings"]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from qdrant_dr import configfile
from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, NothingSelected
from qdrant_dr.jobs.run.catalogs import open_all
from qdrant_dr.jobs.run.run_identity import user_name
from qdrant_dr.records import Acknowledgement, Location
from qdrant_dr.report import Assessment, Evidence, gather
from qdrant_dr.report.frames.build import build_frames
from qdrant_dr.report.watch.acknowledge import acknowledge_named
from qdrant_dr.repository import Repository

RECORD_FOLDERS = ("backups", "proofs", "runs", "evidence")


@dataclass(frozen=True)
class RawRecord:
    """A record as it lies in a repository: nothing about it was believed."""

    repository: str
    path: str
    data: bytes


@dataclass(frozen=True)
class RawRecords:
    """All record files of the repositories; `errors` by name of those that could not be read."""

    records: tuple[RawRecord, ...]
    locations: dict[str, Location]
    errors: dict[str, DRError]


@dataclass(frozen=True)
class Recovery:
    """What is configured. Every question reads the records anew."""

    config: Config

    def evidence(self, as_of: datetime | None = None, period_days: int = 30) -> Evidence:
        """The records up to `as_of` (now), with all that could not be read."""
        return gather(self.config, utc(as_of), timedelta(days=period_days))

    def frames(
        self, as_of: datetime | None = None, period_days: int = 30
    ) -> dict[str, pd.DataFrame]:
        """The frames of docs/frames.md by name, as of `as_of` (now).

        Runs and drills are those that began in the last `period_days`; all else is what stood at
        `as_of`. Unreachable repositories and unreadable records are rows of `findings`.
        """
        return build_frames(Assessment.of(self.evidence(as_of, period_days)))

    def acknowledge(
        self, name: str, *, reason: str, until: datetime | None = None, by: str | None = None
    ) -> tuple[Acknowledgement, dict[str, DRError]]:
        """Say that a finding is known (`CODE:SCOPE`, or `CODE` alone), or accept a backup
        (`NAME@ID`) as what later ones are measured against, by name and with a reason.

        The record, and the errors of the repositories that did not take it: it counts if two have
        it, where there are two. It quiets alarms; no copy is proven by it. `by`: None for whoever
        runs this. Raise UsageError for what does not stand.
        """
        return acknowledge_named(
            self.config,
            name,
            reason=reason,
            until=None if until is None else utc(until),
            by=by or user_name(),
            now=utc(None),
        )

    def raw_records(self) -> RawRecords:
        """The bytes of all records, for whoever wants to judge them without this library.

        All times and all clusters are in it. A repository that cannot be read to its end is an
        error, and nothing of it is given.
        """
        opened, errors = open_all(self.config)
        records: list[RawRecord] = []
        for name, repository in opened.items():
            try:
                records += _raw(repository)
            except DRError as e:
                errors[name] = e
        locations = {name: r.location for name, r in opened.items() if name not in errors}
        return RawRecords(tuple(records), locations, errors)


def _raw(repository: Repository) -> list[RawRecord]:
    listed = [s.path for folder in RECORD_FOLDERS for s in repository.find(folder)]
    return [
        RawRecord(repository.name, path, repository.read_clear(path))
        for path in sorted(listed)
        if path.endswith(".json")
    ]


def open_config(
    config: str | Path | Config | None = None, *, repositories: Sequence[str] | None = None
) -> Recovery:
    """Open a configuration: a path, a URL, `block:NAME`, or as the command line finds it.

    `repositories` narrows it to some of those configured. Quorum and domains stay as promised:
    whoever looks at one repository cannot attest two copies. Raise ConfigInvalid; NothingSelected
    for `[]` or an unknown name.
    """
    found = config if isinstance(config, Config) else configfile.load(configfile.find(config))
    if repositories is None:
        return Recovery(found)
    unknown = set(repositories) - {r.name for r in found.repositories}
    if unknown or not repositories:
        raise NothingSelected(
            f"no repository is called {', '.join(sorted(unknown)) or 'nothing'}",
            f"choose among {', '.join(r.name for r in found.repositories)}.",
        )
    chosen = tuple(r for r in found.repositories if r.name in repositories)
    return Recovery(found.model_copy(update={"repositories": chosen}))


def utc(at: datetime | None) -> datetime:
    """A moment in UTC; now if there is none. Raise ValueError without a time zone."""
    if at is None:
        return datetime.now(UTC)
    if at.tzinfo is None:
        raise ValueError("as_of needs a time zone: 2026-11-22T12:00:00+00:00")
    return at.astimezone(UTC)
