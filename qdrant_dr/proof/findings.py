"""Turn errors into findings of a proof; the only place that does."""

from __future__ import annotations

from collections.abc import Iterable

from qdrant_dr.errors import DRError
from qdrant_dr.records import Finding


def finding(error: DRError, part: str | None = None) -> Finding:
    """Return the finding of an error that blames the copy. Raise any other error, because it
    prevented the check: no proof is made of it."""
    if not error.blames_copy:
        raise error
    return Finding(code=error.code, message=error.message, part=part)


def findings(errors: Iterable[DRError]) -> tuple[Finding, ...]:
    """Return the findings of errors that blame the copy. If none does, raise the first of them."""
    every = tuple(errors)
    blaming = tuple(e for e in every if e.blames_copy)
    return tuple(map(finding, blaming or every))
