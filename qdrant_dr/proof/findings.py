"""The only door from an error to what a proof says of a copy: looked and found, or not at all."""

from __future__ import annotations

from collections.abc import Iterable

from qdrant_dr.errors import DRError
from qdrant_dr.records import Finding


def finding(error: DRError, part: str | None = None) -> Finding:
    """What a proof says. Raise the error itself if it kept us from looking: of that there is no
    proof."""
    if not error.blames_copy:
        raise error
    return Finding(code=error.code, message=error.message, part=part)


def findings(errors: Iterable[DRError]) -> tuple[Finding, ...]:
    """Those that blame the copy. Raise the first of the others if none does."""
    every = tuple(errors)
    blaming = tuple(e for e in every if e.blames_copy)
    return tuple(map(finding, blaming or every))
