"""All that a report may look at, as one frozen value: frames, findings and HTML are pure in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from qdrant_dr.config import Config
from qdrant_dr.records import (
    BackupKey,
    ErrorFacts,
    Manifest,
    Proof,
    RepositorySeen,
    RunEnd,
    RunStart,
    Seal,
)

CRASHED_AFTER = timedelta(hours=6)
"""A run that began longer ago and wrote no end is taken for dead."""


@dataclass(frozen=True, order=True)
class Unreadable:
    """A record that exists and could not be understood: never the same as none."""

    repository: str
    path: str
    error: ErrorFacts = field(compare=False)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Records of one cluster, none of them later than `as_of`.

    Whatever the caller hands in, later and foreign records are dropped, doubles (the same record
    read from several repositories) are merged and all is sorted, so that equal records give equal
    reports. `repositories` has one entry for each configured one, in their order. `manifests` is by
    repository name: its keys are what was listed there.
    """

    config: Config
    as_of: datetime
    period: timedelta
    repositories: tuple[RepositorySeen, ...]
    manifests: Mapping[str, Mapping[BackupKey, Manifest]]
    seals: Mapping[BackupKey, Seal] = field(default_factory=dict)
    proofs: tuple[Proof, ...] = ()
    run_starts: tuple[RunStart, ...] = ()
    run_ends: tuple[RunEnd, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()

    def __post_init__(self) -> None:
        if self.as_of.utcoffset() != timedelta(0):
            raise ValueError("as_of must be in UTC")
        if self.period <= timedelta(0):
            raise ValueError("a report covers a period longer than nothing")
        if [r.name for r in self.repositories] != [r.name for r in self.config.repositories]:
            raise ValueError("every configured repository must be accounted for, in order")
        at, cluster = self.as_of, self.config.cluster.name
        settle = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731
        settle(
            "manifests",
            {
                r.name: {
                    k: m
                    for k, m in sorted(
                        self.manifests.get(r.name, {}).items(), key=lambda item: str(item[0])
                    )
                    if m.transferred_at <= at and m.cluster == cluster
                }
                for r in self.repositories
            },
        )
        settle("seals", {k: s for k, s in self.seals.items() if s.sealed_at <= at})
        settle(
            "proofs",
            _merge(
                (p.proof_id, p) for p in self.proofs if p.ended_at <= at and p.cluster == cluster
            ),
        )
        ends = [e for e in self.run_ends if e.ended_at <= at and e.start.cluster == cluster]
        starts = [*self.run_starts, *(e.start for e in ends)]
        settle("run_ends", _merge((e.start.run_id, e) for e in ends))
        settle(
            "run_starts",
            _merge((s.run_id, s) for s in starts if s.started_at <= at and s.cluster == cluster),
        )
        settle("unreadable", tuple(sorted(set(self.unreadable))))

    @property
    def since(self) -> datetime:
        """Begin of the period that runs and drills are listed for."""
        return self.as_of - self.period

    @property
    def backups(self) -> dict[BackupKey, Manifest]:
        """Every backup with a manifest anywhere; of two manifests the first repository's."""
        found: dict[BackupKey, Manifest] = {}
        for listed in self.manifests.values():
            for key, manifest in listed.items():
                found.setdefault(key, manifest)
        return dict(sorted(found.items(), key=lambda item: (item[1].captured_at, str(item[0]))))

    @property
    def unreachable(self) -> tuple[RepositorySeen, ...]:
        return tuple(r for r in self.repositories if not r.reachable)

    @property
    def complete(self) -> bool:
        """Everything could be looked at."""
        return not self.unreachable and not self.unreadable

    @property
    def crashed(self) -> tuple[RunStart, ...]:
        """Runs that began long ago and never wrote an end."""
        ended = {e.start.run_id for e in self.run_ends}
        return tuple(
            s
            for s in self.run_starts
            if s.run_id not in ended and self.as_of - s.started_at > CRASHED_AFTER
        )

    @property
    def inventory(self) -> RunEnd | None:
        """The last run that wrote down which collections it saw."""
        with_seen = [e for e in self.run_ends if e.seen]
        return max(with_seen, key=lambda e: (e.ended_at, e.start.run_id), default=None)


def _merge[T](items: Iterable[tuple[str, T]]) -> tuple[T, ...]:
    """One value per name, in order of names."""
    return tuple(value for _, value in sorted(dict(items).items()))
