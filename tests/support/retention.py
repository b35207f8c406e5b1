"""Catalogs of backups, made in a line each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from qdrant_dr.config import Proven
from qdrant_dr.records import BackupKey, Baseline, Manifest
from qdrant_dr.repository import Catalog
from qdrant_dr.repository.retention import Policy
from tests.support import records as made

PROVEN = Proven()


def policy(**fields: Any) -> Policy:
    """One that keeps nothing but the floor; fields replace its own."""
    nothing = {"last": 0, "daily": 0, "weekly": 0, "monthly": 0}
    usual = {"floor": 1, "grace": timedelta(0), "share": 1.0, "timezone": UTC}
    return Policy(**{**nothing, **usual, **fields})


@dataclass(frozen=True)
class Made:
    """A backup to be, and whether its copies are proven."""

    manifest: Manifest
    proven: bool
    repositories: tuple[str, ...]
    suspect: tuple[str, ...] = ()
    baseline: Baseline | None = None

    @property
    def key(self) -> BackupKey:
        return self.manifest.key


def backup_at(
    at: datetime,
    *,
    proven: bool = True,
    life: str = "first",
    repositories: tuple[str, ...] = ("aws",),
    suspect: tuple[str, ...] = (),
    baseline: Baseline | None = None,
) -> Made:
    manifest = made.manifest("movies", at, incarnation=life)
    return Made(manifest, proven, repositories, suspect, baseline)


def catalog(
    backups: Sequence[Made], repositories: Sequence[str] = ("aws",), **lost: Any
) -> Catalog:
    held = {n: [b.manifest for b in backups if n in b.repositories] for n in repositories}
    return made.catalog(
        held,
        seals=[
            made.seal(b.manifest, suspect=b.suspect, baseline=b.baseline)
            for b in backups
            if b.proven
        ],
        proofs=[made.proof(b.manifest, n) for b in backups if b.proven for n in b.repositories],
        **lost,
    )
