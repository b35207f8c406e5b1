"""Find what an unreadable record may show: no finding is over because its record is lost. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qdrant_dr import layout
from qdrant_dr.records import Found
from qdrant_dr.records.manifest import collection_slug
from qdrant_dr.report.kinds import BACKUPS, RUNS, kind_of


def in_doubt(unreadable: Sequence[str]) -> Callable[[Found], bool]:
    """Say whether an unreadable record at these paths may show a finding that nothing shows now: a
    run record may show any finding of runs, a backup's record or proof those of its collection."""
    of_runs = any(path.startswith(f"{layout.RUNS}/") for path in unreadable)
    taken = [layout.read_backup_path(path) for path in unreadable]
    slugs = {at.collection_folder for at in taken if at is not None}

    def doubted(f: Found) -> bool:
        hidden_by = kind_of(f.code).hidden_by
        if RUNS in hidden_by:
            return of_runs
        return BACKUPS in hidden_by and any(
            collection_slug(name) in slugs for name in _names_in(f.scope)
        )

    return doubted


def _names_in(scope: str) -> tuple[str, ...]:
    """Return the possible collections in `C`, `C@ID`, `C in REPOSITORY`, `C@ID in REPOSITORY`."""
    alone = scope.rpartition(" in ")[0] or scope
    return scope, alone, scope.rpartition("@")[0], alone.rpartition("@")[0]
