"""Repositories that disagree about one backup."""

from __future__ import annotations

from qdrant_dr.errors import ManifestConflict, SealConflict
from qdrant_dr.records import BackupKey


def manifest_conflict(key: BackupKey, digests: dict[str, str]) -> ManifestConflict:
    """Build the error of two repositories with different manifests of one backup id."""
    return ManifestConflict(f"{key} is not the same everywhere: manifests {_listed(digests)}")


def seal_conflict(key: BackupKey, digests: dict[str, str]) -> SealConflict:
    """Build the error of two repositories with different seals of one backup."""
    return SealConflict(f"{key} is not the same everywhere: seals {_listed(digests)}")


def _listed(digests: dict[str, str]) -> str:
    return ", ".join(f"{name} {digest[:12]}" for name, digest in sorted(digests.items()))
