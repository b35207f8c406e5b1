"""What a check found, line by line, and what the lines come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from qdrant_dr.errors import DRError, NodeUnreachable
from qdrant_dr.hints import filled, marked

UNREACHABLE = NodeUnreachable.exit_code
State = Literal["ok", "degraded", "failed", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """One thing that was tried. `skipped` proves nothing and says so; `code` is of an error."""

    scope: str
    what: str
    state: State
    found: str
    next_step: str | None = None
    code: str | None = None
    exit_code: int = 1


def ok(scope: str, what: str, found: str) -> CheckRow:
    return CheckRow(scope=scope, what=what, state="ok", found=found)


def degraded(scope: str, what: str, found: str, next_step: str) -> CheckRow:
    return CheckRow(
        scope=scope, what=what, state="degraded", found=found, next_step=marked(next_step)
    )


def skipped(scope: str, what: str, found: str) -> CheckRow:
    return CheckRow(scope=scope, what=what, state="skipped", found=found)


def failed(scope: str, what: str, error: DRError) -> CheckRow:
    return CheckRow(
        scope=scope,
        what=what,
        state="failed",
        found=error.message,
        next_step=filled(error.hint, repository=scope.partition("repository ")[2]),
        code=error.code,
        exit_code=error.exit_code,
    )


@dataclass(frozen=True, slots=True)
class Checked:
    """All rows, and the verdict and exit code that follow from them."""

    rows: tuple[CheckRow, ...]

    @property
    def verdict(self) -> Literal["ok", "degraded", "failed"]:
        """Return the strictest state; if nothing was tried, that is a failure."""
        states = {row.state for row in self.rows}
        if "failed" in states or not states - {"skipped"}:
            return "failed"
        return "degraded" if "degraded" in states else "ok"

    @property
    def exit_code(self) -> int:
        """Return 5 if anything is out of reach (other failures may follow from it), 2 if everything
        that failed is a usage error, else 0, 1 or 3."""
        codes = {row.exit_code for row in self.rows if row.state == "failed"}
        if UNREACHABLE in codes:
            return UNREACHABLE
        if len(codes) == 1:
            return codes.pop()
        return {"ok": 0, "degraded": 3, "failed": 1}[self.verdict]


def worst_first(rows: Sequence[CheckRow]) -> list[CheckRow]:
    """Sort for people who read only the first line; rows of one state keep their order."""
    order = ("failed", "degraded", "skipped", "ok")
    return sorted(rows, key=lambda row: order.index(row.state))
