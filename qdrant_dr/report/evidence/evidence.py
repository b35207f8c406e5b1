"""All input of a report as one frozen value; frames, findings and HTML are pure functions of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeVar

from qdrant_dr.config import Config
from qdrant_dr.errors import DRError
from qdrant_dr.records import Acknowledgement, RunEnd, RunStart
from qdrant_dr.records.key_slot import KeySlot
from qdrant_dr.report.evidence.ledger_read import LedgerRead
from qdrant_dr.report.evidence.vaults import Stored, Vault, stored_in, vaults_of
from qdrant_dr.repository import (
    Backup,
    Catalog,
    Copy,
    PacksUsed,
    RepositoryState,
    Stranger,
    Unreadable,
    open_failures,
    time_of,
)
from qdrant_dr.repository.ledger_head import LedgerHead
from qdrant_dr.signing.allowed_signers import AllowedSigner

T = TypeVar("T")

CRASHED_AFTER = timedelta(hours=6)
"""A run that began longer ago and wrote no end record counts as crashed."""


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Records of one cluster, none of them later than `as_of`.

    Later records and those of other clusters are dropped, duplicates (one run recorded in several
    repositories) are merged, and everything is sorted, so that equal records give equal reports.
    `unreadable` are run records; unreadable records of backups are in the catalog. `runs_missed`
    are repositories that lack recent run records: how many of how many. `acknowledgements` are
    those in force at `as_of`. `strangers` are files among the records that are no records.
    `packs_used`, by repository and folder of a backup, are measured of the newest backups only.
    `ledger_heads`, by repository, is where each ledger ends; `signing_error` why the key cannot be
    used. `ledgers` are their entries of the period, in order of the configuration, judged by the
    allowed `signers`; None: nobody read them, so nothing is known of them; `signers_error` says why
    nobody is allowed.
    `key_slots` are those of the present key of encrypted repositories.
    """

    config: Config
    as_of: datetime
    period: timedelta
    catalog: Catalog
    ledgers: tuple[LedgerRead, ...] | None
    run_starts: tuple[RunStart, ...] = ()
    run_ends: tuple[RunEnd, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    runs_missed: dict[str, tuple[int, int]] = field(default_factory=dict)
    acknowledgements: tuple[Acknowledgement, ...] = ()
    strangers: tuple[Stranger, ...] = ()
    packs_used: dict[tuple[str, str], PacksUsed] = field(default_factory=dict)
    signers: tuple[AllowedSigner, ...] = ()
    signers_error: DRError | None = None
    key_slots: dict[str, tuple[KeySlot, ...]] = field(default_factory=dict)
    ledger_heads: dict[str, LedgerHead] = field(default_factory=dict)
    signing_error: DRError | None = None
    only_read: dict[str, DRError] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.as_of.utcoffset() != timedelta(0):
            raise ValueError("as_of must be in UTC")
        if self.period <= timedelta(0):
            raise ValueError("the period of a report must be longer than zero")
        names = [r.name for r in self.config.repositories]
        if sorted(r.name for r in self.catalog.repositories) != sorted(names):
            raise ValueError("every configured repository must have a state or an error")
        at, cluster = self.as_of, self.config.cluster.name
        ends = [e for e in self.run_ends if e.ended_at <= at and e.start.cluster == cluster]
        starts = [*self.run_starts, *(e.start for e in ends)]
        starts = [s for s in starts if s.started_at <= at and s.cluster == cluster]
        unreadable = {
            (u.repository, u.path): u for u in (*self.catalog.unreadable, *self.unreadable)
        }
        settled = {
            "catalog": _settle(self.catalog, names, at),
            "run_starts": _merge((s.run_id, s) for s in starts),
            "run_ends": _merge((e.start.run_id, e) for e in ends),
            "unreadable": tuple(u for _, u in sorted(unreadable.items(), key=lambda i: i[0])),
            "strangers": _merge(
                (f"{s.repository}/{s.path}", s) for s in (*self.catalog.strangers, *self.strangers)
            ),
        }
        for name, value in settled.items():
            object.__setattr__(self, name, value)

    @property
    def since(self) -> datetime:
        """Return the start of the period for which runs and drills are listed."""
        return self.as_of - self.period

    @property
    def repositories(self) -> tuple[RepositoryState, ...]:
        """Return every configured repository, in order of preference."""
        return self.catalog.repositories

    @property
    def unreachable(self) -> tuple[RepositoryState, ...]:
        return self.catalog.unreachable

    @property
    def vaults(self) -> tuple[Vault, ...]:
        """Return what each chunked repository stores."""
        return vaults_of(self.catalog, self.packs_used, self.as_of)

    @property
    def stored(self) -> tuple[Stored, ...]:
        """Return what lies in each repository, and what it costs."""
        return stored_in(self.catalog)

    @property
    def complete(self) -> bool:
        """Say whether everything could be read."""
        return not self.unreachable and not self.unreadable

    @property
    def crashed(self) -> tuple[RunStart, ...]:
        """Return runs that began long ago and wrote no end record."""
        ended = {e.start.run_id for e in self.run_ends}
        return tuple(
            s
            for s in self.run_starts
            if s.run_id not in ended and self.as_of - s.started_at > CRASHED_AFTER
        )

    @property
    def inventory(self) -> RunEnd | None:
        """Return the last run that recorded which collections it saw."""
        with_seen = [e for e in self.run_ends if e.seen]
        return max(with_seen, key=lambda e: (e.ended_at, e.start.run_id), default=None)


def _merge(items: Iterable[tuple[str, T]]) -> tuple[T, ...]:
    """Return one value per name, in order of names."""
    return tuple(value for _, value in sorted(dict(items).items(), key=lambda item: item[0]))


def _settle(catalog: Catalog, names: list[str], at: datetime) -> Catalog:
    """Return the catalog as of `at`: repositories in order, no later backup, seal or proof."""
    return replace(
        catalog,
        repositories=tuple(
            sorted(catalog.repositories, key=lambda r: names.index(r.name)),
        ),
        backups=tuple(
            _settle_backup(b, names, at)
            for b in catalog.backups
            if b.manifest.transferred_at <= at and b.manifest.cluster == catalog.cluster
        ),
        lost=tuple(lost for lost in catalog.lost if time_of(lost.key.backup_id) <= at),
    )


def _settle_backup(backup: Backup, names: list[str], at: datetime) -> Backup:
    copies = sorted(backup.copies, key=lambda c: names.index(c.repository))
    return replace(
        backup,
        seal=backup.seal if backup.seal and backup.seal.sealed_at <= at else None,
        copies=tuple(_settle_copy(c, at) for c in copies),
    )


def _settle_copy(copy: Copy, at: datetime) -> Copy:
    proofs = tuple(p for p in copy.proofs if p.ended_at <= at)
    inherited = tuple(p for p in copy.inherited if p.ended_at <= at)
    state = copy.state
    # an object that is lost or broken now is so in every report; a failed proof counts from its
    # time
    if open_failures(proofs):
        state = "damaged" if state in ("present", "behind", "archived") else state  # cleared later
    elif state == "damaged" and open_failures(copy.proofs) and not copy.lacks:
        state = "archived" if copy.archived else "present"  # found later
    return replace(copy, state=state, proofs=proofs, inherited=inherited)
