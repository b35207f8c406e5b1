"""The exit code of a command: that of its error, else that of its verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from qdrant_dr.errors import DRError, NodeUnreachable

if TYPE_CHECKING:  # records are not needed for `--help`
    from qdrant_dr.records import RunEnd

Verdict = Literal["ok", "degraded", "failed"]
EXIT: Mapping[Verdict, int] = {"ok": 0, "failed": 1, "degraded": 3}

DIFFERENT = 6
"""Of `diff`: it did its work, and what it compared is not equal."""


def exit_code(end: RunEnd) -> int:
    """Return the exit code of a run: that of the error which ended it; 5 if the only trouble is
    that something did not answer; else that of its verdict."""
    known = {kind.code: kind.exit_code for kind in _tree(DRError)}
    if end.error is not None:
        return known.get(end.error.code, 1)
    silent = NodeUnreachable.exit_code
    failed = [o for o in end.outcomes if o.verdict == "failed"]
    away = [f"repository {r.name} " for r in end.repositories if not r.reachable]
    told = (*away, *(f"{o.about}: " for o in end.outcomes if o.verdict in ("failed", "degraded")))
    if (
        failed
        and all(o.error is not None and known.get(o.error.code) == silent for o in failed)
        and all(reason.startswith(told) for reason in end.reasons)  # nothing else is wrong
    ):
        return silent
    return EXIT[end.verdict]


def _tree(kind: type[DRError]) -> Iterator[type[DRError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _tree(below)
