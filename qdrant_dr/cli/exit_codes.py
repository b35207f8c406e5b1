"""The exit code of a command: of an error its own, else of the verdict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from qdrant_dr.errors import DRError, NodeUnreachable

if TYPE_CHECKING:  # records are not needed for `--help`
    from qdrant_dr.records import RunEnd

Verdict = Literal["ok", "degraded", "failed"]
EXIT: Mapping[Verdict, int] = {"ok": 0, "failed": 1, "degraded": 3}


def exit_code(end: RunEnd) -> int:
    """That of the error which ended the run; 5 if all that failed in it did because something did
    not answer; else that of its verdict."""
    known = {kind.code: kind.exit_code for kind in _tree(DRError)}
    if end.error is not None:
        return known.get(end.error.code, 1)
    failed = {o.error.code if o.error else "" for o in end.outcomes if o.verdict == "failed"}
    if failed and {known.get(code) for code in failed} == {NodeUnreachable.exit_code}:
        return NodeUnreachable.exit_code
    return EXIT[end.verdict]


def _tree(kind: type[DRError]) -> Iterator[type[DRError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _tree(below)
