"""An error as a record: code, message and next step."""

from __future__ import annotations

from qdrant_dr.errors import DRError
from qdrant_dr.hints import REPORT_IT, filled, marked
from qdrant_dr.records import BackupKey, ErrorFacts


def error_facts(
    error: BaseException | ErrorFacts,
    *,
    repository: str | None = None,
    collection: str | None = None,
    backup: BackupKey | None = None,
) -> ErrorFacts:
    """Turn an exception into a record: one of ours as it is, any other named for what it is. The
    hint's open places are filled with what it happened to."""
    if isinstance(error, ErrorFacts):
        return error
    if isinstance(error, DRError):
        hint = filled(
            error.hint,
            repository=repository,
            collection=collection,
            backup=str(backup) if backup else None,
        )
        return ErrorFacts(code=error.code, message=error.message, hint=hint)
    return ErrorFacts(
        code="bug", message=f"{type(error).__name__}: {error}", hint=marked(REPORT_IT)
    )
