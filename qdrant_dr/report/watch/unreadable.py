"""Find what an unreadable record may show: no finding is over because its record is lost. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qdrant_dr import layout
from qdrant_dr.records import Found
from qdrant_dr.records.manifest import collection_slug

OF_RUNS = frozenset(
    {
        "collection-missing", "drill-failed", "drill-rejected", "game-lost", "replicas-apart",
        "restore-failed",
        "restore-partial", "rto-missed", "run-bad", "run-crashed", "self-approved",
        "signature-differs",
    }
)  # fmt: skip
OF_BACKUPS = frozenset(
    {
        "below-quorum", "copies-absent", "copies-archived", "copies-conflict", "copy-damaged",
        "drifted", "future-dated", "mixed-versions", "newest-unproven", "suspect",
    }
)  # fmt: skip
"""Kinds that the loss of a record may hide. Findings that something is too old or missing
(`rpo-missed`) are not among them: without a record they only look worse."""


def in_doubt(unreadable: Sequence[str]) -> Callable[[Found], bool]:
    """Say whether an unreadable record at these paths may show a finding that nothing shows now: a
    run record may show any finding of runs, a backup's record or proof those of its collection."""
    of_runs = any(path.startswith(f"{layout.RUNS}/") for path in unreadable)
    taken = [layout.read_backup_path(path) for path in unreadable]
    slugs = {at.collection_folder for at in taken if at is not None}

    def doubted(f: Found) -> bool:
        if f.code in OF_RUNS:
            return of_runs
        return f.code in OF_BACKUPS and any(
            collection_slug(name) in slugs for name in _names_in(f.scope)
        )

    return doubted


def _names_in(scope: str) -> tuple[str, ...]:
    """Return the possible collections in `C`, `C@ID`, `C in REPOSITORY`, `C@ID in REPOSITORY`."""
    alone = scope.rpartition(" in ")[0] or scope
    return scope, alone, scope.rpartition("@")[0], alone.rpartition("@")[0]
